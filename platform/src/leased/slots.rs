//! Who may start how many steps.

use std::collections::{HashMap, HashSet};

use super::Claim;
use crate::ctx::OrgId;

/// How many steps a driver runs at a time. No organization gets all of them: what hangs for one
/// must not keep another's page waiting. While no other waits it may have more than its share, though
/// never the last quarter. Rows that come due keep slots of their own, in all and in what one
/// organization may have, however many are born meanwhile; only an organization that may have no more
/// than one slot steps its born rows first.
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

/// How a row came to this process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// It was inserted leased to it.
    Born,
    /// It was found when it had come due.
    Due,
}

/// How many rows a look may take.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Room {
    pub(super) all: usize,
    /// Of an organization that is not among `of`.
    pub(super) each: usize,
    pub(super) of: HashMap<OrgId, usize>,
}

impl Room {
    /// Whose rows may have been left because there was no more room for them.
    pub(super) fn left_by(&self, claims: &[Claim]) -> Left {
        let mut counts: HashMap<OrgId, usize> = HashMap::new();
        for claim in claims {
            *counts.entry(claim.org).or_default() += 1;
        }
        let used_up =
            counts.iter().filter(|(org, count)| **count >= self.room_of(**org)).map(|(org, _)| *org);
        let used_up: HashSet<OrgId> = used_up.collect();
        let anybodys = claims.len() >= self.all;
        let look_again = anybodys || !used_up.is_empty();
        let none = self.of.iter().filter(|(_, room)| **room == 0).map(|(org, _)| *org);
        Left { anybodys, of: none.chain(used_up).collect(), look_again }
    }

    fn room_of(&self, org: OrgId) -> usize {
        self.of.get(&org).copied().unwrap_or(self.each)
    }
}

/// Rows that a look may have left for lack of room.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Left {
    /// Of any organization.
    anybodys: bool,
    /// Of these.
    of: HashSet<OrgId>,
    /// It took what it could: another one may find more at once.
    pub(super) look_again: bool,
}

impl Left {
    pub(super) fn may_be_of(&self, org: OrgId) -> bool {
        self.anybodys || self.of.contains(&org)
    }
}

#[derive(Clone, Copy, Default)]
struct Count {
    all: usize,
    born: usize,
}

/// The slots of one driver and what is in them.
pub(super) struct Taken {
    slots: Slots,
    count: Count,
    by_org: HashMap<OrgId, Count>,
}

impl Taken {
    pub(super) fn new(slots: Slots) -> Self {
        let all = slots.all.max(1);
        let slots = Slots { all, per_org: slots.per_org.clamp(1, all) };
        Self { slots, count: Count::default(), by_org: HashMap::new() }
    }

    pub(super) fn count(&self) -> usize {
        self.count.all
    }

    pub(super) fn limit(&self) -> usize {
        self.slots.all
    }

    /// Organizations that have a slot.
    pub(super) fn orgs(&self) -> impl Iterator<Item = OrgId> {
        self.by_org.keys().copied()
    }

    /// How many rows that came due `org` may start, when others wait or not.
    pub(super) fn room_of(&self, org: OrgId, others_wait: bool) -> usize {
        let share = self.slots.per_org.saturating_sub(self.of(org).all);
        let beyond = if others_wait { 0 } else { self.free().saturating_sub(self.reserve()) };
        share.max(beyond).min(self.free())
    }

    /// Whether `org` may start another step, when others wait or not.
    pub(super) fn may(&self, org: OrgId, kind: Kind, others_wait: bool) -> bool {
        let leaves_the_due_theirs = || {
            let most = self.slots.all - self.kept_for_due();
            self.count.born < most && self.of(org).born < self.most_born(others_wait)
        };
        self.room_of(org, others_wait) > 0 && (kind == Kind::Due || leaves_the_due_theirs())
    }

    /// How many born rows one organization may have started.
    fn most_born(&self, others_wait: bool) -> usize {
        let alone = self.slots.all - self.reserve();
        let most = if others_wait { self.slots.per_org } else { self.slots.per_org.max(alone) };
        most.saturating_sub(self.kept_for_due()).max(1)
    }

    /// Free slots.
    pub(super) fn free(&self) -> usize {
        self.slots.all.saturating_sub(self.count.all)
    }

    /// Whether a look is worth its statement: not one for every row that ends.
    pub(super) fn has_room_for_due(&self) -> bool {
        self.free() >= self.kept_for_due().max(1)
    }

    /// Whether `org`, of which rows were left for lack of slots, has some for them again.
    pub(super) fn is_worth_a_look(&self, org: OrgId, others_wait: bool) -> bool {
        self.room_of(org, others_wait) >= self.kept_for_due().clamp(1, self.slots.per_org)
    }

    /// What no organization gets beyond its share.
    fn reserve(&self) -> usize {
        match self.slots.all {
            0 | 1 => 0,
            2 | 3 => 1,
            all => all.div_ceil(4).max(2),
        }
    }

