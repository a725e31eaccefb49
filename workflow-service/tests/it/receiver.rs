//! An endpoint: a real HTTP server that answers as told and remembers what came.

use std::collections::{BTreeSet, VecDeque};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, Method, StatusCode, Uri};
use tokio::sync::Semaphore;

/// One request that came.
#[derive(Clone, Debug)]
pub struct Hit {
    pub method: Method,
    pub path: String,
    pub headers: HeaderMap,
    pub body: Bytes,
}

impl Hit {
    pub fn header(&self, name: &str) -> &str {
        self.headers[name].to_str().expect("visible ASCII")
    }

    pub fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).expect("a JSON body")
    }
}

#[derive(Default)]
struct Script {
    answers: VecDeque<u16>,
    hits: Vec<Hit>,
    gate: Option<Arc<Semaphore>>,
}

/// The endpoint; 200 when nothing else was told.
#[derive(Clone)]
pub struct Receiver {
    pub address: SocketAddr,
    script: Arc<Mutex<Script>>,
}

impl Receiver {
    pub async fn start() -> Self {
        let script = Arc::new(Mutex::new(Script::default()));
        let router = Router::new().fallback(answer).with_state(script.clone());
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("bound");
        tokio::spawn(async move { axum::serve(listener, router).await });
        Self { address, script }
    }

    pub fn url(&self, path: &str) -> String {
        format!("http://{}/{path}", self.address)
    }

    /// The next requests are answered like this.
    pub fn then(&self, statuses: impl IntoIterator<Item = u16>) -> &Self {
        self.script.lock().expect("whole").answers.extend(statuses);
        self
    }

    /// Requests are answered when the returned semaphore has a permit for each.
    pub fn gate(&self) -> Arc<Semaphore> {
        let gate = Arc::new(Semaphore::new(0));
        self.script.lock().expect("whole").gate = Some(gate.clone());
        gate
    }

    pub fn hits(&self) -> Vec<Hit> {
        self.script.lock().expect("whole").hits.clone()
    }

    /// The requests to this path.
    pub fn hits_of(&self, path: &str) -> Vec<Hit> {
        self.hits().into_iter().filter(|hit| hit.path == path).collect()
    }

    /// The distinct values of a header.
    pub fn distinct(&self, header: &str) -> BTreeSet<String> {
        self.hits().iter().map(|hit| hit.header(header).to_owned()).collect()
    }
}

async fn answer(
    State(script): State<Arc<Mutex<Script>>>,
    method: Method,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
) -> StatusCode {
    let gate = {
        let mut script = script.lock().expect("whole");
        script.hits.push(Hit { method, path: uri.to_string(), headers, body });
        script.gate.clone()
    };
    if let Some(gate) = gate {
        gate.acquire().await.expect("never closed").forget();
    }
    let next = script.lock().expect("whole").answers.pop_front();
    StatusCode::from_u16(next.unwrap_or(200)).expect("a status")
}
