//! What our services call: a real HTTP server that answers as told and remembers what came.

use std::collections::{BTreeSet, VecDeque};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use axum::Router;
use axum::extract::State;
use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Uri};
use tokio::sync::Semaphore;

/// One request that came.
#[derive(Clone, Debug)]
pub struct Hit {
    /// Method.
    pub method: Method,
    /// Path and query.
    pub path: String,
    /// Headers.
    pub headers: HeaderMap,
    /// The whole body.
    pub body: Bytes,
}

impl Hit {
    /// The value of a header that it has.
    pub fn header(&self, name: &str) -> &str {
        let value = self.headers.get(name).unwrap_or_else(|| panic!("no {name} in {:?}", self.headers));
        value.to_str().expect("visible ASCII")
    }

    /// The body as JSON.
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).expect("a JSON body")
    }
}

#[derive(Default)]
struct Script {
    answers: VecDeque<(StatusCode, HeaderMap)>,
    hits: Vec<Hit>,
    gate: Option<Arc<Semaphore>>,
}

/// An endpoint on a free port of this machine; answers 200 when nothing else was told. Cloning
/// shares it.
#[derive(Clone)]
pub struct Receiver {
    /// Where it listens.
    pub address: SocketAddr,
    script: Arc<Mutex<Script>>,
}

impl Receiver {
    /// Begins to listen.
    pub async fn start() -> Self {
        let script = Arc::<Mutex<Script>>::default();
        let router = Router::new().fallback(answer).with_state(script.clone());
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("bound");
        tokio::spawn(async move { axum::serve(listener, router).await });
        Self { address, script }
    }

    /// The address of `path`, which has no `/` in front.
    pub fn url(&self, path: &str) -> String {
        format!("http://{}/{path}", self.address)
    }

    /// After what was told before, one request is answered like this.
    pub fn then(&self, status: u16) -> &Self {
        self.then_with(status, &[])
    }

    /// [`then`](Self::then), with headers.
    pub fn then_with(&self, status: u16, headers: &[(&'static str, &str)]) -> &Self {
        let header = |(name, value): &(&'static str, &str)| {
            (HeaderName::from_static(name), HeaderValue::from_str(value).expect("visible ASCII"))
        };
        let status = StatusCode::from_u16(status).expect("a status");
        lock(&self.script).answers.push_back((status, headers.iter().map(header).collect()));
        self
    }

    /// From now on a request is answered when the returned semaphore has a permit for it.
    pub fn gate(&self) -> Arc<Semaphore> {
        let gate = Arc::new(Semaphore::new(0));
        lock(&self.script).gate = Some(gate.clone());
        gate
    }

    /// All requests so far.
    pub fn hits(&self) -> Vec<Hit> {
        lock(&self.script).hits.clone()
    }

    /// The requests to this path (with the `/`).
    pub fn hits_of(&self, path: &str) -> Vec<Hit> {
        self.hits().into_iter().filter(|hit| hit.path == path).collect()
    }

    /// The values of a header that every request has, in order.
    pub fn headers(&self, name: &str) -> Vec<String> {
        self.hits().iter().map(|hit| hit.header(name).to_owned()).collect()
    }

    /// The distinct values of such a header.
    pub fn distinct(&self, header: &str) -> BTreeSet<String> {
        self.headers(header).into_iter().collect()
    }
}

fn lock(script: &Mutex<Script>) -> MutexGuard<'_, Script> {
    script.lock().unwrap_or_else(PoisonError::into_inner)
}

async fn answer(
    State(script): State<Arc<Mutex<Script>>>,
    method: Method,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
) -> (StatusCode, HeaderMap) {
    let gate = {
        let mut script = lock(&script);
        script.hits.push(Hit { method, path: uri.to_string(), headers, body });
        script.gate.clone()
    };
    if let Some(gate) = gate {
        gate.acquire().await.expect("never closed").forget();
    }
    lock(&script).answers.pop_front().unwrap_or_default()
}
