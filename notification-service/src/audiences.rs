//! Who is in a team and who the owners are: asked of auth-service when what is known is not fresh,
//! answered from the last good answer when auth is silent. auth-service is never on the way to a page.

use std::collections::HashMap;
use std::time::Duration;

use chrono::{DateTime, Utc};
use platform::ctx::{Ctx, OrgId};
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

    /// For people.
    pub fn title(self) -> &'static str {
        match self {
            Self::Team(_) => "a team",
            Self::Owners => "the owners",
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
    /// A group that was asked for and is missing is not known, which is not the same as empty.
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

    /// Whether the people of all these groups are known.
    pub fn know(&self, groups: &[Group]) -> bool {
        groups.iter().all(|group| self.people.contains_key(group))
    }

    fn of_seen(seen: &[GroupSeen]) -> Self {
        let people = seen.iter().map(|row| (Group::of_row(row), people_of(row)));
        Self { people: people.collect(), fresh: Vec::new() }
    }
}

/// How old an answer may be, and how long auth-service is waited for.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// What is younger is not asked for again.
    pub trust: Duration,
    /// When there is an older answer.
    pub urgent: Duration,
    /// When there is none.
    pub patient: Duration,
}

/// What the caller of a request waits for besides auth-service: half of its time at most.
const RESERVE: Duration = Duration::from_secs(1);

impl Limits {
    /// The same, when the caller waits that long.
    fn within(self, cx: &Ctx) -> Self {
        let Some(left) = cx.remaining() else { return self };
        let most = left - RESERVE.min(left / 2);
        Self { urgent: self.urgent.min(most), patient: self.patient.min(most), ..self }
    }
}

/// The people of `groups`. `seen` are the rows known; those that are young enough are taken as they
/// are, the others are asked for side by side, for as long as leaves the caller some of its time. Of a
/// silent auth-service the last answer is taken.
pub async fn find_people(
    peers: &Peers,
    cx: &Ctx,
    groups: &[Group],
    seen: &[GroupSeen],
    limits: Limits,
) -> Audiences {
    let (now, limits) = (cx.source.now(), limits.within(cx));
    let mut audiences = Audiences::of_seen(seen);
    let stale: Vec<(Group, Duration)> = groups
        .iter()
        .filter(|group| !is_fresh(seen, **group, now, limits.trust))
        .map(|group| (*group, if audiences.know(&[*group]) { limits.urgent } else { limits.patient }))
        .collect();
    let answers =
        stale.into_iter().map(|(group, limit)| async move { (group, ask(peers, cx, group, limit).await) });
    for (group, answer) in futures::future::join_all(answers).await {
        match answer {
            Ok(people) => {
                audiences.fresh.push(row_of(cx.org, group, &people, cx.source.now()));
                audiences.people.insert(group, people);
            }
            Err(error) => {
                metrics::counter!("pulseops_notification_auth_silent_total").increment(1);
                tracing::warn!(?group, error = %error.chain(), "auth-service is silent: its last answer counts");
            }
        }
    }
    audiences
}

async fn ask(peers: &Peers, cx: &Ctx, group: Group, limit: Duration) -> platform::error::Result<Vec<Person>> {
    match group {
        Group::Team(id) => peers.team_members(cx, id, limit).await,
        Group::Owners => peers.owners(cx, limit).await,
    }
}

/// Of the future is as bad as old: no clock is that far ahead.
fn is_fresh(seen: &[GroupSeen], group: Group, now: DateTime<Utc>, trust: Duration) -> bool {
    let row = seen.iter().find(|row| Group::of_row(row) == group);
    row.is_some_and(|row| (now - row.seen_at).abs().to_std().is_ok_and(|age| age < trust))
}

fn people_of(row: &GroupSeen) -> Vec<Person> {
    let names = row.names.iter().cloned();
    row.user_ids.iter().zip(names).map(|(id, name)| Person { id: *id, name }).collect()
}

/// The row that keeps who was in `group` at a time.
pub fn row_of(org: OrgId, group: Group, people: &[Person], at: DateTime<Utc>) -> GroupSeen {
    let (kind, group_id) = group.row_key();
    GroupSeen {
        org_id: org,
        kind,
        group_id,
        user_ids: people.iter().map(|person| person.id).collect(),
        names: people.iter().map(|person| person.name.clone()).collect(),
        seen_at: at,
    }
}

#[cfg(test)]
mod tests {
    use platform::ctx::Trace;
    use platform::source::Source;

    use super::*;

    #[test]
    fn auth_is_waited_for_within_what_is_left_of_the_callers_time() {
        let seconds = Duration::from_secs;
        let source = Source::system();
        let cx = Ctx::service(crate::NAME, OrgId::nil(), source.clone(), Trace::new(&source), None);
        let limits = Limits { trust: seconds(10), urgent: Duration::ZERO, patient: seconds(300) };
        assert_eq!(limits.within(&cx).patient, seconds(300));
        for (left, most) in [(200, seconds(199)), (1, seconds(1) / 2), (0, Duration::ZERO)] {
            let within = limits.within(&cx.clone().with_timeout(seconds(left)));
            assert!(within.patient <= most, "{left}: {within:?}");
        }
        assert!(limits.within(&cx.with_timeout(seconds(200))).patient > seconds(90));
    }
}
