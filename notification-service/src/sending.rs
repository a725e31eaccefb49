//! Telling people: a request becomes one message and one delivery for each destination, inserted
//! already leased and with the first attempt claimed, so that it goes out right after the commit.

mod known;
mod plan;

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use diesel_async::AsyncPgConnection;
use platform::ctx::{Ctx, OrgId, parse_id};
use platform::db::Db;
use platform::error::{Error, Result};
use platform::leased::{Claim, Handle};
use proto::notification::v1 as wire;
use uuid::Uuid;

use crate::addresses::Addresses;
use crate::audiences::{self, Audiences, Group};
use crate::born::{Born, Nursery};
use crate::config::Delivery;
use crate::ids::TeamId;
use crate::kinds::Progress;
use crate::peers::{Peers, progress_of};
use crate::render::{self, Content};
use crate::store;
use crate::store::messages::Message;
use crate::store::notifications::Notification;
use crate::store::people::GroupSeen;
use crate::targets::{self, Target, Told};
use plan::{Begun, Plan};

pub use plan::{ORDER_PAUSE, test};

/// Makes deliveries and starts them.
pub struct Sending {
    db: Db,
    peers: Peers,
    addresses: Addresses,
    born: Nursery,
    driver: Handle,
    trust_team: Duration,
    order_wait: TimeDelta,
}

/// A request, read.
struct Request {
    key: String,
    targets: Vec<Target>,
    incident_id: Uuid,
    run_id: Uuid,
    sequence: i64,
    decided_at: DateTime<Utc>,
    decided_status: Option<Progress>,
    actor: proto::api::v1::Actor,
    content: Content,
}

/// What became of a request in one transaction.
enum Made {
    Answer(wire::SendResponse, Vec<Begun>),
    /// What is known of a group is not fresh: ask first.
    Stale(Vec<GroupSeen>),
    /// Nobody of the targets can be reached.
    Nobody(Audiences),
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
        let trust_team = Duration::from_millis(config.trust_team_ms);
        Self { db, peers, addresses: addresses.clone(), born, driver, trust_team, order_wait }
    }

    /// Tells the targets of `request`. The same key again makes nothing new and answers the same.
    /// What is known here is enough for nearly every page: then it is one transaction.
    ///
    /// # Errors
    /// Invalid, when a target or the incident cannot be read.
    pub async fn send(&self, cx: &Ctx, request: wire::SendRequest) -> Result<wire::SendResponse> {
        let request = read(cx, request)?;
        let groups = groups_of(&request.targets);
        let mut made =
            platform::tx!(self.db, cx, |conn| { self.make_of_known(cx, conn, &request, &groups).await })?;
        if let Made::Stale(seen) = &made {
            let audiences = self.ask(cx, &groups, seen).await;
            made = self.make(cx, &request, audiences, false).await?;
        }
        if let Made::Nobody(mut audiences) = made {
            let owners = [Group::Owners];
            let seen = platform::tx!(self.db, cx, |conn| find_seen(conn, cx.org, &owners).await)?;
            let asked = self.ask(cx, &owners, &seen).await;
            audiences.people.extend(asked.people);
            audiences.fresh.extend(asked.fresh);
            made = self.make(cx, &request, audiences, true).await?;
        }
        match made {
            Made::Answer(answer, begun) => Ok(self.start(cx, answer, begun)),
            Made::Stale(_) | Made::Nobody(_) => Err(Error::internal("the log is always there")),
        }
    }

    /// Starts deliveries born leased; call it right after their commit.
    pub fn run_now(&self, claims: impl IntoIterator<Item = Claim>) {
        self.driver.run_now(claims);
    }

    fn start(&self, cx: &Ctx, answer: wire::SendResponse, begun: Vec<Begun>) -> wire::SendResponse {
        let claims: Vec<Claim> = begun.iter().map(|begun| begun.claim).collect();
        for Begun { claim, job, via, sealed } in begun {
            match self.addresses.open(cx.org, via, &sealed) {
                Ok(to) => self.born.put(Born { claim, job, to }),
                Err(error) => tracing::error!(error = error.chain(), "an address cannot be opened"),
            }
        }
        self.run_now(claims);
        if answer.nobody_reachable {
            metrics::counter!("pulseops_notification_nobody_reachable_total").increment(1);
        }
        answer
    }

    async fn ask(&self, cx: &Ctx, groups: &[Group], seen: &[GroupSeen]) -> Audiences {
        audiences::find_people(&self.peers, cx, groups, seen, self.trust_team).await
    }

    async fn make_of_known(
        &self,
        cx: &Ctx,
        conn: &mut AsyncPgConnection,
        request: &Request,
        groups: &[Group],
    ) -> Result<Made> {
        let seen = find_seen(conn, cx.org, groups).await?;
        match Audiences::of_fresh(cx, groups, &seen, self.trust_team) {
            Some(audiences) => self.make_in(cx, conn, request, audiences, false).await,
            None => Ok(Made::Stale(seen)),
        }
    }

    async fn make(
        &self,
        cx: &Ctx,
        request: &Request,
        audiences: Audiences,
        last_resort: bool,
    ) -> Result<Made> {
        platform::tx!(self.db, cx, |conn| {
            self.make_in(cx, conn, request, audiences.clone(), last_resort).await
        })
    }

    async fn make_in(
        &self,
        cx: &Ctx,
        conn: &mut AsyncPgConnection,
        request: &Request,
        audiences: Audiences,
        last_resort: bool,
    ) -> Result<Made> {
        store::people::upsert_groups(conn, &audiences.fresh).await?;
        let ways = &self.addresses.ways;
        let known = known::load(conn, cx.org, &request.targets, &audiences, ways).await?;
        let told = match last_resort {
            true => targets::last_resort(&known),
            false => targets::resolve(&request.targets, &known),
        };
        if told.is_empty() {
            return Ok(Made::Nobody(audiences));
        }
        self.insert(cx, conn, request, &told, last_resort).await
    }

    async fn insert(
        &self,
        cx: &Ctx,
        conn: &mut AsyncPgConnection,
        request: &Request,
        told: &[Told],
        nobody_reachable: bool,
    ) -> Result<Made> {
        let message = plan::message(cx, request, nobody_reachable);
        if !store::messages::insert_message(conn, &message).await? {
            let answer = find_answer(conn, cx.org, &request.key).await?;
            let answer = answer.ok_or_else(|| Error::internal("a message without its answer"))?;
            return Ok(Made::Answer(answer, Vec::new()));
        }
        let about = request.incident_id.to_string();
        let order_keys: Vec<String> = told.iter().map(|told| told.order_key(&about)).collect();
        let since = cx.source.now() - self.order_wait;
        let blocked =
            store::notifications::find_blocked(conn, cx.org, &order_keys, request.sequence, since).await?;
        let plan = Plan::new(cx, request, &message, told, &blocked);
        store::notifications::insert_notifications(conn, &plan.notifications).await?;
        store::notifications::insert_attempts(conn, &plan.attempts).await?;
        let rows: Vec<Notification> = plan.notifications.into_iter().map(|new| new.row).collect();
        Ok(Made::Answer(answer_of(&message, &rows), plan.begun))
    }
}

