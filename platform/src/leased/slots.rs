//! Who may start how many steps.

use std::collections::HashMap;

use crate::ctx::OrgId;

/// How many steps a driver runs at a time. No organization gets all of them: what hangs for one
/// must not keep another's page waiting. While no other waits it may have more than its share, though
/// never the last quarter, and of that half is kept for rows that come due.
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

    /// Whether `org` may start another step, when others wait or not.
    pub(super) fn may(&self, org: OrgId, others_wait: bool) -> bool {
        let in_share = self.of(org) < self.slots.per_org;
        self.free() > 0 && (in_share || (!others_wait && self.has_more_than_the_reserve()))
    }

    /// Organizations whose rows are left to others: when little is free, those that have their share.
    pub(super) fn busy(&self) -> Vec<OrgId> {
        if self.has_more_than_the_reserve() {
            return Vec::new();
        }
        let full = |(org, count): (&OrgId, &usize)| (*count >= self.slots.per_org).then_some(*org);
        self.by_org.iter().filter_map(full).collect()
    }

    /// Whether born rows may start: the others stay free for rows that come due.
    pub(super) fn has_room_for_born(&self) -> bool {
        self.free() > self.kept_for_due()
    }

    /// Whether a look is worth its statement: not one for every row that ends.
    pub(super) fn has_room_for_due(&self) -> bool {
        self.free() >= self.kept_for_due().max(1)
    }

    fn has_more_than_the_reserve(&self) -> bool {
        self.free() > self.reserve()
    }

    fn reserve(&self) -> usize {
        match self.slots.all {
            0 | 1 => 0,
            2 | 3 => 1,
            all => all.div_ceil(4).max(2),
        }
    }

    fn kept_for_due(&self) -> usize {
        self.reserve().div_ceil(2)
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

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    fn org(number: u128) -> OrgId {
        OrgId(Uuid::from_u128(number))
    }

    #[test]
    fn born_rows_always_leave_room_for_a_look() {
        for all in 1..=70 {
            let mut taken = Taken::new(Slots { all, per_org: all });
            while taken.has_room_for_born() && taken.may(org(1), false) {
                taken.take(org(1));
            }
            assert!(all == 1 || taken.has_room_for_due(), "{all}");
        }
    }

    #[test]
    fn an_organization_alone_has_more_than_its_share_and_never_the_reserve() {
        let mut taken = Taken::new(Slots { all: 8, per_org: 4 });
        while taken.may(org(1), false) {
            taken.take(org(1));
        }
        assert_eq!((taken.count(), taken.busy()), (6, vec![org(1)]));
        assert!(taken.has_room_for_born() && taken.may(org(2), true), "another finds the reserve");
        taken.give_back(org(1));
        assert!(!taken.may(org(1), true), "while others wait its share is four");
        assert!(taken.busy().is_empty());
    }
}
