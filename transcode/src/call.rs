//! A unary gRPC call with bytes in and bytes out: the wire format is read and written elsewhere.

use std::task::{Context, Poll};

use bytes::{Buf as _, BufMut as _, Bytes};
use futures::future::BoxFuture;
use http::uri::PathAndQuery;
use tonic::codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder};
use tonic::{Code, Request, Response, Status};

/// A service in this process (its `Routes`) or elsewhere (a `Channel`), behind one type.
pub type Transport = tower::util::BoxCloneSyncService<
    http::Request<tonic::body::Body>,
    http::Response<tonic::body::Body>,
    Box<dyn std::error::Error + Send + Sync>,
>;

/// The answer may have `limit` bytes.
///
/// # Errors
/// The service's status, or `Unavailable` when it cannot be reached.
pub(crate) async fn unary(
    transport: Transport,
    rpc: PathAndQuery,
    request: Request<Bytes>,
    limit: usize,
) -> Result<Response<Bytes>, Status> {
    let client = tonic::client::Grpc::new(Dialed(transport));
    let mut client = client.max_decoding_message_size(limit);
    client.ready().await?;
    client.unary(request, rpc, RawCodec).await
}

/// A transport whose error is a `Status`: with the boxed error the compiler cannot prove tonic's
/// futures to be Send.
struct Dialed(Transport);

impl tower::Service<http::Request<tonic::body::Body>> for Dialed {
    type Response = http::Response<tonic::body::Body>;
    type Error = Status;
    type Future = BoxFuture<'static, Result<Self::Response, Status>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Status>> {
        self.0.poll_ready(cx).map_err(unreachable)
    }

    fn call(&mut self, request: http::Request<tonic::body::Body>) -> Self::Future {
        let answer = self.0.call(request);
        Box::pin(async move { answer.await.map_err(unreachable) })
    }
}

fn unreachable(error: Box<dyn std::error::Error + Send + Sync>) -> Status {
    let status = Status::from_error(error);
    match status.code() {
        Code::Unknown => Status::unavailable(status.message()),
        _ => status,
    }
}

struct RawCodec;

impl Codec for RawCodec {
    type Encode = Bytes;
    type Decode = Bytes;
    type Encoder = Self;
    type Decoder = Self;

    fn encoder(&mut self) -> Self {
        Self
    }

    fn decoder(&mut self) -> Self {
        Self
    }
}

impl Encoder for RawCodec {
    type Item = Bytes;
    type Error = Status;

    fn encode(&mut self, item: Bytes, buffer: &mut EncodeBuf<'_>) -> Result<(), Status> {
        buffer.put(item);
        Ok(())
    }
}

impl Decoder for RawCodec {
    type Item = Bytes;
    type Error = Status;

    fn decode(&mut self, buffer: &mut DecodeBuf<'_>) -> Result<Option<Bytes>, Status> {
        Ok(Some(buffer.copy_to_bytes(buffer.remaining())))
    }
}
