//! Calls between services: the same generated client speaks to a service in this process without a
//! socket, or to another process. In this process the context itself travels as an extension of the
//! request, which only our code can put there; to another process it goes as metadata.

mod directory;
#[cfg(feature = "testing")]
mod faults;
mod headers;

use tonic::metadata::MetadataValue;
use tonic::{Request, Status};

pub use directory::{BoxedTransport, Directory, Transport};
#[cfg(feature = "testing")]
pub use faults::{Fault, Faults};
pub(crate) use headers::apply_call_headers;
pub use headers::http_parts;

use crate::ctx::Ctx;
use crate::error::Error;

/// Metadata of the idempotency key of a call.
pub const IDEMPOTENCY_KEY: &str = "idempotency-key";
/// Metadata of the version that the caller expects.
pub const IF_MATCH: &str = "if-match";
/// Metadata of an answer that was stored before.
pub const IDEMPOTENCY_REPLAYED: &str = "idempotency-replayed";
/// Header of the request's id.
pub const REQUEST_ID: &str = "x-request-id";

/// A request to another service as `cx`: caller, organization, trace, deadline and cause go along.
/// The idempotency key and the expected version of `cx` belong to the call that brought them and
/// stay behind; see [`keyed`].
pub fn request<M>(cx: &Ctx, message: M) -> Request<M> {
    let mut request = Request::new(message);
    let cx = Ctx { idempotency_key: None, if_match: None, ..cx.clone() };
    request.extensions_mut().insert(cx);
    request
}

/// [`request`] with an idempotency key of its own, so that a repeated call has one effect.
///
/// # Errors
/// Internal, when the key is not visible ASCII.
pub fn keyed<M>(cx: &Ctx, key: &str, message: M) -> Result<Request<M>, Error> {
    let mut request = request(cx, message);
    let value = MetadataValue::try_from(key).map_err(Error::internal)?;
    request.metadata_mut().insert(IDEMPOTENCY_KEY, value);
    Ok(request)
}

/// What a handler gets: the context that the door made, and the message.
///
/// # Errors
/// Internal, when the service does not stand behind its door.
pub fn unpack<M>(mut request: Request<M>) -> Result<(Ctx, M), Status> {
    let cx = request.extensions_mut().remove::<Ctx>();
    let cx = cx.ok_or_else(|| Error::internal("a handler was reached past its door"))?;
    Ok((cx, request.into_inner()))
}

/// The span of one call; log lines inside carry its fields.
pub(crate) fn span(cx: &Ctx) -> tracing::Span {
    tracing::info_span!(
        "rpc",
        rpc = %cx.rpc,
        request.id = %cx.request_id,
        org.id = %cx.org,
        principal = %cx.principal.subject(),
        trace.id = cx.trace.trace_id_hex(),
    )
}
