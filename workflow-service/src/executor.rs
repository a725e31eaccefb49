//! Performs runs: one claimed run at a time, operation after operation until it has to rest.
//!
//! What an operation does outside comes first, its outcome is committed next, and what the timeline
//! is owed for it is written last; only then is the row let go. A try of an http step is committed
//! before the call. So nothing is lost by a crash, and what may be repeated is repeated under the
//! same key.

mod entries;
mod escalation;
mod fresh;
mod http;
mod lanes;
mod live;
mod people;
mod respond;
mod save;

use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Utc};
use moka::sync::Cache;
use platform::ctx::Ctx;
use platform::db::Db;
use platform::deps::Deps;
use platform::egress::{Egress, Request};
use platform::error::{Error, Result};
use platform::leased::{Claim, LEASE_LOST};
use platform::source::Source;
use platform::tx;
use sha2::{Digest, Sha256};
use uuid::Uuid;

pub use fresh::Fresh;
pub use lanes::{Automation, Escalations, Lanes};

use crate::config::Config;
use crate::engine::{Next, Outcome};
use crate::peers::Peers;
use crate::program::{Http, Op};
use crate::vault::Vault;
use live::Live;

/// How long a service's slug is kept: it never changes, but the memory must be bounded.
const SLUG_KEPT: Duration = Duration::from_secs(3600);

/// Performs runs.
pub struct Executor {
    db: Db,
    peers: Peers,
    egress: Egress,
    source: Source,
    config: Config,
    fresh: Fresh,
    vault: Vault,
    slugs: Cache<(Uuid, String), Arc<str>>,
}

impl Executor {
    /// An executor of the runs that come along `lanes`.
    pub fn new(deps: &Deps, db: Db, peers: Peers, vault: Vault, config: Config, lanes: &Lanes) -> Self {
        let slugs = Cache::builder().max_capacity(10_000).time_to_live(SLUG_KEPT).build();
        let (egress, source, fresh) = (deps.egress.clone(), deps.source.clone(), lanes.fresh.clone());
        Self { db, peers, egress, source, config, fresh, vault, slugs }
    }

    /// The claimed run: handed over by its birth, or from the database.
    async fn load(&self, claim: &Claim) -> Result<Live> {
        if let Some(row) = self.fresh.take(claim) {
            return Live::new(row, Vec::new(), true, self.source.now());
        }
        let cx = self.bare(claim);
        tx!(self.db, &cx, |conn| Live::load(conn, claim).await)
    }

    /// A context for looking at a run before its own trace is known.
    fn bare(&self, claim: &Claim) -> Ctx {
        let trace = platform::ctx::Trace::new(&self.source);
        Ctx::service(crate::peers::ROLE, claim.org, self.source.clone(), trace, None)
    }

    /// Performs operations until the run rests or has ended. People are told before anything is
    /// written on the timeline; everything else waits for it.
    async fn advance(&self, cx: &Ctx, claim: &Claim, live: &mut Live) -> Result<()> {
        loop {
            live.now = live.now.max(self.source.now());
            let Next::Perform(op) = live.state.next(&live.program, live.row.nudges, live.now) else {
                return Ok(());
            };
            let op = op.clone();
            if !op.tells_people() && live.owes_entries() {
                self.save(cx, claim, live).await?;
                self.write_entries(cx, live).await;
            }
            let began = self.source.now();
            let Some(outcome) = self.attempt(cx, claim, live, &op).await? else { return Ok(()) };
            self.settle(live, &op, outcome, began);
            if acts_outside(&op) {
                platform::failpoint!(&format!("workflow.before_save.{}", op.kind()));
                self.save(cx, claim, live).await?;
                platform::failpoint!(&format!("workflow.after_save.{}", op.kind()));
            }
        }
    }

    /// Makes a try; `None` when it was put off, because another service that has to be asked first does
    /// not answer: that is no fault of the endpoint.
    async fn attempt(&self, cx: &Ctx, claim: &Claim, live: &mut Live, op: &Op) -> Result<Option<Outcome>> {
        let request = match self.prepare(cx, live, op).await {
            Ok(request) => request,
            Err(error) if crate::peers::may_pass(&error) => {
                tracing::info!(run.id = %live.row.id, error = %error.chain(), "a step is put off");
                live.state.put_off(claim.epoch, self.source.now(), self.source.f64());
                return Ok(None);
            }
            Err(error) => return Ok(Some(Outcome::Refused(error.detail))),
        };
        if !self.begin(cx, claim, live, op).await? {
            let times = live.state.lost;
            return Ok(Some(Outcome::Refused(format!(
                "given up: the process was interrupted {times} times"
            ))));
        }
        Ok(Some(match request {
            Some((step, request)) => self.call(step, request).await,
            None => self.perform(cx, live, op).await,
        }))
    }

