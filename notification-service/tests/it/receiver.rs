//! A webhook receiver: a real HTTP server that answers as told and remembers what came.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::post;

/// One request that came.
#[derive(Clone, Debug)]
pub struct Hit {
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

/// An answer: status and headers.
pub type Answer = (u16, Vec<(&'static str, String)>);

#[derive(Default)]
struct Script {
    answers: VecDeque<Answer>,
    hits: Vec<Hit>,
}

/// The receiver; 200 when nothing else was told.
#[derive(Clone)]
pub struct Receiver {
    pub address: SocketAddr,
    script: Arc<Mutex<Script>>,
}

impl Receiver {
    pub async fn start() -> Self {
        let script = Arc::new(Mutex::new(Script::default()));
        let router = Router::new().route("/{*path}", post(answer)).with_state(script.clone());
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("bound");
        tokio::spawn(async move { axum::serve(listener, router).await });
        Self { address, script }
    }

    pub fn url(&self, path: &str) -> String {
        format!("http://{}/{path}", self.address)
    }

    /// The next request is answered like this.
    pub fn then(&self, status: u16) -> &Self {
        self.then_with(status, vec![])
    }

    pub fn then_with(&self, status: u16, headers: Vec<(&'static str, String)>) -> &Self {
        self.script.lock().expect("whole").answers.push_back((status, headers));
        self
    }

    pub fn hits(&self) -> Vec<Hit> {
        self.script.lock().expect("whole").hits.clone()
    }

    /// `webhook-id` of every request, in order.
    pub fn keys(&self) -> Vec<String> {
        self.hits().iter().map(|hit| hit.header("webhook-id").to_owned()).collect()
    }
}

async fn answer(State(script): State<Arc<Mutex<Script>>>, headers: HeaderMap, body: Bytes) -> Response {
    let mut script = script.lock().expect("whole");
    script.hits.push(Hit { headers, body });
    let (status, headers) = script.answers.pop_front().unwrap_or((200, vec![]));
    let mut response = StatusCode::from_u16(status).expect("a status").into_response();
    for (name, value) in headers {
        response.headers_mut().insert(name, value.parse().expect("a header"));
    }
    response
}