    /// What born rows leave to those that come due.
    fn kept_for_due(&self) -> usize {
        self.reserve().div_ceil(2)
    }

    pub(super) fn take(&mut self, org: OrgId, kind: Kind) {
        let born = usize::from(kind == Kind::Born);
        for count in [&mut self.count, self.by_org.entry(org).or_default()] {
            count.all += 1;
            count.born += born;
        }
    }

    pub(super) fn give_back(&mut self, org: OrgId, kind: Kind) {
        let born = usize::from(kind == Kind::Born);
        for count in [Some(&mut self.count), self.by_org.get_mut(&org)].into_iter().flatten() {
            count.all = count.all.saturating_sub(1);
            count.born = count.born.saturating_sub(born);
        }
        self.by_org.retain(|_, count| count.all > 0);
    }

    fn of(&self, org: OrgId) -> Count {
        self.by_org.get(&org).copied().unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::Kind::{Born, Due};
    use super::*;

    fn org(number: u128) -> OrgId {
        OrgId(Uuid::from_u128(number))
    }

    /// Starts rows of `org` while it may.
    fn fill(taken: &mut Taken, org: OrgId, kind: Kind, others_wait: bool) {
        while taken.may(org, kind, others_wait) {
            taken.take(org, kind);
        }
    }

    #[test]
    fn born_rows_always_leave_room_for_a_look() {
        for all in 1..=70 {
            let mut taken = Taken::new(Slots { all, per_org: all });
            (1..=70).for_each(|number| fill(&mut taken, org(number), Born, true));
            assert!(all == 1 || taken.has_room_for_due(), "{all}");
        }
    }

    #[test]
    fn of_one_organization_neither_born_rows_nor_due_ones_keep_the_others_out() {
        for (all, others_wait) in (3..=70).flat_map(|all| [(all, false), (all, true)]) {
            let mut taken = Taken::new(all.into());
            fill(&mut taken, org(1), Born, others_wait);
            fill(&mut taken, org(1), Due, others_wait);
            assert!(taken.of(org(1)).all > taken.of(org(1)).born, "{all}");
            // Born rows pour in and go first; every due one that ends is followed by another.
            for turn in 0..200 {
                taken.give_back(org(1), if turn % 3 == 0 { Born } else { Due });
                fill(&mut taken, org(1), Born, others_wait);
                fill(&mut taken, org(1), Due, others_wait);
            }
            assert!(taken.of(org(1)).all > taken.of(org(1)).born, "{all}");

            let mut taken = Taken::new(all.into());
            fill(&mut taken, org(1), Due, others_wait);
            taken.give_back(org(1), Due);
            assert!(taken.may(org(1), Born, others_wait), "{all}");
        }
    }

    #[test]
    fn an_organization_alone_has_more_than_its_share_and_never_the_reserve() {
        let mut taken = Taken::new(Slots { all: 8, per_org: 4 });
        fill(&mut taken, org(1), Born, false);
        assert_eq!(taken.count(), 5);
        fill(&mut taken, org(1), Due, false);
        assert_eq!((taken.count(), taken.room_of(org(1), false)), (6, 0));
        assert!(taken.may(org(2), Born, true), "another finds the reserve");
        taken.give_back(org(1), Due);
        assert!(!taken.may(org(1), Due, true), "while others wait its share is four");
        assert_eq!((taken.room_of(org(1), false), taken.room_of(org(2), true)), (1, 3));
    }

    #[test]
    fn a_look_is_worth_it_again_when_some_slots_are_free_for_what_was_left() {
        let mut taken = Taken::new(Slots { all: 64, per_org: 32 });
        fill(&mut taken, org(1), Due, false);
        assert_eq!(taken.count(), 48);
        (0..7).for_each(|_| taken.give_back(org(1), Due));
        assert!(!taken.is_worth_a_look(org(1), false));
        taken.give_back(org(1), Due);
        assert!(taken.is_worth_a_look(org(1), false) && !taken.is_worth_a_look(org(1), true));
    }

    #[test]
    fn rows_are_left_of_those_who_got_all_that_they_may() {
        let claim = |number| Claim { org: org(number), id: Uuid::nil(), epoch: 1, attempts: 1 };
        let room = Room { all: 4, each: 2, of: [(org(1), 1), (org(2), 0)].into() };
        for claims in [vec![], vec![claim(3)]] {
            let left = room.left_by(&claims);
            assert!(!left.look_again && left.may_be_of(org(2)) && !left.may_be_of(org(1)), "{claims:?}");
        }
        for (claims, whose) in [(vec![claim(1)], 1), (vec![claim(3); 2], 3)] {
            let left = room.left_by(&claims);
            assert!(left.look_again && left.may_be_of(org(whose)) && !left.may_be_of(org(4)), "{claims:?}");
        }
        let left = room.left_by(&(3..7).map(claim).collect::<Vec<_>>());
        assert!(left.look_again && left.may_be_of(org(9)), "no slot for anybody");
    }
}
