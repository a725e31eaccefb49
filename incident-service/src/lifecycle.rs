//! An incident's life as a pure machine: triggered → acknowledged → resolved, and back by a person.

use chrono::{DateTime, Utc};
use diesel::prelude::*;

use crate::json::{Actor, Json};
use crate::kinds::Status;

/// Where an incident stands and how it came there.
#[derive(Clone, Debug, PartialEq, Queryable, QueryableByName, Selectable, AsChangeset)]
#[diesel(table_name = crate::schema::incidents, treat_none_as_null = true)]
pub struct Life {
    pub status: Status,
    /// The first acknowledgement ever; a reopen keeps it (MTTA counts from it).
    pub first_acknowledged_at: Option<DateTime<Utc>>,
    pub acknowledged_at: Option<DateTime<Utc>>,
    pub acknowledged_by: Option<Json<Actor>>,
    pub resolved_at: Option<DateTime<Utc>>,
    pub resolved_by: Option<Json<Actor>>,
    /// Nobody resolved it by hand.
    pub auto_resolved: bool,
    pub resolution_note: String,
    pub reopen_count: i32,
}

/// What is to happen.
#[derive(Clone, Debug, PartialEq)]
pub enum Action {
    /// Somebody takes it.
    Acknowledge,
    /// It is over; the note says what fixed it.
    Resolve { note: String },
    /// It was not over.
    Reopen,
}

/// Why an action cannot happen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refused {
    /// From this status there is no such way.
    Transition { from: Status },
    /// Only people reopen.
    NotAPerson,
}

impl Life {
    /// A new incident's.
    pub fn born() -> Self {
        Self {
            status: Status::Triggered,
            first_acknowledged_at: None,
            acknowledged_at: None,
            acknowledged_by: None,
            resolved_at: None,
            resolved_by: None,
            auto_resolved: false,
            resolution_note: String::new(),
            reopen_count: 0,
        }
    }

    /// The life after `action` by `actor`; `None` when it changes nothing.
    ///
    /// # Errors
    /// [`Refused`] when the status or the actor does not allow it.
    pub fn after(&self, action: &Action, actor: &Actor, now: DateTime<Utc>) -> Result<Option<Self>, Refused> {
        match (action, self.status) {
            (Action::Acknowledge, Status::Triggered) => Ok(Some(self.acknowledged(actor, now))),
            (Action::Acknowledge, Status::Acknowledged) => Ok(None),
            (Action::Resolve { .. }, Status::Resolved) => Ok(None),
            (Action::Resolve { note }, _) => Ok(Some(self.resolved(note, actor, now))),
            (Action::Reopen, Status::Resolved) if actor.is_person() => Ok(Some(self.reopened())),
            (Action::Reopen, Status::Resolved) => Err(Refused::NotAPerson),
            (Action::Acknowledge | Action::Reopen, from) => Err(Refused::Transition { from }),
        }
    }

    fn acknowledged(&self, actor: &Actor, now: DateTime<Utc>) -> Self {
        Self {
            status: Status::Acknowledged,
            first_acknowledged_at: self.first_acknowledged_at.or(Some(now)),
            acknowledged_at: Some(now),
            acknowledged_by: Some(Json(actor.clone())),
            ..self.clone()
        }
    }

    fn resolved(&self, note: &str, actor: &Actor, now: DateTime<Utc>) -> Self {
        Self {
            status: Status::Resolved,
            resolved_at: Some(now),
            resolved_by: Some(Json(actor.clone())),
            auto_resolved: !actor.is_person(),
            resolution_note: note.to_owned(),
            ..self.clone()
        }
    }

    fn reopened(&self) -> Self {
        Self {
            first_acknowledged_at: self.first_acknowledged_at,
            reopen_count: self.reopen_count.saturating_add(1),
            ..Self::born()
        }
    }
}

#[cfg(test)]
mod tests;
