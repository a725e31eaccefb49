//! References into other services are checked once, when they are written: by their owners' word.

use std::collections::{BTreeMap, BTreeSet};

use platform::ctx::Ctx;
use platform::error::{Kind as ErrorKind, Result};
use proto::api::v1::{Target, TargetKind};
use proto::workflow::v1::{self as pb, step::Kind};
use uuid::Uuid;

use crate::definitions::Faults;
use crate::peers::Peers;

/// What users must be able to do to be told.
const READ: &str = "incidents_read";

/// References and where they stand.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct References {
    targets: Vec<(String, TargetKind, String)>,
    services: Vec<(String, String)>,
    policies: Vec<(String, Uuid)>,
}

/// Names by id.
pub type Names = BTreeMap<String, String>;

/// Writes the ids that a workflow refers to as their owners write them: in answers they come so, and
/// the same thing must not look like two.
pub fn normalize_workflow(workflow: &mut pb::Workflow) {
    workflow.service_ids.iter_mut().for_each(normalize);
    for step in &mut workflow.steps {
        match &mut step.kind {
            Some(Kind::Notify(step)) => step.targets.iter_mut().for_each(|target| normalize(&mut target.id)),
            Some(Kind::Escalate(step)) => step.policy_id.iter_mut().for_each(normalize),
            _ => {}
        }
    }
}

/// As [`normalize_workflow`].
pub fn normalize_policy(policy: &mut pb::EscalationPolicy) {
    let targets = policy.levels.iter_mut().flat_map(|level| &mut level.targets);
    targets.for_each(|target| normalize(&mut target.id));
}

fn normalize(id: &mut String) {
    if let Ok(parsed) = id.parse::<Uuid>() {
        *id = parsed.to_string();
    }
}

impl References {
    /// Those of a workflow.
    pub fn of_workflow(workflow: &pb::Workflow) -> Self {
        let mut found = Self::default();
        for (index, id) in workflow.service_ids.iter().enumerate() {
            found.services.push((format!("workflow.service_ids[{index}]"), id.clone()));
        }
        for (index, step) in workflow.steps.iter().enumerate() {
            let path = format!("workflow.steps[{index}]");
            match &step.kind {
                Some(Kind::Notify(step)) => {
                    found.add_targets(&format!("{path}.notify"), &step.targets);
                }
                Some(Kind::Escalate(step)) => {
                    let id = step.policy_id.as_deref().and_then(|id| id.parse().ok());
                    found.policies.extend(id.map(|id| (format!("{path}.escalate.policy_id"), id)));
                }
                _ => {}
            }
        }
        found
    }

    /// Those of a policy.
    pub fn of_policy(policy: &pb::EscalationPolicy) -> Self {
        let mut found = Self::default();
        for (index, level) in policy.levels.iter().enumerate() {
            found.add_targets(&format!("escalation_policy.levels[{index}]"), &level.targets);
        }
        found
    }

    fn add_targets(&mut self, path: &str, targets: &[Target]) {
        for (index, target) in targets.iter().enumerate() {
            let field = format!("{path}.targets[{index}].id");
            self.targets.push((field, target.kind(), target.id.clone()));
        }
    }

    /// Without those that `known` has too: what was written before stays, even if it is archived
    /// by now.
    #[must_use]
    pub fn beyond(mut self, known: &Self) -> Self {
        let targets: BTreeSet<_> = known.targets.iter().map(|(_, kind, id)| (*kind, id)).collect();
        self.targets.retain(|(_, kind, id)| !targets.contains(&(*kind, id)));
        let services: BTreeSet<_> = known.services.iter().map(|(_, id)| id).collect();
        self.services.retain(|(_, id)| !services.contains(id));
        let policies: BTreeSet<_> = known.policies.iter().map(|(_, id)| id).collect();
        self.policies.retain(|(_, id)| !policies.contains(id));
        self
    }

    /// The policies, which are our own: checked in the transaction that writes.
    pub fn policies(&self) -> &[(String, Uuid)] {
        &self.policies
    }

    /// Asks the owners of everything else; answers the names of users and teams.
    ///
    /// # Errors
    /// Invalid, naming each reference to what does not exist or is archived; those of the peers.
    pub async fn check(&self, cx: &Ctx, peers: &Peers) -> Result<Names> {
        let mut faults = Faults::default();
        let mut names = self.check_users(cx, peers, &mut faults).await?;
        names.extend(self.check_teams(cx, peers, &mut faults).await?);
        self.check_channels(cx, peers, &mut faults).await?;
        self.check_services(cx, peers, &mut faults).await?;
        faults.into_result()?;
        Ok(names)
    }

    fn ids(&self, of: TargetKind) -> Vec<String> {
        let ids = self.targets.iter().filter(|(_, kind, _)| *kind == of).map(|(_, _, id)| id.clone());
        ids.collect::<BTreeSet<_>>().into_iter().collect()
    }

