//! Who may start how many steps.

use std::collections::HashMap;

use crate::ctx::OrgId;

/// How many steps a driver runs at a time. No organization gets all of them: what hangs for one
/// must not keep another's page waiting.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Slots {
    /// Steps at a time.
    pub all: usize,
    /// Steps of one organization at a time.
    pub per_org: usize,
}

impl From<usize> for Slots {
    /// `all` at a time, half of them for one organization.
    fn from(all: usize) -> Self {
        Self { all, per_org: all.div_ceil(2) }
    }
}

/// The slots of one driver and what is in them.
pub(super) struct Taken {
    slots: Slots,
    all: usize,
    by_org: HashMap<OrgId, usize>,
}

impl Taken {
    pub(super) fn new(slots: Slots) -> Self {
        let all = slots.all.max(1);
        let slots = Slots { all, per_org: slots.per_org.clamp(1, all) };
        Self { slots, all: 0, by_org: HashMap::new() }
    }

    pub(super) fn count(&self) -> usize {
        self.all
    }

    pub(super) fn limit(&self) -> usize {
        self.slots.all
    }

    /// Free slots.
    pub(super) fn free(&self) -> usize {
        self.slots.all.saturating_sub(self.all)
    }

    /// Whether `org` may start another step.
    pub(super) fn may(&self, org: OrgId) -> bool {
        self.free() > 0 && self.of(org) < self.slots.per_org
    }

    /// Whether `org` has as many as it may have, when `waiting` of its claims start as well.
    pub(super) fn is_busy(&self, org: OrgId, waiting: usize) -> bool {
        self.of(org) + waiting >= self.slots.per_org
    }

    /// Organizations that have a slot.
    pub(super) fn orgs(&self) -> impl Iterator<Item = OrgId> {
        self.by_org.keys().copied()
    }

    /// Slots that stay free for rows that come due while born ones fill the others.
    pub(super) fn reserve(&self) -> usize {
        self.slots.all / 4
    }

    pub(super) fn take(&mut self, org: OrgId) {
        self.all += 1;
        *self.by_org.entry(org).or_default() += 1;
    }

    pub(super) fn give_back(&mut self, org: OrgId) {
        self.all = self.all.saturating_sub(1);
        if let Some(count) = self.by_org.get_mut(&org) {
            *count -= 1;
            if *count == 0 {
                self.by_org.remove(&org);
            }
        }
    }

    fn of(&self, org: OrgId) -> usize {
        self.by_org.get(&org).copied().unwrap_or(0)
    }
}
