//! What the documentation shows as a request is one that the contract takes.

use std::convert::Infallible;
use std::sync::Arc;

use api_gateway::Config;
use axum::Router;
use axum::body::Body;
use http::header::CONTENT_TYPE;
use http::{Request, Response};
use http_body_util::BodyExt;
use serde_json::Value;
use tonic::Status;
use tower::ServiceExt;
use transcode::{Contract, Door, Fault, Operation, Problems, RequestContext, Transport};

use crate::world::JSON;

/// Says what is wrong, as far as anything is before a service is called.
struct Plain;

impl Problems for Plain {
    fn status(&self, status: &Status, _: &RequestContext<'_>) -> Response<Body> {
        Response::new(Body::from(status.message().to_owned()))
    }

    fn fault(&self, fault: &Fault, _: &RequestContext<'_>) -> Response<Body> {
        Response::new(Body::from(format!("{fault:?}")))
    }
}

/// Answers every call with what the contract's own validation says of it.
async fn judge(contract: Arc<Contract>, request: Request<tonic::body::Body>) -> Response<tonic::body::Body> {
    let of_path = |operation: &&Operation| operation.rpc_path() == request.uri().path();
    let operation = contract.operations().iter().find(of_path).expect("an operation");
    let input = operation.input().full_name().to_owned();
    let frame = request.into_body().collect().await.expect("a whole body").to_bytes();
    // A flag and four bytes of length stand before the message.
    Status::unknown(verdict(&input, &frame[5..])).into_http()
}

fn verdict(input: &str, bytes: &[u8]) -> String {
    let found = proto::check_encoded(input, bytes).expect("an input").expect("decodes");
    if found.is_empty() { "good".to_owned() } else { format!("{found:?}") }
}

struct Document {
    contract: Arc<Contract>,
    document: Value,
    router: Router,
}

impl Document {
    fn new() -> Self {
        let contract = Arc::new(api_gateway::contract(&Config::default()).expect("a sound contract"));
        let document = api_gateway::openapi(&contract).expect("JSON");
        let judging = contract.clone();
        let service = tower::service_fn(move |request| {
            let judging = judging.clone();
            async move { Ok::<_, Infallible>(judge(judging, request).await) }
        });
        let transport = Transport::new(service.map_err(|never| match never {}));
        let router = transcode::router(contract.clone(), move |_| Some(transport.clone()), Arc::new(Plain));
        Self { contract, document: serde_json::from_str(&document).expect("JSON"), router }
    }

    fn shown(&self, operation: &Operation) -> &Value {
        let verb = operation.method().expect("documented").as_str().to_ascii_lowercase();
        &self.document["paths"][operation.path().expect("documented")][verb]
    }

    /// The request as the document shows it, with the parameters that it must have.
    fn request(&self, operation: &Operation) -> Request<Body> {
        let shown = self.shown(operation);
        let mut path = operation.path().expect("documented").to_owned();
        let mut query = form_urlencoded::Serializer::new(String::new());
        for parameter in shown["parameters"].as_array().into_iter().flatten() {
            let Some(example) = parameter.get("example") else { continue };
            let (name, example) = (parameter["name"].as_str().expect("a name"), text(example));
            match parameter["in"].as_str() {
                Some("path") => path = path.replace(&format!("{{{name}}}"), &example),
                _ => drop(query.append_pair(name, &example)),
            }
        }
        let body = shown.pointer("/requestBody/content/application~1json/example");
        let uri = format!("{path}?{}", query.finish());
        Request::builder()
            .method(operation.method().expect("documented"))
            .uri(uri.trim_end_matches('?'))
            .header(CONTENT_TYPE, JSON)
            .body(body.map_or_else(Body::empty, |body| Body::from(body.to_string())))
            .expect("a request")
    }

    async fn verdict(&self, operation: &Operation) -> String {
        if operation.door() == Door::Hand {
            return self.verdict_by_hand(operation);
        }
        let answer = self.router.clone().oneshot(self.request(operation)).await.expect("infallible");
        let text = answer.into_body().collect().await.expect("a whole body").to_bytes();
        String::from_utf8(text.to_vec()).expect("text")
    }

    /// A door by hand takes one item of its body's list.
    fn verdict_by_hand(&self, operation: &Operation) -> String {
        let Some(body) = self.shown(operation).pointer("/requestBody/content/application~1json/example")
        else {
            return "good".to_owned();
        };
        let input = operation.input();
        let list = input.get_field_by_name(operation.body_field().expect("a list")).expect("its field");
        let item = list.kind().as_message().expect("of messages").full_name().to_owned();
        match self.contract.read_json(&item, body.to_string().as_bytes()).expect("known") {
            Err(fault) => format!("{fault:?}"),
            Ok(bytes) => {
                let mut encoded = Vec::new();
                let number = list.number();
                prost::encoding::bytes::encode(number, &bytes, &mut encoded);
                verdict(input.full_name(), &encoded)
            }
        }
    }
}

fn text(example: &Value) -> String {
    example.as_str().map_or_else(|| example.to_string(), str::to_owned)
}

#[tokio::test]
async fn every_request_that_is_shown_is_a_good_one() {
    let document = Document::new();
    let mut bad = Vec::new();
    for operation in document.contract.operations().iter().filter(|operation| operation.is_documented()) {
        let verdict = document.verdict(operation).await;
        if verdict != "good" {
            bad.push(format!("{}: {verdict}", operation.name()));
        }
    }
    assert!(bad.is_empty(), "{bad:#?}");
}
