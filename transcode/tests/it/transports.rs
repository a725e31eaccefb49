//! The same service through tonic's Routes in process, over a socket, and out of reach.

use http::Request;
use serde_json::json;
use tonic::service::Routes;
use tonic::transport::server::TcpIncoming;
use tonic::transport::{Channel, Server};
use tower::ServiceExt as _;
use transcode::{Options, Transport};

use crate::support::{Library, message};

const BOOK: &str = "/v1/books/0194fdc2-fa2f-7cc0-81d3-ff12045b73c8";

fn library(wrap: impl FnOnce(Transport) -> Transport) -> Library {
    Library::over(Options::new("library.v1.op"), wrap, |call| match call.metadata("x-request-id") {
        Some("fail") => Err(tonic::Status::not_found("no such book")),
        _ => Ok(tonic::Response::new(message("Book", json!({ "title": "T", "version": "3" })))),
    })
}

fn routes(service: Transport) -> Routes {
    let service = tower::service_fn(move |request: Request<axum::body::Body>| {
        let request = request.map(tonic::body::Body::new);
        let answer = service.clone().oneshot(request);
        async { Ok::<_, std::convert::Infallible>(answer.await.expect("the test's service answers")) }
    });
    let path = "/library.v1.BookService/{*method}";
    Routes::from(axum::Router::new().route_service(path, service)).prepare()
}

async fn assert_serves(library: &Library) {
    let answer = library.get(BOOK).await;
    assert_eq!((answer.status.as_u16(), &answer.json()["title"]), (200, &json!("T")), "{}", answer.text);
    let answer = library.get_with(BOOK, &[("x-request-id", "fail")]).await;
    assert_eq!((answer.status.as_u16(), &answer.json()["detail"]), (404, &json!("no such book")));
}

#[tokio::test]
async fn in_process_through_routes() {
    let library = library(|service| {
        let routes = routes(service);
        Transport::new(tower::ServiceExt::<Request<tonic::body::Body>>::map_err(routes, Into::into))
    });
    assert_serves(&library).await;
}

#[tokio::test]
async fn over_a_socket() {
    let incoming = TcpIncoming::bind("127.0.0.1:0".parse().expect("an address")).expect("a port");
    let address = incoming.local_addr().expect("bound");
    let library = library(|service| {
        tokio::spawn(Server::builder().add_routes(routes(service)).serve_with_incoming(incoming));
        let channel = Channel::from_shared(format!("http://{address}")).expect("a URL").connect_lazy();
        Transport::new(channel.map_err(Into::into))
    });
    assert_serves(&library).await;
}

#[tokio::test]
async fn out_of_reach_is_unavailable() {
    let incoming = TcpIncoming::bind("127.0.0.1:0".parse().expect("an address")).expect("a port");
    let address = incoming.local_addr().expect("bound");
    drop(incoming);
    let library = library(|_| {
        let channel = Channel::from_shared(format!("http://{address}")).expect("a URL").connect_lazy();
        Transport::new(channel.map_err(Into::into))
    });
    let answer = library.get(BOOK).await;
    assert_eq!((answer.status.as_u16(), &answer.json()["code"]), (503, &json!("Unavailable")));
}
