use serde::Serialize;

use super::Error;

/// A problem document (RFC 9457), served as `application/problem+json`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Problem {
    /// Always `about:blank`: `code` is what programs look at.
    #[serde(rename = "type")]
    pub type_: &'static str,
    /// The phrase of the HTTP status, as `about:blank` demands.
    pub title: String,
    /// The HTTP status.
    pub status: u16,
    /// What is wrong, for people.
    pub detail: String,
    /// Stable snake-case name that programs rely on.
    pub code: &'static str,
    /// The request that it happened to.
    pub instance: String,
    /// The faults field by field.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub errors: Vec<ProblemField>,
}

/// One fault of one field.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ProblemField {
    /// Path of the field.
    pub field: String,
    /// Stable name of the rule that was broken.
    pub code: &'static str,
    /// What is wrong, for people.
    pub detail: String,
}

impl Error {
    /// The problem document of this error. `instance` names the request (a request id).
    pub fn problem(&self, instance: impl Into<String>) -> Problem {
        let status = self.kind.http();
        let errors = self.fields.iter().map(|fault| ProblemField {
            field: fault.field.clone(),
            code: fault.code,
            detail: fault.detail.clone(),
        });
        Problem {
            type_: "about:blank",
            title: status.canonical_reason().unwrap_or_default().to_owned(),
            status: status.as_u16(),
            detail: self.detail.clone(),
            code: self.code,
            instance: instance.into(),
            errors: errors.collect(),
        }
    }
}
