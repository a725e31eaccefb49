//! One step of one delivery: claim an attempt, ask whether it is still needed, send, record, tell
//! the incident's timeline. The attempt is written before anything is sent and every outcome compares
//! the lease's epoch, so a killed process leaves a visible "maybe sent" and the next one repeats it
//! under the same key.

mod timeline;

use std::time::Duration;

use async_trait::async_trait;
use chrono::{DateTime, TimeDelta, Utc};
use diesel_async::AsyncPgConnection;
use platform::ctx::{Ctx, Trace};
use platform::db::Db;
use platform::error::{Error, Result};
use platform::leased::{self, Claim, Outcome, Work};
use platform::source::Source;

use crate::addresses::Addresses;
use crate::born::Nursery;
use crate::channels::{Answer, Destination, Rendered, Verdict};
use crate::config::Delivery;
use crate::ids::NotificationId;
use crate::kinds::{AttemptOutcome, Kind, Status};
use crate::peers::Peers;
use crate::retry::{Next, Policy};
use crate::sending::ORDER_PAUSE;
use crate::store;
use crate::store::messages::Message;
use crate::store::notifications::{Attempt, Notification};
use crate::targets::{Sealed, Via};
use timeline::is_told;

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
pub struct Job {
    pub row: Notification,
    pub message: Message,
    pub attempt: Attempt,
}

/// What a claimed row needs.
enum Opening {
    /// This attempt is claimed; send it.
    Attempt(Box<Job>, Destination),
    /// It has ended; the timeline does not have it yet.
    Ended(Box<Job>),
    /// Nothing now: the step is over.
    Closed,
}

#[async_trait]
impl Work for Deliverer {
    const TABLE: &'static str = "notifications";

