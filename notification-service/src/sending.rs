//! Telling people: a request becomes one message and one delivery for each destination, inserted
//! already leased and with the first attempt claimed, so that it goes out right after the commit.

mod known;
mod plan;
mod request;

use std::time::Duration;

use chrono::TimeDelta;
use diesel_async::AsyncPgConnection;
use platform::ctx::{Ctx, OrgId};
use platform::db::Db;
use platform::error::{Error, Result};
use platform::leased::{Claim, Handle};
use proto::notification::v1 as wire;
use uuid::Uuid;

use crate::addresses::Addresses;
use crate::audiences::{self, Audiences, Group, Limits};
use crate::born::{Born, Nursery};
use crate::config::Delivery;
use crate::peers::Peers;
use crate::store;
use crate::store::channels::Channel;
use crate::store::messages::Message;
use crate::store::notifications::Notification;
use crate::store::people::GroupSeen;
use crate::targets::{self, Resolved, Target, Told};
use plan::Plan;
use request::Request;

pub use plan::Begun;

/// How long auth-service is waited for when nobody else could be told: less than the caller waits.
const PATIENT: Duration = Duration::from_millis(1_500);
/// For this long after the decision it is better to ask again than to tell the log alone.
const UNKNOWN_PATIENCE: TimeDelta = TimeDelta::seconds(60);

/// Makes deliveries and starts them.
pub struct Sending {
    db: Db,
    peers: Peers,
    addresses: Addresses,
    born: Nursery,
    driver: Handle,
    limits: Limits,
    order_wait: TimeDelta,
}

/// What became of a request in one transaction.
enum Made {
    Answer(wire::SendResponse, Vec<Begun>),
    /// What is known of a group is not fresh: ask first.
    Stale(Vec<GroupSeen>),
    /// Nobody of the targets can be reached, as far as is known.
    Nobody,
}

/// Who is told when the targets reach nobody.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Resort {
    /// Nobody yet: there is more to find out.
    None,
    /// Owners and the log.
    Last,
}

impl Sending {
    pub fn new(
        db: Db,
        peers: Peers,
        addresses: &Addresses,
        born: Nursery,
        driver: Handle,
        config: &Delivery,
    ) -> Self {
        let order_wait = TimeDelta::milliseconds(i64::try_from(config.order_wait_ms).unwrap_or(i64::MAX));
        let urgent = Duration::from_millis(config.peer_timeout_ms);
        let limits = Limits {
            trust: Duration::from_millis(config.trust_team_ms),
            urgent,
            patient: PATIENT.max(urgent),
        };
        Self { db, peers, addresses: addresses.clone(), born, driver, limits, order_wait }
    }

    /// Tells the targets of `request`. The same key again makes nothing new and answers the same.
    /// What is known here is enough for nearly every page: then it is one transaction.
    ///
    /// # Errors
    /// Invalid, when a target or the incident cannot be read; Unavailable `people_unknown`, when
    /// nobody can be told because nobody says who there is: ask again.
    pub async fn send(&self, cx: &Ctx, request: wire::SendRequest) -> Result<wire::SendResponse> {
        let request = Request::read(cx, request)?;
        let groups = groups_of(&request.targets);
        let mut made =
            platform::tx!(self.db, cx, |conn| { self.make_of_known(cx, conn, &request, &groups).await })?;
        if let Made::Stale(seen) = &made {
            let hurried = Limits { patient: self.limits.urgent, ..self.limits };
            let audiences = audiences::find_people(&self.peers, cx, &groups, seen, hurried).await;
            made = self.make(cx, &request, audiences, Resort::None).await?;
        }
        if let Made::Nobody = made {
            made = self.make_at_last(cx, &request, groups).await?;
        }
        match made {
            Made::Answer(answer, begun) => {
                if answer.nobody_reachable && !begun.is_empty() {
                    metrics::counter!("pulseops_notification_nobody_reachable_total").increment(1);
                }
                self.start(begun);
                Ok(answer)
            }
            Made::Stale(_) | Made::Nobody => Err(Error::internal("the log is always there")),
        }
    }

    /// Starts deliveries whose first attempt is claimed; call it right after their commit.
    pub fn start(&self, begun: impl IntoIterator<Item = Begun>) {
        let mut claims = Vec::new();
        for Begun { claim, job, to } in begun {
            claims.push(claim);
            // Without an address the step reads the row and records why nothing is sent.
            if let Ok(to) = to {
                self.born.put(Born { claim, job, to });
            }
        }
        self.run_now(claims);
    }

    /// Starts rows born leased; call it right after their commit.
    pub fn run_now(&self, claims: impl IntoIterator<Item = Claim>) {
        self.driver.run_now(claims);
    }

    async fn make_of_known(
        &self,
        cx: &Ctx,
        conn: &mut AsyncPgConnection,
        request: &Request,
        groups: &[Group],
    ) -> Result<Made> {
        let seen = find_seen(conn, cx.org, groups).await?;
        match Audiences::of_fresh(cx, groups, &seen, self.limits.trust) {
            Some(audiences) => self.make_in(cx, conn, request, &audiences, Resort::None).await,
            None => Ok(Made::Stale(seen)),
        }
    }

