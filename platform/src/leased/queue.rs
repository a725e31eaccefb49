//! Claims that wait for a slot, taken in turns between organizations.

use std::collections::{HashMap, VecDeque};

use super::Claim;
use crate::ctx::OrgId;

/// What one driver has claimed and not started.
#[derive(Default)]
pub(super) struct Queue {
    waiting: HashMap<OrgId, VecDeque<Claim>>,
    /// Organizations with something waiting, each once; the first is served next.
    turns: VecDeque<OrgId>,
    len: usize,
}

impl Queue {
    pub(super) fn len(&self) -> usize {
        self.len
    }

    /// How many of `org` wait.
    pub(super) fn of(&self, org: OrgId) -> usize {
        self.waiting.get(&org).map_or(0, VecDeque::len)
    }

    /// Whether an organization other than `org` waits.
    pub(super) fn others_wait(&self, org: OrgId) -> bool {
        self.turns.iter().any(|waiting| *waiting != org)
    }

    pub(super) fn push(&mut self, claim: Claim) {
        let waiting = self.waiting.entry(claim.org).or_default();
        if waiting.is_empty() {
            self.turns.push_back(claim.org);
        }
        waiting.push_back(claim);
        self.len += 1;
    }

    /// The oldest claim of the organization whose turn it is, among those that `may` start one when
    /// others wait or not.
    pub(super) fn take(&mut self, may: impl Fn(OrgId, bool) -> bool) -> Option<Claim> {
        let others_wait = self.turns.len() > 1;
        let turn = self.turns.iter().position(|org| may(*org, others_wait))?;
        let org = self.turns.remove(turn)?;
        let waiting = self.waiting.get_mut(&org)?;
        let claim = waiting.pop_front()?;
        if waiting.is_empty() {
            self.waiting.remove(&org);
        } else {
            self.turns.push_back(org);
        }
        self.len -= 1;
        Some(claim)
    }

    pub(super) fn all(&self) -> impl Iterator<Item = Claim> {
        self.waiting.values().flatten().copied()
    }

    pub(super) fn drain(&mut self) -> Vec<Claim> {
        self.turns.clear();
        self.len = 0;
        self.waiting.drain().flat_map(|(_, waiting)| waiting).collect()
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    fn claim(org: u128, id: u128) -> Claim {
        Claim { org: OrgId(Uuid::from_u128(org)), id: Uuid::from_u128(id), epoch: 1, attempts: 1 }
    }

    #[test]
    fn organizations_take_turns_and_each_keeps_its_order() {
        let mut queue = Queue::default();
        for (org, id) in [(1, 11), (1, 12), (1, 13), (2, 21), (3, 31)] {
            queue.push(claim(org, id));
        }
        let mut taken = Vec::new();
        while let Some(claim) = queue.take(|_, _| true) {
            taken.push(claim.id.as_u128());
        }
        assert_eq!(taken, [11, 21, 31, 12, 13]);
        assert_eq!((queue.len(), queue.turns.len()), (0, 0));
    }

    #[test]
    fn who_may_not_start_keeps_its_turn() {
        let mut queue = Queue::default();
        for (org, id) in [(1, 11), (2, 21), (2, 22)] {
            queue.push(claim(org, id));
        }
        let not_one = |org: OrgId, _| org.uuid() != Uuid::from_u128(1);
        assert_eq!(queue.take(not_one).map(|c| c.id.as_u128()), Some(21));
        assert_eq!(queue.take(|_, _| true).map(|c| c.id.as_u128()), Some(11));
        assert_eq!(queue.take(|_, _| false), None);
        assert_eq!((queue.len(), queue.of(OrgId(Uuid::from_u128(2)))), (1, 1));
    }
}
