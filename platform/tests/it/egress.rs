//! What may be called and what not, with real sockets.

use std::time::Duration;

use axum::Router;
use axum::response::Redirect;
use axum::routing::{get, post};
use http::{Method, StatusCode};
use platform::egress::{Egress, EgressConfig, Request};
use platform::error::{Kind, Result};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use url::Url;

fn egress(allow: &[&str]) -> Egress {
    let allow = allow.iter().map(|&entry| entry.to_owned()).collect();
    let config = EgressConfig { allow, timeout_ms: 2_000, max_response_bytes: 10, ..EgressConfig::default() };
    Egress::new(&config).expect("readable")
}

/// A server on loopback; returns its port.
async fn server() -> u16 {
    let app = Router::new()
        .route("/", get("hello"))
        .route("/echo", post(|body: String| async move { body }))
        .route("/long", get("more than ten bytes"))
        .route("/slow", get(std::future::pending::<()>))
        .route("/away", get(|| async { Redirect::temporary("/") }));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let port = listener.local_addr().expect("bound").port();
    tokio::spawn(async move { axum::serve(listener, app).await });
    port
}

/// A server that says yes, begins to say more, and breaks off.
async fn broken_server() -> u16 {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let port = listener.local_addr().expect("bound").port();
    tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.expect("a call");
        let mut asked = [0; 1024];
        assert!(stream.read(&mut asked).await.expect("a request") > 0);
        stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nyes").await.expect("said");
    });
    port
}

async fn get_url(egress: &Egress, url: &str) -> Result<platform::egress::Response> {
    egress.send(Request::new(Method::GET, Url::parse(url).expect("a URL"))).await
}

#[tokio::test]
async fn loopback_is_refused_under_every_spelling() {
    let port = server().await;
    let egress = egress(&[]);
    // The last two are names: refused after they were resolved.
    let spellings = [
        "127.0.0.1",
        "127.1",
        "0x7f.0.0.1",
        "2130706433",
        "0177.0.0.1",
        "0.0.0.0",
        "[::1]",
        "[::]",
        "[::ffff:127.0.0.1]",
        "[::ffff:7f00:1]",
        "[64:ff9b::7f00:1]",
        "localhost",
        "LOCALHOST",
    ];
    for host in spellings {
        let url = format!("http://{host}:{port}/");
        let error = get_url(&egress, &url).await.expect_err(host);
        assert_eq!((error.kind, error.code), (Kind::Invalid, "egress_refused"), "{host}: {error}");
    }
    for url in ["http://169.254.169.254/latest/meta-data", "http://10.0.0.1", "https://[fd00::1]/"] {
        assert_eq!(egress.check(url).expect_err(url).code, "egress_refused");
    }
}

#[tokio::test]
async fn the_allow_list_opens_a_host_and_port_or_a_range() {
    let (port, other) = (server().await, server().await);
    let by_port = egress(&[&format!("127.0.0.1:{port}")]);
    let url = |host: &str, port: u16| format!("http://{host}:{port}/");
    assert_eq!(get_url(&by_port, &url("127.0.0.1", port)).await.expect("allowed").body, "hello");
    assert!(get_url(&by_port, &url("127.0.0.1", other)).await.is_err(), "another port");
    assert!(get_url(&by_port, &url("localhost", port)).await.is_err(), "another name");
    let by_name = egress(&[&format!("localhost:{port}")]);
    assert!(get_url(&by_name, &url("localhost", port)).await.is_ok());
    let by_range = egress(&["127.0.0.0/8"]);
    for host in ["127.0.0.1", "localhost"] {
        assert!(get_url(&by_range, &url(host, other)).await.is_ok(), "{host}");
    }
}

#[tokio::test]
async fn answers_are_read_up_to_a_size_and_redirects_are_not_followed() {
    let base = format!("http://127.0.0.1:{}", server().await);
    let egress = egress(&["127.0.0.0/8"]);
    let long = get_url(&egress, &format!("{base}/long")).await.expect("answered");
    assert_eq!((&long.body[..], long.truncated), (&b"more than "[..], true));
    let short = get_url(&egress, &base).await.expect("answered");
    assert!(!short.truncated);
    let away = get_url(&egress, &format!("{base}/away")).await.expect("answered");
    assert_eq!(away.status, StatusCode::TEMPORARY_REDIRECT);
    let missing = get_url(&egress, &format!("{base}/missing")).await.expect("answered");
    assert_eq!(missing.status, StatusCode::NOT_FOUND);
    let url = Url::parse(&format!("{base}/echo")).expect("a URL");
    let post = Request { body: "ping".into(), ..Request::new(Method::POST, url) };
    assert_eq!(egress.send(post).await.expect("answered").body, "ping");
}

/// Asking again would do again what was done.
#[tokio::test]
async fn a_body_that_breaks_off_takes_no_answer_back() {
    let port = broken_server().await;
    let egress = egress(&["127.0.0.0/8"]);
    let answer = get_url(&egress, &format!("http://127.0.0.1:{port}/")).await.expect("it answered");
    assert_eq!((answer.status, answer.truncated), (StatusCode::OK, true));
}

#[tokio::test]
async fn silence_and_refusal_are_retryable_errors() {
    let base = format!("http://127.0.0.1:{}", server().await);
    let egress = egress(&["127.0.0.0/8"]);
    let url = Url::parse(&format!("{base}/slow?secret=1")).expect("a URL");
    let slow = Request { timeout: Some(Duration::from_millis(50)), ..Request::new(Method::GET, url) };
    let error = egress.send(slow).await.expect_err("too slow");
    assert_eq!((error.kind, error.code), (Kind::Timeout, "egress_timeout"));
    assert!(!error.chain().contains("secret"), "{}", error.chain());
    let closed = get_url(&egress, "http://127.0.0.1:9/").await.expect_err("nobody there");
    assert_eq!((closed.kind, closed.code), (Kind::Unavailable, "egress_failed"));
    let unknown = get_url(&egress, "http://no-such-name.invalid/").await.expect_err("no such name");
    // A name server that cannot be reached is silent.
    assert!(["egress_failed", "egress_timeout"].contains(&unknown.code), "{unknown:?}");
    assert!(unknown.is_retryable());
}

#[tokio::test]
async fn plain_connections_are_held_to_the_same_rules() {
    let port = server().await;
    let closed = egress(&[]);
    for host in ["localhost", "127.0.0.1", "::1"] {
        let error = closed.connect_tcp(host, port).await.expect_err(host);
        assert_eq!(error.code, "egress_refused", "{host}");
    }
    egress(&["127.0.0.0/8"]).connect_tcp("127.0.0.1", port).await.expect("allowed");
}

#[test]
fn urls_are_checked_when_they_are_saved() {
    let egress = egress(&[]);
    egress.check("https://hooks.example.com/x?y=1").expect("fine");
    for url in [
        "hooks.example.com",
        "ftp://example.com",
        "http://me:secret@example.com",
        "http://",
        "file:///etc/passwd",
    ] {
        assert_eq!(egress.check(url).expect_err(url).code, "invalid_url", "{url}");
    }
}