    fn refuse(&self, of: TargetKind, id: &str, code: &'static str, why: &str, faults: &mut Faults) {
        let at = self.targets.iter().filter(|(_, kind, it)| *kind == of && it == id);
        at.for_each(|(field, ..)| faults.add(field, code, why));
    }

    async fn check_users(&self, cx: &Ctx, peers: &Peers, faults: &mut Faults) -> Result<Names> {
        let ids = self.ids(TargetKind::User);
        let mut names = Names::new();
        for ids in ids.chunks(200) {
            for check in peers.check_permission(cx, ids.to_vec(), READ).await?.checks {
                if !check.found {
                    let why = "there is no such active user";
                    self.refuse(TargetKind::User, &check.user_id, UNKNOWN, why, faults);
                } else if !check.allowed {
                    let why = "may not read incidents";
                    self.refuse(TargetKind::User, &check.user_id, "not_allowed", why, faults);
                }
                names.insert(check.user_id, check.name);
            }
        }
        Ok(names)
    }

    async fn check_teams(&self, cx: &Ctx, peers: &Peers, faults: &mut Faults) -> Result<Names> {
        let mut names = Names::new();
        for id in self.ids(TargetKind::Team) {
            match peers.team(cx, id.clone()).await {
                Ok(team) if team.archived_at.is_some() => {
                    self.refuse(TargetKind::Team, &id, ARCHIVED, "is archived", faults);
                }
                Ok(team) => {
                    names.insert(id, team.name);
                }
                Err(error) if error.kind == ErrorKind::NotFound => {
                    self.refuse(TargetKind::Team, &id, UNKNOWN, "there is no such team", faults);
                }
                Err(error) => return Err(error),
            }
        }
        Ok(names)
    }

    async fn check_channels(&self, cx: &Ctx, peers: &Peers, faults: &mut Faults) -> Result<()> {
        let ids = self.ids(TargetKind::Channel);
        for ids in ids.chunks(200) {
            let live = peers.channels(cx, ids.to_vec()).await?;
            for id in ids.iter().filter(|id| !live.contains(id)) {
                let why = "there is no such channel, or it is archived";
                self.refuse(TargetKind::Channel, id, UNKNOWN, why, faults);
            }
        }
        Ok(())
    }

    async fn check_services(&self, cx: &Ctx, peers: &Peers, faults: &mut Faults) -> Result<()> {
        if self.services.is_empty() {
            return Ok(());
        }
        let ids = self.services.iter().map(|(_, id)| id.clone()).collect();
        let found = peers.services(cx, ids).await?;
        for (field, id) in &self.services {
            match found.iter().find(|service| service.id == *id) {
                None => faults.add(field, UNKNOWN, "there is no such service"),
                Some(service) if service.archived => faults.add(field, ARCHIVED, "is archived"),
                Some(_) => {}
            }
        }
        Ok(())
    }
}

/// Code of a reference to what does not exist.
pub const UNKNOWN: &str = "unknown_reference";
const ARCHIVED: &str = "archived";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_written_in_one_way() {
        let id = "0194FDC2-FA2F-7CC0-81D3-FF12045B73C8";
        let target = Target { kind: TargetKind::User.into(), id: id.to_owned() };
        let notify = pb::NotifyStep { targets: vec![target.clone()], ..pb::NotifyStep::default() };
        let escalate = pb::EscalateStep { policy_id: Some(id.to_owned()) };
        let kinds = [Kind::Notify(notify), Kind::Escalate(escalate)];
        let mut workflow = pb::Workflow {
            service_ids: vec![id.to_owned()],
            steps: kinds.map(|kind| pb::Step { kind: Some(kind), ..pb::Step::default() }).into(),
            ..pb::Workflow::default()
        };
        normalize_workflow(&mut workflow);
        let found = References::of_workflow(&workflow);
        let lower = id.to_lowercase();
        assert_eq!((&found.targets[0].2, &found.services[0].1), (&lower, &lower));
        assert_eq!(found.policies[0].1.to_string(), lower);
        let level = pb::Level { targets: vec![target], timeout_ms: 1 };
        let mut policy = pb::EscalationPolicy { levels: vec![level], ..pb::EscalationPolicy::default() };
        normalize_policy(&mut policy);
        assert_eq!(policy.levels[0].targets[0].id, lower);
    }

    #[test]
    fn only_what_is_new_is_asked_about() {
        let target = |id: &str| Target { kind: TargetKind::Team.into(), id: id.to_owned() };
        let policy = |ids: &[&str]| pb::EscalationPolicy {
            levels: vec![pb::Level { targets: ids.iter().map(|id| target(id)).collect(), timeout_ms: 1 }],
            ..pb::EscalationPolicy::default()
        };
        let before = References::of_policy(&policy(&["a", "b"]));
        let after = References::of_policy(&policy(&["b", "c"])).beyond(&before);
        assert_eq!(after.ids(TargetKind::Team), ["c"]);
        assert_eq!(after.targets[0].0, "escalation_policy.levels[0].targets[1].id");
    }
}
