//! What the platform calls: a real HTTP server that answers as told and remembers what came.

use std::collections::{HashMap, VecDeque};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use axum::Router;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode};
use axum::routing::any;
use platform::testing::eventually;

use super::client::SOON;

/// One request that came.
#[derive(Clone, Debug)]
pub struct Call {
    /// Last part of the path.
    pub to: String,
    /// `webhook-id` of a page, `idempotency-key` of an http step.
    pub key: String,
}

/// How a request is answered.
#[derive(Clone, Copy, Debug)]
pub struct Reply {
    pub status: u16,
    /// How long the answer takes.
    pub after: Duration,
}

#[derive(Default)]
struct Script {
    calls: Vec<Call>,
    next: HashMap<String, VecDeque<Reply>>,
    usual: HashMap<String, Reply>,
}

#[derive(Clone)]
pub struct Receiver {
    pub address: SocketAddr,
    script: Arc<Mutex<Script>>,
}

impl Receiver {
    /// Listens on a free port and answers 200 to everything.
    pub async fn start() -> Self {
        let script = Arc::<Mutex<Script>>::default();
        let router = Router::new().route("/{to}", any(answer)).with_state(script.clone());
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("bound");
        tokio::spawn(async move { axum::serve(listener, router).await });
        Self { address, script }
    }

    pub fn url(&self, to: &str) -> String {
        format!("http://{}/{to}", self.address)
    }

    /// What calls for `to` are answered from now on.
    pub fn always(&self, to: &str, status: u16) {
        self.lock().usual.insert(to.to_owned(), Reply { status, after: Duration::ZERO });
    }

    /// What the next call for `to` is answered.
    pub fn next(&self, to: &str, status: u16, after: Duration) {
        self.lock().next.entry(to.to_owned()).or_default().push_back(Reply { status, after });
    }

    pub fn calls(&self, to: &str) -> Vec<Call> {
        self.lock().calls.iter().filter(|call| call.to == to).cloned().collect()
    }

    /// The keys of the calls for `to`, each once.
    pub fn keys(&self, to: &str) -> Vec<String> {
        let mut keys: Vec<_> = self.calls(to).into_iter().map(|call| call.key).collect();
        keys.sort();
        keys.dedup();
        keys
    }

    /// Waits for `count` calls for `to` and gives the last of them.
    pub async fn nth(&self, to: &str, count: usize) -> Call {
        eventually(SOON, async || self.calls(to).into_iter().nth(count - 1)).await
    }

    fn lock(&self) -> MutexGuard<'_, Script> {
        self.script.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn answer(
    State(script): State<Arc<Mutex<Script>>>,
    Path(to): Path<String>,
    headers: HeaderMap,
) -> StatusCode {
    let header = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    let key = header("webhook-id").or_else(|| header("idempotency-key")).unwrap_or_default().to_owned();
    let reply = {
        let mut script = script.lock().unwrap_or_else(PoisonError::into_inner);
        script.calls.push(Call { to: to.clone(), key });
        let next = script.next.get_mut(&to).and_then(VecDeque::pop_front);
        next.or_else(|| script.usual.get(&to).copied())
    };
    let reply = reply.unwrap_or(Reply { status: 200, after: Duration::ZERO });
    // The answer of a slow receiver is what the test is about.
    tokio::time::sleep(reply.after).await;
    StatusCode::from_u16(reply.status).expect("a status")
}
