//! What the platform calls during the demo: two people's webhooks and a runbook endpoint that does not help.

use std::{
    net::SocketAddr,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use anyhow::{Context, bail};
use axum::{
    Router,
    extract::{Path, State},
    http::{HeaderMap, StatusCode},
    routing::post,
};
use chrono::{DateTime, Utc};
use tokio::sync::Notify;

/// One call that arrived.
#[derive(Clone, Debug)]
pub struct Call {
    /// `retry`, or whom the page is for.
    pub to: String,
    pub at: DateTime<Utc>,
    /// `webhook-id` of a page, `idempotency-key` of a retry: the same on every attempt.
    pub key: String,
}

#[derive(Default)]
struct Inbox {
    calls: Mutex<Vec<Call>>,
    arrived: Notify,
}

pub struct Receiver {
    address: SocketAddr,
    inbox: Arc<Inbox>,
    source: platform::source::Source,
}

#[derive(Clone)]
struct Shared {
    inbox: Arc<Inbox>,
    source: platform::source::Source,
}

impl Receiver {
    pub async fn start(address: SocketAddr) -> anyhow::Result<Self> {
        let listener = tokio::net::TcpListener::bind(address)
            .await
            .with_context(|| format!("the demo listens on {address} (demo.receiver)"))?;
        let address = listener.local_addr()?;
        let source = platform::source::Source::system();
        let inbox = Arc::new(Inbox::default());
        let app = Router::new()
            .route("/pages/{person}", post(page))
            .route("/retry", post(retry))
            .with_state(Shared { inbox: inbox.clone(), source: source.clone() });
        tokio::spawn(async move { axum::serve(listener, app).await });
        Ok(Self { address, inbox, source })
    }

    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    /// Now, by the clock that stamps the calls.
    pub fn now(&self) -> DateTime<Utc> {
        self.source.now()
    }

    /// Waits until `count` calls for `to` have arrived and gives the last of them.
    pub async fn nth(&self, to: &str, count: usize, limit: Duration) -> anyhow::Result<Call> {
        let wait = async {
            loop {
                let arrived = self.inbox.arrived.notified();
                if let Some(call) = self.calls(to).into_iter().nth(count - 1) {
                    return call;
                }
                arrived.await;
            }
        };
        match tokio::time::timeout(limit, wait).await {
            Ok(call) => Ok(call),
            Err(_) => bail!(
                "no call {count} for {to} within {} s. The platform calls {}: egress.allow must hold it (it does by \
                 itself, for demo.receiver, while rest.listen is a loopback address)",
                limit.as_secs(),
                self.address
            ),
        }
    }

    pub fn calls(&self, to: &str) -> Vec<Call> {
        let calls = self.inbox.calls.lock().unwrap_or_else(PoisonError::into_inner);
        calls.iter().filter(|call| call.to == to).cloned().collect()
    }
}

async fn page(State(shared): State<Shared>, Path(person): Path<String>, headers: HeaderMap) {
    keep(&shared, person, header(&headers, "webhook-id"));
}

async fn retry(State(shared): State<Shared>, headers: HeaderMap) -> (StatusCode, &'static str) {
    keep(&shared, "retry".to_owned(), header(&headers, "idempotency-key"));
    (StatusCode::SERVICE_UNAVAILABLE, "the payment provider is still down")
}

fn keep(shared: &Shared, to: String, key: String) {
    let call = Call { to, at: shared.source.now(), key };
    shared.inbox.calls.lock().unwrap_or_else(PoisonError::into_inner).push(call);
    shared.inbox.arrived.notify_waiters();
}

fn header(headers: &HeaderMap, name: &str) -> String {
    headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default().to_owned()
}
