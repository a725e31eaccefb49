//! Telling people: a request becomes one message and one delivery for each destination, inserted
//! already leased and with the first attempt claimed, so that it goes out right after the commit.

mod before;
mod known;
mod plan;
mod request;
mod single;

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
use crate::delivery::count_end;
use crate::kinds::Status;
use crate::peers::Peers;
use crate::store;
use crate::store::messages::Message;
use crate::store::notifications::Notification;
use crate::store::people::GroupSeen;
use crate::targets::{self, LeftOut, PEOPLE_UNKNOWN, Resolved, Target};
use plan::Plan;
use request::Request;

pub use plan::Begun;
pub use single::{code, test};

/// How long auth-service is waited for when nobody else could be told: less than the caller waits.
const PATIENT: Duration = Duration::from_millis(1_500);
/// For this long after a request came first its key waits for people who are not known, while nobody is told.
const UNKNOWN_PATIENCE: TimeDelta = TimeDelta::seconds(60);
/// The same once somebody is told: the caller's next step waits for the answer.
const REST_PATIENCE: TimeDelta = TimeDelta::seconds(5);

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
    Answer(wire::SendResponse),
    /// What is known of a group is not fresh: ask first.
    Stale(Vec<GroupSeen>),
    /// Those who are known are told. Of others it is not known who they are, or nobody can be reached.
    Open(Open),
}

/// A request that is not answered yet. Its message is kept, so that the same request adds to it.
#[derive(Clone, Copy)]
struct Open {
    nobody_told: bool,
}

