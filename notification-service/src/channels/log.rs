use async_trait::async_trait;
use chrono::{DateTime, Utc};
use platform::error::Result;

use super::{Answer, Channel, Destination, Rendered, Verdict, address_fault};

/// A line in the server's log: for a laptop, and for when nobody can be reached.
pub struct Log {
    /// Whether those who choose it read the log.
    pub is_read: bool,
}

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

    fn hindrance(&self) -> Option<&'static str> {
        (!self.is_read).then_some("the server's log reaches nobody here (notification.log_channel)")
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