    /// Nobody was found: asks once more, with patience, for what is not known, and for the owners.
    async fn make_at_last(&self, cx: &Ctx, request: &Request, mut groups: Vec<Group>) -> Result<Made> {
        if !groups.contains(&Group::Owners) {
            groups.push(Group::Owners);
        }
        let seen = platform::tx!(self.db, cx, |conn| find_seen(conn, cx.org, &groups).await)?;
        let audiences = audiences::find_people(&self.peers, cx, &groups, &seen, self.limits).await;
        let is_young = cx.source.now() - request.decided_at < UNKNOWN_PATIENCE;
        let resort = if audiences.know(&groups) || !is_young { Resort::Last } else { Resort::None };
        match self.make(cx, request, audiences, resort).await? {
            Made::Nobody => {
                metrics::counter!("pulseops_notification_people_unknown_total").increment(1);
                tracing::error!(
                    message.subject = request.content.subject,
                    "nobody is told yet: auth-service does not say who there is"
                );
                Err(Error::unavailable("people_unknown", "it is not known who there is to be told")
                    .with_retry_after(Duration::from_secs(1)))
            }
            made => Ok(made),
        }
    }

    async fn make(&self, cx: &Ctx, request: &Request, audiences: Audiences, resort: Resort) -> Result<Made> {
        platform::tx!(self.db, cx, |conn| { self.make_in(cx, conn, request, &audiences, resort).await })
    }

    async fn make_in(
        &self,
        cx: &Ctx,
        conn: &mut AsyncPgConnection,
        request: &Request,
        audiences: &Audiences,
        resort: Resort,
    ) -> Result<Made> {
        store::people::upsert_groups(conn, &audiences.fresh).await?;
        let known = known::load(conn, cx.org, &request.targets, audiences, &self.addresses).await?;
        let mut resolved = targets::resolve(&request.targets, &known);
        let nobody = resolved.told.is_empty();
        match resort {
            Resort::None if nobody => return Ok(Made::Nobody),
            Resort::Last if nobody => resolved = targets::last_resort(&request.targets, &known),
            Resort::None | Resort::Last => {}
        }
        let message = plan::message(cx, request, nobody);
        match insert(cx, conn, request, message, &resolved, self.order_wait).await? {
            Some(plan) => Ok(Made::Answer(answer_of(&plan.message, &plan.rows()), plan.begun)),
            None => Ok(Made::Answer(get_answer(conn, cx.org, &request.key).await?, Vec::new())),
        }
    }
}

/// A delivery that only shows that `channel` works; start it right after the commit. It belongs to no
/// incident, so nothing cancels it and nobody's timeline has it.
///
/// # Errors
/// Those of the database.
pub async fn test(
    cx: &Ctx,
    conn: &mut AsyncPgConnection,
    channel: &Channel,
    addresses: &Addresses,
) -> Result<Begun> {
    let request = Request::test(cx, channel);
    let way = known::way_of(channel, addresses);
    let told = Told { way, user: None, names: vec![channel.name.clone()] };
    let resolved = Resolved { told: vec![told], left_out: Vec::new() };
    let message = plan::message(cx, &request, false);
    let plan = insert(cx, conn, &request, message, &resolved, TimeDelta::zero()).await?;
    let begun = plan.and_then(|mut plan| plan.begun.pop());
    begun.ok_or_else(|| Error::internal("a test message waits for nothing"))
}

/// Inserts what `request` becomes; `None` when its key has made a message before.
async fn insert(
    cx: &Ctx,
    conn: &mut AsyncPgConnection,
    request: &Request,
    message: Message,
    resolved: &Resolved,
    order_wait: TimeDelta,
) -> Result<Option<Plan>> {
    if !store::messages::insert_message(conn, &message).await? {
        return Ok(None);
    }
    let turns = match &request.about {
        Some(about) => {
            store::order::lock(conn, cx.org, about.incident_id).await?;
            let keys: Vec<String> = resolved.told.iter().map(|told| request.order_key(told)).collect();
            let since = cx.source.now() - order_wait;
            let (sequence, status) = (request.sequence, about.status);
            store::order::find_turns(conn, cx.org, &keys, sequence, status, since).await?
        }
        None => Default::default(),
    };
    let plan = Plan::new(cx, request, message, resolved, &turns, order_wait);
    store::notifications::insert_notifications(conn, &plan.notifications).await?;
    store::attempts::insert_attempts(conn, &plan.attempts).await?;
    Ok(Some(plan))
}

fn groups_of(targets: &[Target]) -> Vec<Group> {
    let mut groups: Vec<Group> = Vec::new();
    for target in targets {
        let group = match target {
            Target::Team(id) => Group::Team(*id),
            Target::Owners => Group::Owners,
            Target::User(_) | Target::Channel(_) => continue,
        };
        if !groups.contains(&group) {
            groups.push(group);
        }
    }
    groups
}

async fn find_seen(conn: &mut AsyncPgConnection, org: OrgId, groups: &[Group]) -> Result<Vec<GroupSeen>> {
    let keys: Vec<_> = groups.iter().map(|group| group.row_key()).collect();
    let ids: Vec<Uuid> = keys.iter().map(|(_, id)| *id).collect();
    let mut rows = store::people::find_groups(conn, org, &ids).await?;
    rows.retain(|row| keys.contains(&(row.kind, row.group_id)));
    Ok(rows)
}

/// What the request of this key was answered.
async fn get_answer(conn: &mut AsyncPgConnection, org: OrgId, send_key: &str) -> Result<wire::SendResponse> {
    let message = store::messages::find_message_by_key(conn, org, send_key).await?;
    let message = message.ok_or_else(|| Error::internal("a message without its answer"))?;
    let rows = store::notifications::find_by_message(conn, org, message.id).await?;
    Ok(answer_of(&message, &rows.iter().collect::<Vec<_>>()))
}

fn answer_of(message: &Message, rows: &[&Notification]) -> wire::SendResponse {
    let mut recipients: Vec<String> = Vec::new();
    for row in rows {
        if !recipients.contains(&row.recipient) {
            recipients.push(row.recipient.clone());
        }
    }
    wire::SendResponse {
        notification_ids: rows.iter().map(|row| row.id.to_string()).collect(),
        recipients,
        nobody_reachable: message.nobody_reachable,
    }
}
