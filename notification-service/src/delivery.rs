//! One step of one delivery: claim an attempt, ask whether it is still needed, send, record, tell
//! the incident's timeline. The attempt is written before anything is sent and every outcome compares
//! the lease's epoch, so a killed process leaves a visible "maybe sent" and the next one repeats it
//! under the same key.

mod opening;
mod timeline;

use std::time::Duration;

use async_trait::async_trait;
use chrono::{DateTime, TimeDelta, Utc};
use diesel_async::AsyncPgConnection;
use platform::ctx::{Ctx, OrgId, Trace};
use platform::db::Db;
use platform::error::Result;
use platform::leased::{self, Claim, Outcome, Work};
use platform::source::Source;

use crate::addresses::Addresses;
use crate::born::Nursery;
use crate::channels::{Answer, Destination, Rendered, Verdict};
use crate::config::Delivery;
use crate::ids::NotificationId;
use crate::kinds::{AttemptOutcome, Kind, Status};
use crate::peers::Peers;
use crate::proofs;
use crate::retry::{Next, Policy};
use crate::store;
use crate::store::attempts::Attempt;
use crate::store::messages::Message;
use crate::store::notifications::Notification;
use opening::Opening;

/// What a way out may take beyond its own limits before it is broken off.
const TIMEOUT_SLACK: Duration = Duration::from_secs(1);

/// The work of table `notifications`.
pub struct Deliverer {
    db: Db,
    peers: Peers,
    addresses: Addresses,
    born: Nursery,
    source: Source,
    policy: Policy,
    timeout: Duration,
    trust_decision: TimeDelta,
    order_wait: TimeDelta,
}

/// A delivery with what it says and its last attempt.
#[derive(Clone)]
pub struct Job {
    pub row: Notification,
    pub message: Message,
    pub attempt: Attempt,
}

/// A delivery as it stands after a step.
pub struct Past {
    pub row: Notification,
    pub message: Message,
    /// Its last attempt; none when its turn never came.
    pub last: Option<Attempt>,
}

/// Where a message goes, or why that is not known.
type Address = Result<Destination, &'static str>;

#[async_trait]
impl Work for Deliverer {
    const TABLE: &'static str = "notifications";

    async fn step(&self, claim: Claim) -> Result<()> {
        let cx = Ctx::service(crate::NAME, claim.org, self.source.clone(), Trace::new(&self.source), None);
        let opening = match self.born.take(&claim) {
            Some((job, to)) => Opening::Attempt(Box::new(job), Ok(to)),
            None => platform::tx!(self.db, &cx, |conn| self.open(&cx, conn, &claim).await)?,
        };
        let past = match opening {
            Opening::Waits => return Ok(()),
            Opening::Ends(past) => {
                count_end(past.row.kind, past.row.status);
                *past
            }
            Opening::Ended(past) => *past,
            Opening::Attempt(job, to) => self.attempt(*job, &to, &claim).await?,
        };
        self.note(&claim, &past).await
    }
}

impl Deliverer {
    pub fn new(
        db: Db,
        peers: Peers,
        addresses: &Addresses,
        born: Nursery,
        source: Source,
        config: &Delivery,
    ) -> Self {
        let millis = |ms| TimeDelta::milliseconds(i64::try_from(ms).unwrap_or(i64::MAX));
        Self {
            db,
            peers,
            addresses: addresses.clone(),
            born,
            source,
            policy: Policy::new(config),
            timeout: Duration::from_millis(config.timeout_ms) + TIMEOUT_SLACK,
            trust_decision: millis(config.trust_decision_ms),
            order_wait: millis(config.order_wait_ms),
        }
    }

    /// Sends once and records what became of it and of the delivery.
    async fn attempt(&self, mut job: Job, to: &Address, claim: &Claim) -> Result<Past> {
        let cx = self.context(job.row.org_id, &job.message);
        let answer = match self.is_outdated(&cx, &job.row).await {
            true => None,
            false => Some(self.deliver(&cx, &job, to).await),
        };
        platform::failpoint!("delivery.after_send");
        let now = self.source.now();
        let (outcome, verdict) = self.judge(&job, answer.as_ref());
        job.attempt.ended_at = Some(now);
        job.attempt.outcome = outcome;
        job.attempt.status = answer.as_ref().map_or(0, |answer| answer.status);
        job.attempt.detail =
            answer.map_or_else(|| "somebody had taken the incident".to_owned(), |it| it.detail);
        count_attempt(&job);
        platform::tx!(self.db, &cx, |conn| {
            match verdict {
                Judgement::Again(at) => {
                    store::attempts::end_attempt(conn, &job.attempt).await?;
                    leased::finish(conn, Self::TABLE, claim, Outcome::Again(at)).await
                }
                Judgement::End(status) => {
                    self.end(conn, claim, &job.row, status, now).await?;
                    store::attempts::end_attempt(conn, &job.attempt).await
                }
            }
        })?;
        platform::failpoint!("delivery.after_outcome");
        if let Judgement::End(status) = verdict {
            count_end(job.row.kind, status);
            job.row.status = status;
            job.row.ended_at = Some(now);
        }
        let Job { row, message, attempt } = job;
        Ok(Past { row, message, last: Some(attempt) })
    }

