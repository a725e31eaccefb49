//! What a service says about a change of its resources.

use prost::Name;
use serde_json::Value as Json;

use crate::events::v1::AuditEvent;
use crate::json;

/// Type of every record on [`topics::AUDIT`](crate::topics::AUDIT).
pub const RECORDED: &str = "pulseops.audit.recorded.v1";

impl AuditEvent {
    /// `action` on a resource: `after` alone for a new one, both for a changed or archived one. Both are what the API shows; who did it is the caller's to add.
    ///
    /// # Errors
    /// As [`json::to_json`].
    pub fn of<M: Name>(
        action: &str,
        resource_id: impl ToString,
        before: Option<&M>,
        after: Option<&M>,
    ) -> Result<Self, json::Error> {
        let text = |shown: Option<&M>| -> Result<String, json::Error> {
            shown
                .map(json::to_json)
                .transpose()
                .map(|it| it.as_ref().map(Json::to_string).unwrap_or_default())
        };
        Ok(Self {
            action: action.to_owned(),
            resource_id: resource_id.to_string(),
            before: text(before)?,
            after: text(after)?,
            ..Self::default()
        })
    }
}
