//! A small REST client that speaks as one user.

use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use serde_json::Value;

/// Longest wait for one step of the story.
const STEP_LIMIT: Duration = Duration::from_secs(20);
const POLL_EVERY: Duration = Duration::from_millis(50);

#[derive(Clone)]
pub struct Api {
    base: String,
    http: reqwest::Client,
    token: Option<String>,
}

impl Api {
    pub fn new(base: &str) -> anyhow::Result<Self> {
        let http = platform::egress::operator_client(Duration::from_secs(10))?;
        Ok(Self { base: base.trim_end_matches('/').to_owned(), http, token: None })
    }

    /// The same platform, as somebody else.
    pub fn signed_in(&self, access_token: &str) -> Self {
        Self { token: Some(access_token.to_owned()), ..self.clone() }
    }

    pub fn token(&self) -> Option<&str> {
        self.token.as_deref()
    }

    pub fn base(&self) -> &str {
        &self.base
    }

    pub async fn get(&self, path: &str) -> anyhow::Result<Value> {
        self.send(self.http.get(self.url(path))).await.with_context(|| format!("GET {path}"))
    }

    pub async fn post(&self, path: &str, body: Value) -> anyhow::Result<Value> {
        self.send(self.http.post(self.url(path)).json(&body)).await.with_context(|| format!("POST {path}"))
    }

    /// Asks until `found` sees what the story waits for.
    pub async fn until<T>(
        &self,
        what: &str,
        path: &str,
        found: impl Fn(&Value) -> Option<T>,
    ) -> anyhow::Result<T> {
        let started = Instant::now();
        loop {
            let answer = self.get(path).await?;
            if let Some(hit) = found(&answer) {
                return Ok(hit);
            }
            if started.elapsed() > STEP_LIMIT {
                bail!("{what} did not happen within {} s; last answer: {answer}", STEP_LIMIT.as_secs());
            }
            tokio::time::sleep(POLL_EVERY).await;
        }
    }

    fn url(&self, path: &str) -> String {
        format!("{}{path}", self.base)
    }

    async fn send(&self, request: reqwest::RequestBuilder) -> anyhow::Result<Value> {
        let request = match &self.token {
            Some(token) => request.bearer_auth(token),
            None => request,
        };
        let answer = request.send().await.context("the platform does not answer; is `make run` running?")?;
        let status = answer.status();
        let text = answer.text().await?;
        if !status.is_success() {
            bail!("{status}: {text}");
        }
        if text.is_empty() {
            return Ok(Value::Null);
        }
        serde_json::from_str(&text).with_context(|| format!("not JSON: {text}"))
    }
}

/// A string field that the contract promises.
pub fn text<'a>(value: &'a Value, pointer: &str) -> anyhow::Result<&'a str> {
    value.pointer(pointer).and_then(Value::as_str).with_context(|| format!("no {pointer} in {value}"))
}
