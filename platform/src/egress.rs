//! The one way out to addresses that users give: webhooks, runbook endpoints, probes. Private,
//! loopback, link-local and other special ranges are refused after DNS resolution, on the very
//! addresses that are then connected to, so a name cannot change between check and connection.
//! `egress.allow` opens a host:port or a CIDR. Connections are kept; redirects are not followed
//! and no proxy of the environment is used.

mod policy;
mod resolve;
mod retry_after;

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::{HeaderMap, Method, StatusCode};
use serde::{Deserialize, Serialize};
use tokio::net::TcpStream;
use url::{Host, Url};

pub use policy::{Policy, is_special};
pub use retry_after::retry_after;

use resolve::{Guarded, Refused};

use crate::error::{Error, Result, chain};

/// Section `egress` of the configuration.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct EgressConfig {
    /// Addresses that may be called although they are private: `host:port` or a CIDR.
    pub allow: Vec<String>,
    /// How long a connection may take to be made.
    pub connect_timeout_ms: u64,
    /// How long a request may take when the caller says nothing.
    pub timeout_ms: u64,
    /// How much of an answer is read; the rest is cut off.
    pub max_response_bytes: usize,
}

impl Default for EgressConfig {
    fn default() -> Self {
        Self {
            allow: Vec::new(),
            connect_timeout_ms: 3_000,
            timeout_ms: 10_000,
            max_response_bytes: 64 * 1024,
        }
    }
}

/// A request to somewhere outside.
#[derive(Clone, Debug)]
pub struct Request {
    /// Its method.
    pub method: Method,
    /// Where to; see [`Egress::check`].
    pub url: Url,
    /// Its headers.
    pub headers: HeaderMap,
    /// Its body.
    pub body: Bytes,
    /// How long it may take, answer included; the configured time when `None`.
    pub timeout: Option<Duration>,
}

impl Request {
    /// A request without headers and body.
    pub fn new(method: Method, url: Url) -> Self {
        Self { method, url, headers: HeaderMap::new(), body: Bytes::new(), timeout: None }
    }
}

/// What came back, whatever its status.
#[derive(Clone, Debug)]
pub struct Response {
    /// Its status.
    pub status: StatusCode,
    /// Its headers.
    pub headers: HeaderMap,
    /// The beginning of its body.
    pub body: Bytes,
    /// Whether the body was longer, or broke off.
    pub truncated: bool,
}

/// The way out. Cloning shares its connections.
#[derive(Clone)]
pub struct Egress(Arc<Inner>);

struct Inner {
    policy: Arc<Policy>,
    /// For everybody: resolves names through the policy.
    guarded: reqwest::Client,
    /// For the allowed host:port pairs only.
    trusted: reqwest::Client,
    connect_timeout: Duration,
    max_response_bytes: usize,
}

impl Egress {
    /// The way out as `config` says.
    ///
    /// # Errors
    /// Invalid, code `invalid_egress`, naming the entry that cannot be read.
    pub fn new(config: &EgressConfig) -> Result<Self> {
        let policy = Arc::new(Policy::parse(&config.allow)?);
        let resolver = Guarded::new(policy.clone());
        Ok(Self(Arc::new(Inner {
            guarded: client(config)?.dns_resolver(resolver).build().map_err(Error::internal)?,
            trusted: client(config)?.build().map_err(Error::internal)?,
            policy,
            connect_timeout: Duration::from_millis(config.connect_timeout_ms),
            max_response_bytes: config.max_response_bytes,
        })))
    }

    /// What can be said about an address when it is saved: http or https, a host, no credentials,
    /// no refused literal address. The name behind it is looked at again at every call.
    ///
    /// # Errors
    /// Invalid: `invalid_url` or `egress_refused`.
    pub fn check(&self, url: &str) -> Result<Url> {
        let invalid = |why: &str| Error::invalid("invalid_url", why);
        let url = Url::parse(url).map_err(|_| invalid("is not a URL"))?;
        if !matches!(url.scheme(), "http" | "https") {
            return Err(invalid("must begin with http:// or https://"));
        }
        if !url.username().is_empty() || url.password().is_some() {
            return Err(invalid("must not hold a user name or password"));
        }
        self.client_for(&url)?;
        Ok(url)
    }

