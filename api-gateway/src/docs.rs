//! What describes the gateway: OpenAPI, its page, and whether it is up.

use axum::Router;
use axum::response::{Html, IntoResponse, Redirect, Response};
use axum::routing::get;
use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::{HeaderValue, StatusCode};
use platform::error::{Error, Result};
use transcode::Contract;

/// Self-contained: reads /openapi.json and loads nothing from elsewhere.
const PAGE: &str = include_str!("docs/page.html");

/// The OpenAPI document, as it is served and checked in.
///
/// # Errors
/// Internal, when it cannot be written as JSON.
pub fn openapi(contract: &Contract) -> Result<String> {
    let mut text =
        serde_json::to_string_pretty(&contract.openapi(&crate::info())).map_err(Error::internal)?;
    text.push('\n');
    Ok(text)
}

/// `/openapi.json`, `/docs`, `/healthz`, `/readyz`.
pub fn routes(
    contract: &Contract,
    ready: impl Fn() -> bool + Clone + Send + Sync + 'static,
) -> Result<Router> {
    let document = Bytes::from(openapi(contract)?);
    let openapi = move || std::future::ready(json(document.clone()));
    Ok(Router::new()
        .route("/openapi.json", get(openapi))
        .route("/", get(|| async { Redirect::temporary("/docs") }))
        .route("/docs/", get(|| async { Redirect::temporary("/docs") }))
        .route("/docs", get(|| async { Html(PAGE) }))
        .route("/healthz", get(|| async { "ok\n" }))
        .route("/readyz", get(move || std::future::ready(readiness(ready())))))
}

fn json(document: Bytes) -> Response {
    ([(CONTENT_TYPE, HeaderValue::from_static("application/json"))], document).into_response()
}

fn readiness(ready: bool) -> (StatusCode, &'static str) {
    if ready { (StatusCode::OK, "ready\n") } else { (StatusCode::SERVICE_UNAVAILABLE, "not ready\n") }
}