fn read(cx: &Ctx, request: wire::SendRequest) -> Result<Request> {
    let event = request.incident.ok_or_else(|| Error::field("incident", "required", "is required"))?;
    let incident = event
        .incident
        .as_ref()
        .ok_or_else(|| Error::field("incident.incident", "required", "is required"))?;
    let team = event.team.as_ref().map(|team| team.id.as_str()).or(incident.team_id.as_deref());
    let team = team.map(|team| TeamId::parse("incident.team.id", team)).transpose()?;
    let decided_at = match &request.decided_at {
        Some(at) => crate::convert::read_time(at, "decided_at")?,
        None => cx.now,
    };
    Ok(Request {
        targets: Target::read(&request.targets, team)?,
        incident_id: parse_id("incident.incident.id", &incident.id)?,
        run_id: parse_id("run_id", &request.run_id)?,
        sequence: request.sequence,
        decided_status: progress_of(incident.status()),
        actor: request.actor.unwrap_or_else(|| crate::convert::actor(&cx.actor())),
        content: render::page(&event, incident, &request.message, decided_at)?,
        decided_at,
        key: request.key,
    })
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

/// What the request of this key was answered, if there was one.
async fn find_answer(
    conn: &mut AsyncPgConnection,
    org: OrgId,
    send_key: &str,
) -> Result<Option<wire::SendResponse>> {
    let Some(message) = store::messages::find_message_by_key(conn, org, send_key).await? else {
        return Ok(None);
    };
    let rows = store::notifications::find_by_message(conn, org, message.id).await?;
    Ok(Some(answer_of(&message, &rows)))
}

fn answer_of(message: &Message, rows: &[Notification]) -> wire::SendResponse {
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