    async fn step(&self, claim: Claim) -> Result<()> {
        let cx = Ctx::service(crate::NAME, claim.org, self.source.clone(), Trace::new(&self.source), None);
        let opening = match self.born.take(&claim) {
            Some((job, to)) => Opening::Attempt(Box::new(job), to),
            None => platform::tx!(self.db, &cx, |conn| self.open(&cx, conn, &claim).await)?,
        };
        let job = match opening {
            Opening::Closed => return Ok(()),
            Opening::Ended(job) => *job,
            Opening::Attempt(job, to) => match self.attempt(*job, &to, &claim).await? {
                Some(ended) => ended,
                None => return Ok(()),
            },
        };
        self.note(&claim, &job).await
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

    /// Reads the claimed row and claims an attempt, unless it was born with one.
    async fn open(&self, cx: &Ctx, conn: &mut AsyncPgConnection, claim: &Claim) -> Result<Opening> {
        let id = NotificationId(claim.id);
        let row = store::notifications::get_leased(conn, claim.org, id, claim.epoch).await?;
        let message = store::messages::get_message(conn, row.org_id, row.message_id).await?;
        let last = store::notifications::find_last_attempt(conn, row.org_id, row.id).await?;
        if row.status != Status::Pending {
            let Some(attempt) = last else {
                leased::finish(conn, Self::TABLE, claim, Outcome::Done).await?;
                return Ok(Opening::Closed);
            };
            return Ok(Opening::Ended(Box::new(Job { row, message, attempt })));
        }
        let attempt = match last {
            Some(attempt) if attempt.epoch == claim.epoch => attempt,
            last => match self.claim_attempt(conn, claim, &row, last).await? {
                Some(attempt) => attempt,
                None => return Ok(Opening::Closed),
            },
        };
        let to = self.destination(cx, conn, &row).await?;
        Ok(Opening::Attempt(Box::new(Job { row, message, attempt }), to))
    }

    /// Writes the next attempt. `None`: it is not this delivery's turn, or its budget is spent by
    /// attempts whose process died; then the step is over.
    async fn claim_attempt(
        &self,
        conn: &mut AsyncPgConnection,
        claim: &Claim,
        row: &Notification,
        last: Option<Attempt>,
    ) -> Result<Option<Attempt>> {
        let now = self.source.now();
        let keys = std::slice::from_ref(&row.order_key);
        let since = now - self.order_wait;
        let blocked = store::notifications::find_blocked(conn, row.org_id, keys, row.sequence, since).await?;
        if !blocked.is_empty() {
            leased::finish(conn, Self::TABLE, claim, Outcome::Again(now + ORDER_PAUSE)).await?;
            return Ok(None);
        }
        let tried = last.map_or(0, |last| last.number);
        if self.policy.is_spent(tried - row.spent) {
            store::notifications::end_notification(conn, row, claim.epoch, Status::Dead, now).await?;
            leased::finish(conn, Self::TABLE, claim, Outcome::Next(now)).await?;
            return Ok(None);
        }
        let attempt = Attempt::started(row, tried + 1, claim.epoch, now);
        store::notifications::insert_attempts(conn, std::slice::from_ref(&attempt)).await?;
        Ok(Some(attempt))
    }

    /// The address as it is now: a corrected one counts for the next attempt.
    async fn destination(
        &self,
        cx: &Ctx,
        conn: &mut AsyncPgConnection,
        row: &Notification,
    ) -> Result<Destination> {
        let (via, sealed) = if let Some(id) = row.channel_id {
            let channel = store::channels::get_channel(conn, cx.org, id).await?;
            let sealed = Sealed { address: channel.address_sealed, secret: channel.secret_sealed };
            (Via::Channel(id), sealed)
        } else if let Some(id) = row.contact_method_id {
            let method = store::contact_methods::find_contact_method(conn, cx.org, id).await?;
            let method = method.ok_or_else(|| Error::internal("a delivery without its contact method"))?;
            let sealed = Sealed { address: method.address_sealed, secret: method.secret_sealed };
            (Via::Method(id), sealed)
        } else {
            (Via::ServerLog, Sealed::default())
        };
        self.addresses.open(cx.org, via, &sealed)
    }

    /// Sends once and records what became of it; `Some` when the delivery has ended.
    async fn attempt(&self, mut job: Job, to: &Destination, claim: &Claim) -> Result<Option<Job>> {
        let cx = self.context(&job);
        let answer = match self.is_outdated(&cx, &job.row).await {
            true => None,
            false => Some(self.deliver(&job, to).await),
        };
        platform::failpoint!("delivery.after_send");
        let now = self.source.now();
        let (outcome, verdict) = self.judge(&job, answer.as_ref());
        job.attempt.ended_at = Some(now);
        job.attempt.outcome = outcome;
        job.attempt.status = answer.as_ref().map_or(0, |answer| answer.status);
        job.attempt.detail =
            answer.map_or_else(|| "somebody had taken the incident".to_owned(), |it| it.detail);
        count(&job);
        platform::tx!(self.db, &cx, |conn| {
            store::notifications::end_attempt(conn, &job.attempt).await?;
            match verdict {
                Judgement::Again(at) => leased::finish(conn, Self::TABLE, claim, Outcome::Again(at)).await,
                Judgement::End(status) => {
                    store::notifications::end_notification(conn, &job.row, claim.epoch, status, now).await?;
                    if is_told(&job.row, status) {
                        return Ok(());
                    }
                    leased::finish(conn, Self::TABLE, claim, Outcome::Done).await
                }
            }
        })?;
        platform::failpoint!("delivery.after_outcome");
        let Judgement::End(status) = verdict else { return Ok(None) };
        metrics::counter!(
            "pulseops_notification_deliveries_total",
            "kind" => job.row.kind.as_str(), "status" => status.as_str()
        )
        .increment(1);
        job.row.status = status;
        job.row.ended_at = Some(now);
        Ok(is_told(&job.row, status).then_some(job))
    }

    async fn deliver(&self, job: &Job, to: &Destination) -> Answer {
        let message = Rendered {
            key: job.row.key.clone(),
            subject: job.message.subject.clone(),
            text: job.message.text_body.clone(),
            json: job.message.json_body.clone(),
        };
        if job.attempt.number == 1
            && let Ok(waited) = (self.source.now() - job.row.decided_at).to_std()
        {
            metrics::histogram!("pulseops_notification_first_attempt_seconds").record(waited.as_secs_f64());
        }
        let delivered = self.addresses.ways.of(job.row.kind).deliver(to, &message, self.source.now());
        match tokio::time::timeout(self.timeout, delivered).await {
            Ok(answer) => answer,
            Err(_) => Answer::retry("it took too long"),
        }
    }

    /// Whether the incident has moved on since it was decided to tell. A young decision is trusted,
    /// and no answer means page.
    async fn is_outdated(&self, cx: &Ctx, row: &Notification) -> bool {
        let (Some(incident), Some(then)) = (row.incident_id, row.decided_status) else { return false };
        if self.source.now() - row.decided_at <= self.trust_decision {
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

    /// The trace of the request that made the delivery goes on.
    fn context(&self, job: &Job) -> Ctx {
        let trace = Trace::parse(&job.message.trace).unwrap_or_else(|| Trace::new(&self.source));
        Ctx::service(crate::NAME, job.row.org_id, self.source.clone(), trace, None)
    }
}

/// What an attempt means for its delivery.
#[derive(Clone, Copy)]
enum Judgement {
    Again(DateTime<Utc>),
    End(Status),
}

fn count(job: &Job) {
    let kind: Kind = job.row.kind;
    metrics::counter!(
        "pulseops_notification_attempts_total",
        "kind" => kind.as_str(), "outcome" => job.attempt.outcome.as_str()
    )
    .increment(1);
}