/// How the groups of a request were asked for.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Asked {
    InHurry,
    /// The owners too, when nobody was told: who is not known by now is so for a while.
    WithPatience,
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

    /// Tells the targets of `request`. The same key again makes nothing new and answers the same; only while
    /// it is not answered it adds people who were not known. What is known here is enough for nearly every
    /// page: then it is one transaction. Who stays unknown is given up, and the incident's timeline says so.
    ///
    /// # Errors
    /// Invalid, when a target or the incident cannot be read; Unavailable `people_unknown`, when nobody says
    /// who is in a group: those who are known are told, ask again for the others.
    pub async fn send(&self, cx: &Ctx, request: wire::SendRequest) -> Result<wire::SendResponse> {
        let request = Request::read(cx, request)?;
        let groups = groups_of(&request.targets);
        let mut made = self.make_of_known(cx, &request, &groups).await?;
        if let Made::Stale(seen) = &made {
            let hurried = Limits { patient: self.limits.urgent, ..self.limits };
            let audiences = audiences::find_people(&self.peers, cx, &groups, seen, hurried).await;
            made = self.make(cx, &request, &audiences, &groups, Asked::InHurry).await?;
        }
        if let Made::Open(open) = made {
            made = self.make_at_last(cx, &request, groups, open).await?;
        }
        match made {
            Made::Answer(answer) => Ok(answer),
            Made::Open(open) => Err(refuse(&request, open)),
            Made::Stale(_) => Err(Error::internal("asked for once, nothing is stale")),
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

    async fn make_of_known(&self, cx: &Ctx, request: &Request, groups: &[Group]) -> Result<Made> {
        let (made, plan) = platform::tx!(self.db, cx, |conn| {
            let seen = find_seen(conn, cx.org, groups).await?;
            match Audiences::of_fresh(cx, groups, &seen, self.limits.trust) {
                Some(audiences) => self.make_in(cx, conn, request, &audiences, groups, Asked::InHurry).await,
                None => Ok((Made::Stale(seen), None)),
            }
        })?;
        self.made(made, plan)
    }

    /// Asks once more, with patience, for what is not known, and for the owners when nobody is told.
    async fn make_at_last(
        &self,
        cx: &Ctx,
        request: &Request,
        mut groups: Vec<Group>,
        open: Open,
    ) -> Result<Made> {
        if open.nobody_told && !groups.contains(&Group::Owners) {
            groups.push(Group::Owners);
        }
        let seen = platform::tx!(self.db, cx, |conn| find_seen(conn, cx.org, &groups).await)?;
        let audiences = audiences::find_people(&self.peers, cx, &groups, &seen, self.limits).await;
        self.make(cx, request, &audiences, &groups, Asked::WithPatience).await
    }

    async fn make(
        &self,
        cx: &Ctx,
        request: &Request,
        audiences: &Audiences,
        groups: &[Group],
        asked: Asked,
    ) -> Result<Made> {
        let (made, plan) = platform::tx!(self.db, cx, |conn| {
            self.make_in(cx, conn, request, audiences, groups, asked).await
        })?;
        self.made(made, plan)
    }

    /// After the commit: starts and counts what is new.
    fn made(&self, made: Made, plan: Option<Plan>) -> Result<Made> {
        let Some(plan) = plan else { return Ok(made) };
        if matches!(&made, Made::Answer(answer) if answer.nobody_reachable) {
            metrics::counter!("pulseops_notification_nobody_reachable_total").increment(1);
        }
        plan.overtaken.iter().for_each(|kind| count_end(*kind, Status::Cancelled));
        self.start(plan.begun);
        Ok(made)
    }

    /// Tells those who are known and were not told before. `groups` are those that were asked for.
    async fn make_in(
        &self,
        cx: &Ctx,
        conn: &mut AsyncPgConnection,
        request: &Request,
        audiences: &Audiences,
        groups: &[Group],
        asked: Asked,
    ) -> Result<(Made, Option<Plan>)> {
        store::people::upsert_groups(conn, &audiences.fresh).await?;
        let known = known::load(conn, cx.org, &request.targets, audiences, &self.addresses).await?;
        let mut resolved = targets::resolve(&request.targets, &known);
        let is_known = audiences.know(groups);
        let new = plan::message(cx, request, is_known && !resolved.told.is_empty());
        let (mut message, mut before) = before::begin(conn, new).await?;
        if message.complete && !before.is_empty() {
            return Ok((Made::Answer(answer_of(&message, before.iter())), None));
        }
        before::name(conn, request, &mut before, &resolved.told).await?;
        resolved.told.retain(|told| !before.iter().any(|row| request.has_told(row, told)));
        let nobody = before.is_empty() && resolved.told.is_empty();
        let patience = if nobody { UNKNOWN_PATIENCE } else { REST_PATIENCE };
        let over = cx.source.now() - message.created_at >= patience;
        let done = (is_known || over) && (asked == Asked::WithPatience || !nobody);
        if nobody && done {
            resolved = targets::last_resort(&request.targets, &known);
        } else {
            resolved.left_out.retain(|left_out| left_out.why != PEOPLE_UNKNOWN);
            resolved
                .left_out
                .extend(done.then(|| unknown(&request.targets, audiences)).into_iter().flatten());
        }
        if done && !message.complete {
            (message.complete, message.nobody_reachable) = (true, nobody);
            store::messages::complete_message(conn, &message).await?;
        }
        let plan = insert(cx, conn, request, message, &resolved, self.order_wait).await?;
        if let Some(notes) = plan.notes.as_ref().filter(|_| done) {
            before::owe(cx, conn, &before, notes).await?;
        }
        let made = match done {
            true => Made::Answer(answer_of(&plan.message, before.iter().chain(plan.rows()))),
            false => Made::Open(Open { nobody_told: nobody }),
        };
        Ok((made, Some(plan)))
    }
}

fn refuse(request: &Request, open: Open) -> Error {
    metrics::counter!("pulseops_notification_people_unknown_total").increment(1);
    tracing::error!(
        message.subject = request.content.subject,
        nobody_told = open.nobody_told,
        "people are not told yet: auth-service does not say who there is"
    );
    Error::unavailable("people_unknown", "it is not known who there is to be told")
        .with_retry_after(Duration::from_secs(1))
}

/// Inserts the deliveries of `message` to those of `resolved`.
async fn insert(
    cx: &Ctx,
    conn: &mut AsyncPgConnection,
    request: &Request,
    message: Message,
    resolved: &Resolved,
    order_wait: TimeDelta,
) -> Result<Plan> {
    let turns = match &request.about {
        Some(about) => {
            let keys: Vec<String> = resolved.told.iter().map(|told| request.order_key(told)).collect();
            store::order::lock(conn, cx.org, about.incident_id, &keys).await?;
            let since = cx.source.now() - order_wait;
            let (sequence, status) = (request.sequence, about.status);
            store::order::find_turns(conn, cx.org, &keys, sequence, status, since).await?
        }
        None => Default::default(),
    };
    let plan = Plan::new(cx, request, message, resolved, &turns, order_wait);
    store::notifications::insert_notifications(conn, &plan.notifications).await?;
    store::attempts::insert_attempts(conn, &plan.attempts).await?;
    Ok(plan)
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

/// The groups among `targets` of which nobody says who is in them.
fn unknown(targets: &[Target], audiences: &Audiences) -> Vec<LeftOut> {
    let mut unknown: Vec<LeftOut> = Vec::new();
    for group in groups_of(targets).into_iter().filter(|group| !audiences.know(&[*group])) {
        let left_out = LeftOut { recipient: group.title().to_owned(), method: "team", why: PEOPLE_UNKNOWN };
        if !unknown.contains(&left_out) {
            unknown.push(left_out);
        }
    }
    unknown
}

async fn find_seen(conn: &mut AsyncPgConnection, org: OrgId, groups: &[Group]) -> Result<Vec<GroupSeen>> {
    let keys: Vec<_> = groups.iter().map(|group| group.row_key()).collect();
    let ids: Vec<Uuid> = keys.iter().map(|(_, id)| *id).collect();
    let mut rows = store::people::find_groups(conn, org, &ids).await?;
    rows.retain(|row| keys.contains(&(row.kind, row.group_id)));
    Ok(rows)
}

fn answer_of<'r>(
    message: &Message,
    rows: impl Iterator<Item = &'r Notification> + Clone,
) -> wire::SendResponse {
    let mut recipients: Vec<String> = Vec::new();
    for row in rows.clone().filter(|row| !row.was_overtaken_at_birth()) {
        if !recipients.contains(&row.recipient) {
            recipients.push(row.recipient.clone());
        }
    }
    wire::SendResponse {
        notification_ids: rows.map(|row| row.id.to_string()).collect(),
        recipients,
        nobody_reachable: message.nobody_reachable,
    }
}
