use async_trait::async_trait;
use chrono::{DateTime, Utc};
use platform::error::Result;

use super::{Answer, Channel, Destination, Rendered, Verdict, address_fault};

/// A line in the server's log: for a laptop, and for when nobody can be reached.
pub struct Log;

#[async_trait]
impl Channel for Log {
    fn check(&self, address: &str) -> Result<String> {
        if address.is_empty() {
            return Ok(String::new());
        }
        Err(address_fault("not_allowed", "must be empty: the log has no address"))
    }

    fn shorten(&self, _: &str) -> String {
        "log".to_owned()
    }

    async fn deliver(&self, _: &Destination, message: &Rendered, _: DateTime<Utc>) -> Answer {
        tracing::info!(
            notification.key = message.key,
            notification.subject = message.subject,
            notification.text = message.text,
            "notification"
        );
        Answer::new(Verdict::Delivered, 0, "written to the log")
    }
}
