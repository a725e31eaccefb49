//! The codec of all generated stubs: prost's, and what an RPC is asked with is validated before the
//! handler sees it, whichever door it came through.

use std::marker::PhantomData;

use prost::Message;
use tonic::codec::{BufferSettings, Codec, DecodeBuf, Decoder};
use tonic::{Code, Status};
use tonic_prost::{ProstDecoder, ProstEncoder};
use tonic_types::{ErrorDetails, FieldViolation, StatusExt};

use crate::validate::{Validate, Violation, check};

/// The `domain` of the `google.rpc.ErrorInfo` in a status made here.
pub const ERROR_DOMAIN: &str = "pulseops";
/// Its `reason`, and the message of the status.
pub const INVALID: &str = "invalid";
/// Its `reason` when the bytes are no message of the expected type.
pub const MALFORMED: &str = "malformed";

/// The largest answer that a generated client takes, in bytes: a page of 200 of the largest
/// resources. Servers keep tonic's 4 MiB for what they are asked with; their door lets less through.
pub const MAX_ANSWER: usize = 64 << 20;

/// What a generated client calls through.
#[doc(hidden)]
pub fn client<T>(grpc: tonic::client::Grpc<T>) -> tonic::client::Grpc<T> {
    grpc.max_decoding_message_size(MAX_ANSWER)
}

/// Encodes `T` and decodes `U`.
#[derive(Clone, Copy, Debug)]
pub struct ValidatingCodec<T, U>(PhantomData<(T, U)>);

impl<T, U> Default for ValidatingCodec<T, U> {
    fn default() -> Self {
        Self(PhantomData)
    }
}

impl<T, U> Codec for ValidatingCodec<T, U>
where
    T: Message + Send + 'static,
    U: Message + Default + Validate + Send + 'static,
{
    type Encode = T;
    type Decode = U;
    type Encoder = ProstEncoder<T>;
    type Decoder = ValidatingDecoder<U>;

    fn encoder(&mut self) -> Self::Encoder {
        ProstEncoder::default()
    }

    fn decoder(&mut self) -> Self::Decoder {
        ValidatingDecoder(ProstDecoder::default())
    }
}

/// Decodes `U` and, when it is an RPC's input, refuses bytes that are none and an invalid one with
/// INVALID_ARGUMENT.
#[derive(Clone, Debug)]
pub struct ValidatingDecoder<U>(ProstDecoder<U>);

impl<U: Message + Default + Validate> Decoder for ValidatingDecoder<U> {
    type Item = U;
    type Error = Status;

    fn decode(&mut self, buffer: &mut DecodeBuf<'_>) -> Result<Option<U>, Status> {
        let message =
            self.0.decode(buffer).map_err(|error| if U::INPUT { malformed(&error) } else { error })?;
        if U::INPUT
            && let Some(message) = &message
        {
            check(message).map_err(invalid)?;
        }
        Ok(message)
    }

    fn buffer_settings(&self) -> BufferSettings {
        self.0.buffer_settings()
    }
}

/// INVALID_ARGUMENT with `ErrorInfo { reason: "malformed" }`: what a client sent cannot be decoded.
fn malformed(error: &Status) -> Status {
    let details = ErrorDetails::with_error_info(MALFORMED, ERROR_DOMAIN, []);
    Status::with_error_details(Code::InvalidArgument, error.message(), details)
}

/// INVALID_ARGUMENT "invalid" with `ErrorInfo { reason: "invalid" }` and a `BadRequest` whose field
/// violations are described as `<code>: <detail>`; the platform's error reads exactly that back.
pub fn invalid(violations: Vec<Violation>) -> Status {
    let fields: Vec<_> = violations
        .into_iter()
        .map(|violation| {
            FieldViolation::new(violation.field, format!("{}: {}", violation.code, violation.detail))
        })
        .collect();
    let mut details = ErrorDetails::with_bad_request(fields);
    details.set_error_info(INVALID, ERROR_DOMAIN, []);
    Status::with_error_details(Code::InvalidArgument, INVALID, details)
}
