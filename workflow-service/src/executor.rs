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
mod live;
mod people;
mod save;

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use moka::sync::Cache;
use platform::ctx::Ctx;
use platform::db::Db;
use platform::egress::Egress;
use platform::error::{Error, Result};
use platform::leased::{Claim, LEASE_LOST, Work};
use platform::source::Source;
use platform::tx;
use sha2::{Digest, Sha256};
use uuid::Uuid;

pub use fresh::Fresh;

use crate::config::Config;
use crate::engine::{Next, Outcome};
use crate::peers::Peers;
use crate::program::Op;
use crate::store::runs::TABLE;
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
    slugs: Cache<(Uuid, String), Arc<str>>,
}

impl Executor {
    /// An executor; `fresh` holds the runs that were born in this process.
    pub fn new(db: Db, peers: Peers, egress: Egress, source: Source, config: Config, fresh: Fresh) -> Self {
        let slugs = Cache::builder().max_capacity(10_000).time_to_live(SLUG_KEPT).build();
        Self { db, peers, egress, source, config, fresh, slugs }
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
            let dared = self.begin(cx, claim, live, &op).await?;
            let outcome = if dared {
                self.perform(cx, live, &op).await
            } else {
                let times = live.state.lost;
                Outcome::Refused(format!("given up: the process was interrupted {times} times"))
            };
            self.settle(live, &op, outcome, began);
            if acts_outside(&op) {
                platform::failpoint!(&format!("workflow.before_save.{}", op.kind()));
                self.save(cx, claim, live).await?;
                platform::failpoint!(&format!("workflow.after_save.{}", op.kind()));
            }
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
            Op::Http(http) => self.call(cx, live, http).await,
            Op::Notify { targets, message } => self.notify(cx, live, targets, message).await,
            Op::Page { level, targets, told } => self.page(cx, live, *level, targets, told).await,
            Op::Resolve { note } => self.resolve(cx, live, note).await,
            Op::AddNote { text } => match self.fill(cx, live, text).await {
                Ok(text) => Outcome::Done(text),
                Err(error) => self.peer_failed(&error),
            },
            Op::Wait { duration_ms } => Outcome::Done(format!("waited {}", human(*duration_ms))),
            Op::Await { .. } | Op::Escalate { .. } => Outcome::Done(String::new()),
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
            Outcome::Failed(error.detail.clone())
        } else {
            Outcome::Refused(error.detail.clone())
        }
    }
}

#[async_trait]
impl Work for Executor {
    const TABLE: &'static str = TABLE;

    async fn step(&self, claim: Claim) -> Result<()> {
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
}

impl Executor {
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
    matches!(op, Op::Http(_) | Op::Notify { .. } | Op::Page { .. } | Op::Resolve { .. })
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
