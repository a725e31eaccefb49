//! The tonic side of the library.

use std::sync::{Arc, Mutex};

use http::Request;
use prost::Message as _;
use prost_reflect::{DynamicMessage, MethodDescriptor};
use tonic::Status;
use tonic::codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder};
use tonic::server::UnaryService;
use transcode::Transport;

use super::{Answerer, Call, POOL, Reply};

/// A tonic service for every RPC of the pool.
pub(super) fn transport(answer: Answerer, calls: Arc<Mutex<Vec<Call>>>) -> Transport {
    let service = tower::service_fn(move |request: Request<tonic::body::Body>| {
        let (answer, calls) = (answer.clone(), calls.clone());
        async move {
            let rpc = request.uri().path().to_owned();
            let method = find(&rpc);
            let handler = Handler { rpc, answer, calls };
            let mut server = tonic::server::Grpc::new(DynamicCodec(method));
            Ok::<_, Box<dyn std::error::Error + Send + Sync>>(server.unary(handler, request).await)
        }
    });
    Transport::new(service)
}

fn find(rpc: &str) -> MethodDescriptor {
    let mut parts = rpc.trim_start_matches('/').split('/');
    let (service, method) = (parts.next().expect("a service"), parts.next().expect("a method"));
    let service = POOL.get_service_by_name(service).expect("a known service");
    service.methods().find(|m| m.name() == method).expect("a known method")
}

struct Handler {
    rpc: String,
    answer: Answerer,
    calls: Arc<Mutex<Vec<Call>>>,
}

impl UnaryService<DynamicMessage> for Handler {
    type Response = DynamicMessage;
    type Future = std::future::Ready<Reply>;

    fn call(&mut self, request: tonic::Request<DynamicMessage>) -> Self::Future {
        let (metadata, extensions, input) = request.into_parts();
        let call = Call { rpc: self.rpc.clone(), input, metadata, extensions };
        let reply = (self.answer)(&call);
        self.calls.lock().expect("no test panicked").push(call);
        std::future::ready(reply)
    }
}

#[derive(Clone)]
struct DynamicCodec(MethodDescriptor);

impl Codec for DynamicCodec {
    type Encode = DynamicMessage;
    type Decode = DynamicMessage;
    type Encoder = Self;
    type Decoder = Self;

    fn encoder(&mut self) -> Self {
        self.clone()
    }

    fn decoder(&mut self) -> Self {
        self.clone()
    }
}

impl Encoder for DynamicCodec {
    type Item = DynamicMessage;
    type Error = Status;

    fn encode(&mut self, item: DynamicMessage, buffer: &mut EncodeBuf<'_>) -> Result<(), Status> {
        item.encode(buffer).map_err(|error| Status::internal(error.to_string()))
    }
}

impl Decoder for DynamicCodec {
    type Item = DynamicMessage;
    type Error = Status;

    fn decode(&mut self, buffer: &mut DecodeBuf<'_>) -> Result<Option<DynamicMessage>, Status> {
        let message = DynamicMessage::decode(self.0.input(), buffer);
        message.map(Some).map_err(|error| Status::internal(error.to_string()))
    }
}
