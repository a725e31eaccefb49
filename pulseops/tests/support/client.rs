//! REST as one caller.

use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use platform::testing::eventually;
use reqwest::Method;
use reqwest::header::HeaderMap;
use serde_json::{Value, json};

pub const JSON: (&str, &str) = ("content-type", "application/json");
pub const PASSWORD: &str = "correct horse battery staple";
pub use platform::testing::SOON;

/// Somebody who calls: a person with a token, or nobody.
#[derive(Clone)]
pub struct Client {
    http: reqwest::Client,
    base: String,
    token: Option<String>,
}

/// What came back.
pub struct Answer {
    pub request: String,
    pub status: u16,
    pub headers: HeaderMap,
    pub text: String,
}

impl Answer {
    /// The body, when the status is this one.
    #[track_caller]
    pub fn expect(self, status: u16) -> Value {
        assert_eq!(self.status, status, "{}: {}", self.request, self.text);
        self.json()
    }

    /// The body; null when there is none or it is no JSON.
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or(Value::Null)
    }

    /// `code` of a problem document.
    pub fn code(&self) -> String {
        self.json()["code"].as_str().unwrap_or_default().to_owned()
    }
}

impl Client {
    pub fn new(base: impl Into<String>) -> Self {
        let http = platform::egress::operator_client(Duration::from_secs(30)).expect("a client");
        Self { http, base: base.into(), token: None }
    }

    pub fn with_token(&self, token: impl Into<String>) -> Self {
        Self { token: Some(token.into()), ..self.clone() }
    }

    pub fn token(&self) -> Option<&str> {
        self.token.as_deref()
    }

    pub fn base(&self) -> &str {
        &self.base
    }

    pub async fn send(
        &self,
        method: Method,
        path: &str,
        headers: &[(&str, &str)],
        body: Option<String>,
    ) -> Answer {
        let answer = self.try_send(method.clone(), path, headers, body).await;
        answer.unwrap_or_else(|error| panic!("{method} {path}: {error:?}"))
    }

    /// For whoever may end before it has answered.
    pub async fn try_send(
        &self,
        method: Method,
        path: &str,
        headers: &[(&str, &str)],
        body: Option<String>,
    ) -> reqwest::Result<Answer> {
        let mut request = self.http.request(method.clone(), format!("{}{path}", self.base));
        if let Some(token) = &self.token {
            request = request.bearer_auth(token);
        }
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        if let Some(body) = body {
            request = request.body(body);
        }
        let response = request.send().await?;
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        Ok(Answer { request: format!("{method} {path}"), status, headers, text: response.text().await? })
    }

    pub async fn json(&self, method: Method, path: &str, body: &Value) -> Answer {
        self.send(method, path, &[JSON], Some(body.to_string())).await
    }

    pub async fn get(&self, path: &str) -> Answer {
        self.send(Method::GET, path, &[], None).await
    }

    pub async fn post(&self, path: &str, body: Value) -> Answer {
        self.json(Method::POST, path, &body).await
    }

    pub async fn patch(&self, path: &str, body: Value) -> Answer {
        self.json(Method::PATCH, path, &body).await
    }

    pub async fn delete(&self, path: &str) -> Answer {
        self.send(Method::DELETE, path, &[], None).await
    }

    /// A POST that creates; its resource.
    pub async fn create(&self, path: &str, body: Value) -> Value {
        self.post(path, body).await.expect(201)
    }

    /// Reads `path` until `found` sees what it looks for.
    pub async fn until<T>(&self, path: &str, found: impl Fn(&Value) -> Option<T>) -> T {
        eventually(SOON, async || {
            let answer = self.get(path).await;
            (answer.status == 200).then(|| found(&answer.json())).flatten()
        })
        .await
    }

    /// A new organization and its owner.
    pub async fn register(&self, name: &str) -> User {
        let email = email(name);
        let body = json!({"email": email, "password": PASSWORD, "name": name, "organization": format!("{name} Ltd")});
        let session = self.post("/v1/auth/register", body).await.expect(201);
        self.signed_in(&session)
    }

    pub async fn login(&self, email: &str) -> User {
        let session =
            self.post("/v1/auth/login", json!({"email": email, "password": PASSWORD})).await.expect(200);
        self.signed_in(&session)
    }

    fn signed_in(&self, session: &Value) -> User {
        User {
            id: text(session, "/user/id"),
            org: text(session, "/organization/id"),
            name: text(session, "/user/name"),
            client: self.with_token(text(session, "/access_token")),
        }
    }
}

/// A person who is signed in.
#[derive(Clone)]
pub struct User {
    pub id: String,
    pub org: String,
    pub name: String,
    client: Client,
}

impl std::ops::Deref for User {
    type Target = Client;

    fn deref(&self) -> &Client {
        &self.client
    }
}

impl User {
    /// Another person of the same organization.
    pub async fn colleague(&self, name: &str, role: &str) -> User {
        let email = email(name);
        let body = json!({"email": email, "name": name, "role": role, "password": PASSWORD});
        self.create("/v1/users", body).await;
        self.login(&email).await
    }
}

/// The string at `pointer`.
#[track_caller]
pub fn text(value: &Value, pointer: &str) -> String {
    let text = value.pointer(pointer).and_then(Value::as_str);
    text.unwrap_or_else(|| panic!("no {pointer} in {value}")).to_owned()
}

/// The id of a resource.
#[track_caller]
pub fn id(resource: &Value) -> String {
    text(resource, "/id")
}

/// The items of a list.
pub fn items(list: &Value) -> Vec<Value> {
    list["items"].as_array().cloned().unwrap_or_default()
}

fn email(name: &str) -> String {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let number = COUNT.fetch_add(1, Ordering::Relaxed);
    format!("{}-{number}-{}@example.com", name.to_lowercase(), std::process::id())
}
