//! Webhooks signed as Standard Webhooks says (<https://www.standardwebhooks.com>): `webhook-id` is
//! the delivery's key and stays the same on every attempt, the signature is `v1` (HMAC-SHA256).

use std::time::Duration;

use async_trait::async_trait;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use chrono::{DateTime, Utc};
use hmac::{Hmac, Mac};
use http::header::{CONTENT_TYPE, USER_AGENT};
use http::{HeaderValue, Method, StatusCode};
use platform::egress::{Egress, Request, retry_after};
use platform::error::{Error, Kind, Result};
use platform::secret::Secret;
use platform::source::Source;
use sha2::Sha256;
use url::Url;

use super::{Answer, Channel, Destination, Rendered, Verdict, address_fault};

const PREFIX: &str = "whsec_";
/// The specification's bounds for a secret.
const SECRET_BYTES: std::ops::RangeInclusive<usize> = 24..=64;

/// POSTs the JSON form of a message to a URL.
pub struct Webhook {
    egress: Egress,
    timeout: Duration,
}

impl Webhook {
    /// `timeout` is for one attempt, the answer included.
    pub fn new(egress: Egress, timeout: Duration) -> Self {
        Self { egress, timeout }
    }

    fn request(&self, url: Url, message: &Rendered, timestamp: i64, signature: &str) -> Result<Request> {
        let value = |text: &str| HeaderValue::from_str(text).map_err(Error::internal);
        let mut request = Request::new(Method::POST, url);
        let headers = &mut request.headers;
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        headers.insert(USER_AGENT, HeaderValue::from_static(concat!("PulseOps/", env!("CARGO_PKG_VERSION"))));
        headers.insert("webhook-id", value(&message.key)?);
        headers.insert("webhook-timestamp", HeaderValue::from(timestamp));
        headers.insert("webhook-signature", value(signature)?);
        headers.insert("traceparent", value(&message.trace)?);
        request.body = Bytes::from(message.json.clone());
        request.timeout = Some(self.timeout);
        Ok(request)
    }
}

/// A new signing secret.
pub fn new_secret(source: &Source) -> Secret<String> {
    let mut bytes = [0; 32];
    source.fill(&mut bytes);
    Secret::new(format!("{PREFIX}{}", STANDARD.encode(bytes)))
}

/// Whether a given signing secret is one: `whsec_` and base64 of 24 to 64 bytes.
pub fn is_secret(secret: &str) -> bool {
    key_of(secret).is_some_and(|key| SECRET_BYTES.contains(&key.len()))
}

fn key_of(secret: &str) -> Option<Vec<u8>> {
    STANDARD.decode(secret.strip_prefix(PREFIX)?).ok()
}

/// The value of header `webhook-signature`; `None` when the secret is none.
fn signature(secret: &str, id: &str, timestamp: i64, body: &str) -> Option<String> {
    let mut mac = Hmac::<Sha256>::new_from_slice(&key_of(secret)?).ok()?;
    mac.update(format!("{id}.{timestamp}.{body}").as_bytes());
    Some(format!("v1,{}", STANDARD.encode(mac.finalize().into_bytes())))
}

#[async_trait]
impl Channel for Webhook {
    fn check(&self, address: &str) -> Result<String> {
        let url = self.egress.check(address.trim());
        url.map(String::from).map_err(|error| address_fault(error.code, error.detail))
    }

    fn shorten(&self, address: &str) -> String {
        match Url::parse(address) {
            Ok(url) => format!("{}/…", &url[..url::Position::AfterPort]),
            Err(_) => "…".to_owned(),
        }
    }

    fn signs(&self) -> bool {
        true
    }

    async fn deliver(&self, to: &Destination, message: &Rendered, now: DateTime<Utc>) -> Answer {
        let timestamp = now.timestamp();
        let signature = to
            .secret
            .as_ref()
            .and_then(|secret| signature(secret.expose(), &message.key, timestamp, &message.json));
        let Some(signature) = signature else {
            return Answer::refused("the signing secret is damaged");
        };
        let request = Url::parse(&to.address)
            .map_err(Error::internal)
            .and_then(|url| self.request(url, message, timestamp, &signature));
        let sent = match request {
            Ok(request) => self.egress.send(request).await,
            Err(error) => Err(error),
        };
        match sent {
            Ok(answer) => read_status(answer.status, retry_after(&answer.headers, now)),
            // The address itself is wrong or not allowed: trying again does not change it.
            Err(error) if error.kind == Kind::Invalid => Answer::refused(error.detail),
            Err(error) => Answer::retry(error.detail),
        }
    }
}

/// What a status says about the next attempt. Only 410 is final, as Standard Webhooks says: a receiver
/// that is being deployed or whose proxy lost its rights answers any other 4xx for a while. Redirects
/// are not followed, because they would lead around the address that somebody checked.
fn read_status(status: StatusCode, after: Option<Duration>) -> Answer {
    let code = i32::from(status.as_u16());
    let verdict = match status.as_u16() {
        200..=299 => Verdict::Delivered,
        410 | 300..=399 => Verdict::Refused,
        _ => Verdict::Retry { after },
    };
    let detail = match (verdict, status.as_u16()) {
        (_, 410) => "the receiver is gone for good".to_owned(),
        (_, 300..=399) => "redirects are not followed".to_owned(),
        _ => format!("the receiver answered {status}"),
    };
    Answer::new(verdict, code, detail)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statuses_decide() {
        let after = Some(Duration::from_secs(7));
        let verdict = |code| read_status(StatusCode::from_u16(code).expect("a status"), after).verdict;
        for code in [200, 201, 202, 204, 299] {
            assert_eq!(verdict(code), Verdict::Delivered, "{code}");
        }
        for code in [400, 401, 403, 404, 408, 409, 422, 425, 429, 500, 502, 503, 504, 599] {
            assert_eq!(verdict(code), Verdict::Retry { after }, "{code}");
        }
        for code in [301, 302, 307, 410] {
            assert_eq!(verdict(code), Verdict::Refused, "{code}");
        }
    }

    #[test]
    fn the_signature_is_that_of_the_specification() {
        // The example of the Standard Webhooks libraries' own tests.
        let signature = signature(
            "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
            "msg_p5jXN8AQM9LWM0D4loKWxJek",
            1_614_265_330,
            r#"{"test": 2432232314}"#,
        );
        assert_eq!(signature.as_deref(), Some("v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="));
    }

    #[test]
    fn secrets_have_a_form() {
        let made = new_secret(&Source::system());
        assert!(is_secret(made.expose()));
        for bad in ["whsec_", "whsec_c2hvcnQ=", "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "whsec_!!!!"] {
            assert!(!is_secret(bad), "{bad}");
        }
    }
}
