//! The body that the documentation shows for an operation, referring to what its caller owns.

use serde_json::{Value, json};
use transcode::{Contract, Operation};

use crate::support::client::{User, id};

pub struct Examples(Value);

/// What a caller may refer to.
pub struct Own {
    pub user: String,
    pub team: String,
}

impl Own {
    /// The caller and a new team.
    pub async fn make(user: &User) -> Self {
        let team = user.create("/v1/teams", json!({"slug": "theirs", "name": "Theirs"})).await;
        Self { user: user.id.clone(), team: id(&team) }
    }
}

impl Examples {
    pub fn of(contract: &Contract) -> Self {
        let text = api_gateway::openapi(contract).expect("JSON");
        Self(serde_json::from_str(&text).expect("JSON"))
    }

    /// What the body refers to is the caller's own, so that only the path and the permission decide.
    pub fn body(&self, operation: &Operation, own: &Own) -> Value {
        let template = operation.path().expect("an operation of the REST face");
        let verb = operation.method().expect("an operation of the REST face").as_str().to_ascii_lowercase();
        let shown = self.0["paths"][template][verb]
            .pointer("/requestBody/content/application~1json/example")
            .cloned()
            .unwrap_or_else(|| json!({}));
        let Value::Object(mut members) = shown else { return shown };
        for (name, value) in &mut members {
            match name.as_str() {
                "user_id" => *value = json!(own.user),
                "assignee_ids" => *value = json!([own.user]),
                "team_id" => *value = json!(own.team),
                _ => {}
            }
        }
        members.into()
    }
}