    /// Sends `request` and reads the answer up to the configured size.
    ///
    /// # Errors
    /// Invalid `invalid_url` or `egress_refused`; Timeout `egress_timeout`; Unavailable
    /// `egress_failed`. A status of any kind is no error.
    pub async fn send(&self, request: Request) -> Result<Response> {
        let client = self.client_for(&request.url)?;
        let mut builder = client.request(request.method, request.url).headers(request.headers);
        builder = builder.body(request.body);
        if let Some(timeout) = request.timeout {
            builder = builder.timeout(timeout);
        }
        let mut answer = builder.send().await.map_err(outcome)?;
        let (status, headers) = (answer.status(), answer.headers().clone());
        let mut body = BytesMut::new();
        let mut truncated = false;
        // The other side has answered: a body that breaks off takes nothing back.
        while let Some(chunk) = answer.chunk().await.unwrap_or_else(|_| {
            truncated = true;
            None
        }) {
            let room = self.0.max_response_bytes - body.len();
            body.extend_from_slice(&chunk[..chunk.len().min(room)]);
            if chunk.len() > room {
                truncated = true;
                break;
            }
        }
        Ok(Response { status, headers, body: body.freeze(), truncated })
    }

    /// Connects to `host` on `port`, held to the same rules.
    ///
    /// # Errors
    /// As [`send`](Self::send).
    pub async fn connect_tcp(&self, host: &str, port: u16) -> Result<TcpStream> {
        let mut last = None;
        for address in self.addresses(host, port).await? {
            match tokio::time::timeout(self.0.connect_timeout, TcpStream::connect(address)).await {
                Ok(Ok(stream)) => return Ok(stream),
                Ok(Err(error)) => last = Some(failed(error)),
                Err(_) => last = Some(timed_out()),
            }
        }
        Err(last.unwrap_or_else(|| failed("the name has no address")))
    }

    /// The addresses of `host` that may be called on `port`.
    async fn addresses(&self, host: &str, port: u16) -> Result<Vec<SocketAddr>> {
        let found = tokio::time::timeout(self.0.connect_timeout, tokio::net::lookup_host((host, port)));
        let found = found.await.map_err(|_| timed_out())?.map_err(failed)?;
        let found: Vec<SocketAddr> = found.collect();
        if self.0.policy.trusts(host, port) {
            return Ok(found);
        }
        let allowed = resolve::allowed(&self.0.policy, host, found.into_iter());
        allowed.map_err(|refused| refused_error(&refused))
    }

    fn client_for(&self, url: &Url) -> Result<&reqwest::Client> {
        let invalid = || Error::invalid("invalid_url", "names no host");
        let port = url.port_or_known_default().ok_or_else(invalid)?;
        let (host, literal) = match url.host().ok_or_else(invalid)? {
            Host::Domain(name) => (name.to_owned(), None),
            Host::Ipv4(ip) => (ip.to_string(), Some(IpAddr::V4(ip))),
            Host::Ipv6(ip) => (ip.to_string(), Some(IpAddr::V6(ip))),
        };
        if self.0.policy.trusts(&host, port) {
            return Ok(&self.0.trusted);
        }
        match literal {
            // Literal addresses are connected to without asking the resolver.
            Some(ip) if !self.0.policy.permits(ip) => Err(refused_error(&Refused { host })),
            _ => Ok(&self.0.guarded),
        }
    }
}

/// A client for an address that the operator of this machine gave (a command's own platform), which
/// is not held against the policy. Nothing that a user gives may be called with it.
///
/// # Errors
/// Internal, when the client cannot be made.
#[expect(clippy::disallowed_methods, reason = "an operator's address, not a user's")]
pub fn operator_client(timeout: Duration) -> Result<reqwest::Client> {
    reqwest::Client::builder().no_proxy().timeout(timeout).build().map_err(Error::internal)
}

#[expect(clippy::disallowed_methods, reason = "this is the one way out")]
fn client(config: &EgressConfig) -> Result<reqwest::ClientBuilder> {
    let user_agent = concat!("PulseOps/", env!("CARGO_PKG_VERSION"));
    Ok(reqwest::Client::builder()
        .user_agent(user_agent)
        .no_proxy()
        .redirect(reqwest::redirect::Policy::none())
        .connect_timeout(Duration::from_millis(config.connect_timeout_ms))
        .timeout(Duration::from_millis(config.timeout_ms))
        .pool_idle_timeout(Duration::from_secs(60))
        .tcp_keepalive(Duration::from_secs(30)))
}

fn outcome(error: reqwest::Error) -> Error {
    let mut cause: Option<&(dyn std::error::Error + 'static)> = Some(&error);
    while let Some(current) = cause {
        if let Some(refused) = current.downcast_ref::<Refused>() {
            return refused_error(refused);
        }
        cause = current.source();
    }
    if error.is_timeout() {
        return timed_out().with_source(error.without_url());
    }
    failed(error.without_url())
}

fn refused_error(refused: &Refused) -> Error {
    Error::invalid("egress_refused", refused.to_string())
}

fn timed_out() -> Error {
    Error::timeout("egress_timeout", "the other side did not answer in time")
}

fn failed(error: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Error {
    let error = error.into();
    let detail = format!("the other side cannot be reached: {}", chain(error.as_ref()));
    Error::unavailable("egress_failed", detail).with_source(error)
}
