//! Who is in a team and who the owners are: asked of auth-service when what is known is not fresh,
//! answered from the last good answer when auth is silent. auth-service is never on the way to a page.

use std::collections::HashMap;
use std::time::Duration;

use chrono::{DateTime, Utc};
use platform::ctx::Ctx;
use uuid::Uuid;

use crate::ids::TeamId;
use crate::kinds::GroupKind;
use crate::peers::Peers;
use crate::store::people::GroupSeen;
use crate::targets::Person;

/// A set of people that auth-service knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Group {
    Team(TeamId),
    Owners,
}

impl Group {
    /// The row that keeps the last answer.
    pub fn row_key(self) -> (GroupKind, Uuid) {
        match self {
            Self::Team(id) => (GroupKind::Team, id.uuid()),
            Self::Owners => (GroupKind::Owners, Uuid::nil()),
        }
    }

    fn of_row(row: &GroupSeen) -> Self {
        match row.kind {
            GroupKind::Team => Self::Team(TeamId(row.group_id)),
            GroupKind::Owners => Self::Owners,
        }
    }
}

/// The people of some groups, and the answers that are new.
#[derive(Clone, Debug, Default)]
pub struct Audiences {
    pub people: HashMap<Group, Vec<Person>>,
    /// To be kept.
    pub fresh: Vec<GroupSeen>,
}

impl Audiences {
    /// The people of `groups` as `seen` has them, when all of it is younger than `trust`.
    pub fn of_fresh(cx: &Ctx, groups: &[Group], seen: &[GroupSeen], trust: Duration) -> Option<Self> {
        let now = cx.source.now();
        groups.iter().all(|group| is_fresh(seen, *group, now, trust)).then(|| Self::of_seen(seen))
    }

    fn of_seen(seen: &[GroupSeen]) -> Self {
        let people = seen.iter().map(|row| (Group::of_row(row), people_of(row)));
        Self { people: people.collect(), fresh: Vec::new() }
    }
}

/// The people of `groups`. `seen` are the rows known; those younger than `trust` are taken as they
/// are, the others are asked for side by side. A group that nobody knows has nobody.
pub async fn find_people(
    peers: &Peers,
    cx: &Ctx,
    groups: &[Group],
    seen: &[GroupSeen],
    trust: Duration,
) -> Audiences {
    let now = cx.source.now();
    let mut audiences = Audiences::of_seen(seen);
    let stale = groups.iter().filter(|group| !is_fresh(seen, **group, now, trust));
    let answers = stale.map(|group| async move { (*group, ask(peers, cx, *group).await) });
    for (group, answer) in futures::future::join_all(answers).await {
        match answer {
            Ok(people) => {
                audiences.fresh.push(row_of(cx, group, &people));
                audiences.people.insert(group, people);
            }
            Err(error) => {
                metrics::counter!("pulseops_notification_auth_silent_total").increment(1);
                tracing::warn!(?group, error = %error.chain(), "auth-service is silent: using its last answer");
            }
        }
    }
    audiences
}

async fn ask(peers: &Peers, cx: &Ctx, group: Group) -> platform::error::Result<Vec<Person>> {
    match group {
        Group::Team(id) => peers.team_members(cx, id).await,
        Group::Owners => peers.owners(cx).await,
    }
}

fn is_fresh(seen: &[GroupSeen], group: Group, now: DateTime<Utc>, trust: Duration) -> bool {
    let row = seen.iter().find(|row| Group::of_row(row) == group);
    row.is_some_and(|row| (now - row.seen_at).to_std().unwrap_or_default() < trust)
}

fn people_of(row: &GroupSeen) -> Vec<Person> {
    let names = row.names.iter().cloned();
    row.user_ids.iter().zip(names).map(|(id, name)| Person { id: *id, name }).collect()
}

fn row_of(cx: &Ctx, group: Group, people: &[Person]) -> GroupSeen {
    let (kind, group_id) = group.row_key();
    GroupSeen {
        org_id: cx.org,
        kind,
        group_id,
        user_ids: people.iter().map(|person| person.id).collect(),
        names: people.iter().map(|person| person.name.clone()).collect(),
        seen_at: cx.source.now(),
    }
}
