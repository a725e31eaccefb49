//! What our services call: a real HTTP server that answers as told and remembers what came.

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use axum::Router;
use axum::extract::State;
use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Uri};
use tokio::sync::Semaphore;

use super::{SOON, eventually};

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

#[derive(Clone, Default)]
struct Reply {
    status: StatusCode,
    headers: HeaderMap,
    /// How long the answer takes.
    after: Duration,
}

#[derive(Default)]
struct Script {
    answers: VecDeque<Reply>,
    next: HashMap<String, VecDeque<Reply>>,
    usual: HashMap<String, Reply>,
    hits: Vec<Hit>,
    gate: Option<Arc<Semaphore>>,
}

impl Script {
    /// What was told for this path comes before what was told for any.
    fn reply(&mut self, path: &str) -> Reply {
        let next = self.next.get_mut(path).and_then(VecDeque::pop_front);
        let told = next.or_else(|| self.usual.get(path).cloned());
        told.or_else(|| self.answers.pop_front()).unwrap_or_default()
    }
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
        let headers = headers.iter().map(header).collect();
        let reply = Reply { status: code(status), headers, after: Duration::ZERO };
        lock(&self.script).answers.push_back(reply);
        self
    }

    /// After what was told for `path` (with the `/`) before, one request to it is answered like this.
    pub fn next(&self, path: &str, status: u16) -> &Self {
        self.next_after(path, status, Duration::ZERO)
    }

    /// [`next`](Self::next), by an answer that takes so long.
    pub fn next_after(&self, path: &str, status: u16, after: Duration) -> &Self {
        let reply = Reply { status: code(status), headers: HeaderMap::new(), after };
        lock(&self.script).next.entry(path.to_owned()).or_default().push_back(reply);
        self
    }

    /// What requests to `path` (with the `/`) are answered from now on.
    pub fn always(&self, path: &str, status: u16) -> &Self {
        let reply = Reply { status: code(status), ..Reply::default() };
        lock(&self.script).usual.insert(path.to_owned(), reply);
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

    /// Waits until `count` requests to this path (with the `/`) have come and gives the last of them.
    pub async fn nth(&self, path: &str, count: usize) -> Hit {
        eventually(SOON, async || self.hits_of(path).into_iter().nth(count - 1)).await
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

fn code(status: u16) -> StatusCode {
    StatusCode::from_u16(status).expect("a status")
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
    let reply = lock(&script).reply(uri.path());
    tokio::time::sleep(reply.after).await;
    (reply.status, reply.headers)
}
