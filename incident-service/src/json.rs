//! Values kept as jsonb.

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::io::Write;

use diesel::deserialize::{self, FromSql, FromSqlRow};
use diesel::expression::AsExpression;
use diesel::pg::{Pg, PgValue};
use diesel::serialize::{self, IsNull, Output, ToSql};
use diesel::sql_types::Jsonb;
use platform::ctx::{Ctx, PrincipalKind};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::kinds::{RuleId, SourceKind};

/// A value of `T` in a jsonb column.
#[derive(Clone, Debug, Default, PartialEq, AsExpression, FromSqlRow)]
#[diesel(sql_type = Jsonb)]
pub struct Json<T: Debug>(pub T);

/// Labels of a resource.
pub type Labels = BTreeMap<String, String>;

/// The first byte of jsonb on the wire.
const JSONB_VERSION: u8 = 1;

impl<T: Debug + Serialize> ToSql<Jsonb, Pg> for Json<T> {
    fn to_sql<'b>(&'b self, out: &mut Output<'b, '_, Pg>) -> serialize::Result {
        out.write_all(&[JSONB_VERSION])?;
        serde_json::to_writer(out, &self.0)?;
        Ok(IsNull::No)
    }
}

impl<T: Debug + DeserializeOwned> FromSql<Jsonb, Pg> for Json<T> {
    fn from_sql(value: PgValue<'_>) -> deserialize::Result<Self> {
        match value.as_bytes() {
            [JSONB_VERSION, text @ ..] => Ok(Self(serde_json::from_slice(text)?)),
            _ => Err("not a jsonb value of version 1".into()),
        }
    }
}

/// What kind of thing an actor is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ActorKind {
    User,
    ApiKey,
    Integration,
    Service,
    Rule,
    Workflow,
}

/// Who did something, with the name as it was then.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Actor {
    pub kind: ActorKind,
    /// UUID; for a service its name.
    pub id: String,
    pub name: String,
}

impl Actor {
    /// The caller.
    pub fn of(cx: &Ctx) -> Self {
        let actor = cx.actor();
        let kind = match actor.kind {
            PrincipalKind::User => ActorKind::User,
            PrincipalKind::ApiKey => ActorKind::ApiKey,
            PrincipalKind::IntegrationKey => ActorKind::Integration,
            PrincipalKind::Service | PrincipalKind::Anonymous => return Self::service(&actor.name),
        };
        Self { kind, id: actor.id.to_string(), name: actor.name }
    }

    /// One of our services.
    pub fn service(name: &str) -> Self {
        Self { kind: ActorKind::Service, id: name.to_owned(), name: name.to_owned() }
    }

    /// A rule.
    pub fn rule(id: RuleId, name: &str) -> Self {
        Self { kind: ActorKind::Rule, id: id.to_string(), name: name.to_owned() }
    }

    /// Whether a person stands behind it: only those reopen incidents.
    pub fn is_person(&self) -> bool {
        matches!(self.kind, ActorKind::User | ActorKind::ApiKey)
    }
}

/// What an alert or incident comes from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Source {
    pub kind: SourceKind,
    /// The rule, integration key or person.
    pub id: Uuid,
    pub name: String,
}

impl Source {
    /// The caller as the source of what it opens by hand.
    pub fn of(cx: &Ctx) -> Self {
        let kind = match cx.principal.kind {
            PrincipalKind::IntegrationKey => SourceKind::Integration,
            _ => SourceKind::Person,
        };
        Self { kind, id: cx.principal.id, name: cx.principal.name.clone() }
    }
}

/// A link shown with an incident.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Link {
    pub href: String,
    pub text: String,
}

/// A picture shown with an incident.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Image {
    pub src: String,
    pub href: String,
    pub alt: String,
}

/// The same incident in another system.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExternalRef {
    pub system: String,
    pub id: String,
    pub url: String,
}

/// When the selected events are a failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Condition {
    /// Every selected event.
    Each,
    /// At least so many within the window.
    Count { at_least: i32, window_ms: i64 },
}