    /// What an operation needs before it counts as tried: the request of an http step.
    async fn prepare<'o>(&self, cx: &Ctx, live: &Live, op: &'o Op) -> Result<Option<(&'o Http, Request)>> {
        match op {
            Op::Http(step) => Ok(Some((step, self.request(cx, live, step).await?))),
            _ => Ok(None),
        }
    }

    /// Counts the try. That of an http step is committed before the call, so that a killed process
    /// leaves it behind as one that may have been made; other calls are the same however often.
    async fn begin(&self, cx: &Ctx, claim: &Claim, live: &mut Live, op: &Op) -> Result<bool> {
        let Op::Http(_) = op else {
            live.state.begin(claim.epoch);
            return Ok(true);
        };
        let committed = live.state.has_begun(claim.epoch) && !live.is_unsaved();
        let dared = live.state.begin(claim.epoch);
        if !committed {
            self.save(cx, claim, live).await?;
        }
        Ok(dared)
    }

    async fn perform(&self, cx: &Ctx, live: &mut Live, op: &Op) -> Outcome {
        match op {
            Op::Notify { targets, message } => self.notify(cx, live, targets, message).await,
            Op::Page { level, targets, told } => self.page(cx, live, *level, targets, told).await,
            Op::Resolve { note } => self.resolve(cx, live, note).await,
            Op::SetSeverity { severity } => self.set_severity(cx, live, *severity).await,
            Op::AddNote { text } => match self.fill(cx, live, text).await {
                Ok(text) => Outcome::Done(text),
                Err(error) => self.peer_failed(&error),
            },
            Op::Wait { duration_ms } => Outcome::Done(format!("waited {}", human(*duration_ms))),
            Op::Await { .. } => self.awaited(cx, live).await,
            // The one acts in the transaction that writes it down, the other has been called.
            Op::Escalate { .. } | Op::Http(_) => Outcome::Done(String::new()),
        }
    }

    fn settle(&self, live: &mut Live, op: &Op, outcome: Outcome, began: DateTime<Utc>) {
        let now = self.source.now();
        if let Outcome::NobodyReachable(_) = &outcome {
            metrics::counter!("pulseops_workflow_nobody_reachable_total").increment(1);
        }
        let random = self.source.f64();
        let effects = live.state.settle(&live.program, outcome, live.row.nudges, now, random);
        if let Some(record) = &effects.record {
            metrics::counter!(
                "pulseops_workflow_steps_total",
                "kind" => op.kind(), "outcome" => record.result.as_str(),
            )
            .increment(1);
        }
        live.keep(effects, began, now);
    }

    /// What the failure of a peer means for the step.
    fn peer_failed(&self, error: &Error) -> Outcome {
        if crate::peers::may_pass(error) {
            Outcome::Failed { detail: error.detail.clone(), after: None }
        } else {
            Outcome::Refused(error.detail.clone())
        }
    }
}

impl Executor {
    /// One step of a claimed run.
    ///
    /// # Errors
    /// As [`Work::step`](platform::leased::Work::step).
    pub async fn step(&self, claim: Claim) -> Result<()> {
        let mut live = self.load(&claim).await?;
        let cx = live.ctx(&self.source);
        match self.go_on(&cx, &claim, &mut live).await {
            Err(error) if error.code == LEASE_LOST => {
                self.record_late(&cx, &mut live).await?;
                Err(error)
            }
            result => result,
        }
    }

    async fn go_on(&self, cx: &Ctx, claim: &Claim, live: &mut Live) -> Result<()> {
        self.advance(cx, claim, live).await?;
        if live.owes_entries() {
            if live.is_unsaved() {
                self.save(cx, claim, live).await?;
            }
            self.write_entries(cx, live).await;
        }
        platform::failpoint!("workflow.before_close");
        self.close(cx, claim, live).await
    }
}

/// Whether its effect is outside of our database.
fn acts_outside(op: &Op) -> bool {
    matches!(
        op,
        Op::Http(_) | Op::Notify { .. } | Op::Page { .. } | Op::Resolve { .. } | Op::SetSeverity { .. }
    )
}

/// The key under which a step of a run acts, the same however often it is tried. `path` holds round
/// and level; `what` tells apart what one step does.
fn key(run: Uuid, path: &str, what: &str) -> String {
    let mut hash = Sha256::new();
    for part in [run.to_string().as_str(), path, what] {
        hash.update((part.len() as u64).to_be_bytes());
        hash.update(part.as_bytes());
    }
    hex::encode(hash.finalize())
}

fn human(ms: u64) -> String {
    match ms {
        0..1_000 => format!("{ms} ms"),
        1_000..120_000 => format!("{} s", ms / 1_000),
        _ => format!("{} min", ms / 60_000),
    }
}
