//! What is to be said, to whom and about what.

use chrono::{DateTime, Utc};
use platform::ctx::{Ctx, parse_id};
use platform::error::{Error, Result};
use proto::notification::v1 as wire;
use uuid::Uuid;

use crate::convert;
use crate::ids::TeamId;
use crate::kinds::Progress;
use crate::peers::progress_of;
use crate::render::{self, Content};
use crate::store::channels::Channel;
use crate::store::notifications::Notification;
use crate::targets::{Target, Told};

/// A request, read.
pub struct Request {
    pub key: String,
    pub targets: Vec<Target>,
    /// `None`: a message that belongs to no incident.
    pub about: Option<About>,
    pub sequence: i64,
    pub decided_at: DateTime<Utc>,
    pub actor: proto::api::v1::Actor,
    pub content: Content,
    /// The text has a place for a code.
    pub carries_code: bool,
}

/// The incident that people are told about, and the run that tells.
#[derive(Clone, Copy)]
pub struct About {
    pub incident_id: Uuid,
    pub run_id: Uuid,
    /// As the decision saw it.
    pub status: Option<Progress>,
}

impl Request {
    /// # Errors
    /// Invalid, at the field that cannot be read.
    pub fn read(cx: &Ctx, request: wire::SendRequest) -> Result<Self> {
        let event = request.incident.ok_or_else(|| Error::field("incident", "required", "is required"))?;
        let incident = event
            .incident
            .as_ref()
            .ok_or_else(|| Error::field("incident.incident", "required", "is required"))?;
        let team = event.team.as_ref().map(|team| team.id.as_str()).or(incident.team_id.as_deref());
        let team = team.map(|team| TeamId::parse("incident.team.id", team)).transpose()?;
        let decided_at = match &request.decided_at {
            Some(at) => convert::read_time(at, "decided_at")?,
            None => cx.now,
        };
        let about = About {
            incident_id: parse_id("incident.incident.id", &incident.id)?,
            run_id: parse_id("run_id", &request.run_id)?,
            status: progress_of(incident.status()),
        };
        Ok(Self {
            targets: Target::read(&request.targets, team)?,
            about: Some(about),
            sequence: request.sequence,
            actor: request.actor.unwrap_or_else(|| convert::actor(&cx.actor())),
            content: render::page(&event, incident, &request.message, decided_at)?,
            decided_at,
            key: request.key,
            carries_code: false,
        })
    }

    /// A message that shows that `channel` works.
    pub fn test(cx: &Ctx, channel: &Channel) -> Self {
        let content = render::test(&channel.id.to_string(), &channel.name, cx.source.now());
        Self::apart(cx, "test", content)
    }

    /// A message with a code that proves an address.
    pub fn code(cx: &Ctx) -> Self {
        Self { carries_code: true, ..Self::apart(cx, "code", render::code(cx.source.now())) }
    }

    /// A message that belongs to no incident.
    fn apart(cx: &Ctx, what: &str, content: Content) -> Self {
        Self {
            key: format!("{what}:{}", cx.id()),
            targets: Vec::new(),
            about: None,
            sequence: 0,
            decided_at: cx.source.now(),
            actor: convert::actor(&cx.actor()),
            content,
            carries_code: false,
        }
    }

    /// Whether `row` is this request's word to `told`, perhaps over another way to the same address.
    pub fn has_told(&self, row: &Notification, told: &Told) -> bool {
        row.key == told.key(&self.key) || row.order_key == self.order_key(told)
    }

    /// What `told` is ordered under: messages to one destination about one incident.
    pub fn order_key(&self, told: &Told) -> String {
        match &self.about {
            Some(about) => told.order_key(&about.incident_id.to_string()),
            None => told.order_key(&self.key),
        }
    }
}
