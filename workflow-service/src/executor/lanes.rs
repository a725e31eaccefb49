//! Two lanes with slots of their own: whatever users' endpoints do to workflows, levels are told on
//! time.

use std::sync::Arc;

use async_trait::async_trait;
use platform::error::Result;
use platform::leased::{Claim, Handle, Work};

use super::{Executor, Fresh};
use crate::program::Kind;
use crate::store::runs::{Run, TABLE};

/// The runs of escalation policies.
pub struct Escalations(pub Arc<Executor>);

#[async_trait]
impl Work for Escalations {
    const TABLE: &'static str = TABLE;
    const ONLY: &'static str = "kind = 'policy'";
    const NAME: &'static str = "escalations";

    async fn step(&self, claim: Claim) -> Result<()> {
        self.0.step(claim).await
    }
}

/// The runs of workflows, which call endpoints that may hang.
pub struct Automation(pub Arc<Executor>);

#[async_trait]
impl Work for Automation {
    const TABLE: &'static str = TABLE;
    const ONLY: &'static str = "kind = 'workflow'";
    const NAME: &'static str = "workflows";

    async fn step(&self, claim: Claim) -> Result<()> {
        self.0.step(claim).await
    }
}

/// The ways to both drivers, and what travels there.
#[derive(Clone, Default)]
pub struct Lanes {
    /// To that of [`Escalations`].
    pub escalations: Handle,
    /// To that of [`Automation`].
    pub automation: Handle,
    /// The runs themselves.
    pub fresh: Fresh,
}

impl Lanes {
    /// Starts runs that were born leased, right after their commit.
    pub fn start(&self, born: Vec<Run>) {
        let (escalations, automation): (Vec<&Run>, Vec<&Run>) =
            born.iter().partition(|run| run.kind == Kind::Policy.as_str());
        let [escalations, automation] = [escalations, automation].map(|runs| claims(&runs));
        self.fresh.put(born);
        self.escalations.run_now(escalations);
        self.automation.run_now(automation);
    }
}

fn claims(runs: &[&Run]) -> Vec<Claim> {
    let claim =
        |run: &&Run| Claim { org: run.org_id.into(), id: run.id, epoch: run.epoch, attempts: run.attempts };
    runs.iter().map(claim).collect()
}