    /// Ends a delivery in the transaction open on `conn` and lets those go that wait for it. It stays
    /// due while the timeline is owed something.
    async fn end(
        &self,
        conn: &mut AsyncPgConnection,
        claim: &Claim,
        row: &Notification,
        status: Status,
        now: DateTime<Utc>,
    ) -> Result<()> {
        if let Some(incident) = row.incident_id {
            store::order::lock(conn, row.org_id, incident, std::slice::from_ref(&row.order_key)).await?;
        }
        store::notifications::end_notification(conn, row, claim.epoch, status, now).await?;
        if row.incident_id.is_some() && store::order::release(conn, row, now).await? > 0 {
            leased::wake_on_commit(conn, Self::TABLE);
        }
        if timeline::is_owed(row, status) {
            return Ok(());
        }
        self.done(conn, claim).await
    }

    /// Nothing is left to do for this claim.
    async fn done(&self, conn: &mut AsyncPgConnection, claim: &Claim) -> Result<()> {
        leased::finish(conn, Self::TABLE, claim, Outcome::Done).await?;
        let (id, now) = (NotificationId(claim.id), self.source.now());
        if store::notifications::owes_still(conn, claim.org, id, now).await? {
            leased::wake_on_commit(conn, Self::TABLE);
        }
        Ok(())
    }

    async fn deliver(&self, cx: &Ctx, job: &Job, to: &Address) -> Answer {
        let to = match to {
            Ok(to) => to,
            Err(why) => return Answer::refused(*why),
        };
        let now = self.source.now();
        if job.attempt.number == 1
            && let Ok(waited) = (now - job.row.decided_at).to_std()
        {
            metrics::histogram!("pulseops_notification_first_attempt_seconds").record(waited.as_secs_f64());
        }
        let message = Rendered {
            key: job.row.key.clone(),
            subject: job.message.subject.clone(),
            text: self.text(&job.message),
            json: job.message.json_body.clone(),
            trace: cx.trace.child(&self.source).to_string(),
        };
        let delivered = self.addresses.ways.of(job.row.kind).deliver(to, &message, now);
        match tokio::time::timeout(self.timeout, delivered).await {
            Ok(answer) => answer,
            Err(_) => Answer::retry("it took too long"),
        }
    }

    /// Whether the incident has moved on since it was decided to tell. A young decision is trusted,
    /// and no answer means page. One of the future is not young: no clock is that far ahead.
    async fn is_outdated(&self, cx: &Ctx, row: &Notification) -> bool {
        let (Some(incident), Some(then)) = (row.incident_id, row.decided_status) else { return false };
        if (self.source.now() - row.decided_at).abs() <= self.trust_decision {
            return false;
        }
        match self.peers.progress(cx, incident).await {
            Ok(progress) => progress.is_some_and(|progress| progress.outdates(then)),
            Err(error) => {
                tracing::warn!(error = %error.chain(), incident.id = %incident, "the incident's state is unknown: paging");
                false
            }
        }
    }

    fn judge(&self, job: &Job, answer: Option<&Answer>) -> (AttemptOutcome, Judgement) {
        let Some(answer) = answer else {
            return (AttemptOutcome::Cancelled, Judgement::End(Status::Cancelled));
        };
        match answer.verdict {
            Verdict::Delivered => (AttemptOutcome::Delivered, Judgement::End(Status::Delivered)),
            Verdict::Refused => (AttemptOutcome::Refused, Judgement::End(Status::Dead)),
            Verdict::Retry { after } => {
                let tries = job.attempt.number - job.row.spent;
                let next = match self.policy.after(tries, after, self.source.f64()) {
                    Next::Dead => Judgement::End(Status::Dead),
                    Next::Again(wait) => {
                        let wait = TimeDelta::from_std(wait).unwrap_or(TimeDelta::MAX);
                        Judgement::Again(self.source.now() + wait)
                    }
                };
                (AttemptOutcome::Failed, next)
            }
        }
    }

    /// What the message says; a code is filled in here, because it is kept nowhere.
    fn text(&self, message: &Message) -> String {
        match message.carries_code {
            true => {
                let code = self.addresses.vault.code(message.org_id, message.id.uuid());
                message.text_body.replace(proofs::PLACE, code.expose())
            }
            false => message.text_body.clone(),
        }
    }

    /// The trace of the request that made the delivery goes on.
    fn context(&self, org: OrgId, message: &Message) -> Ctx {
        let trace = Trace::parse(&message.trace).unwrap_or_else(|| Trace::new(&self.source));
        Ctx::service(crate::NAME, org, self.source.clone(), trace, None)
    }
}

/// What an attempt means for its delivery.
#[derive(Clone, Copy)]
enum Judgement {
    Again(DateTime<Utc>),
    End(Status),
}

fn count_attempt(job: &Job) {
    metrics::counter!(
        "pulseops_notification_attempts_total",
        "kind" => job.row.kind.as_str(), "outcome" => job.attempt.outcome.as_str()
    )
    .increment(1);
}

/// Counts a delivery that has ended.
pub fn count_end(kind: Kind, status: Status) {
    metrics::counter!(
        "pulseops_notification_deliveries_total",
        "kind" => kind.as_str(), "status" => status.as_str()
    )
    .increment(1);
}
