//! Claims that wait for a slot, taken in turns between organizations.

use std::collections::{HashMap, VecDeque};

use super::Claim;
use super::slots::Kind;
use crate::ctx::OrgId;

/// What one driver has claimed and not started.
#[derive(Default)]
pub(super) struct Queue {
    waiting: HashMap<OrgId, Waiting>,
    /// Organizations with something waiting, each once; the first is served next.
    turns: VecDeque<OrgId>,
    len: usize,
}

/// Claims of one organization.
#[derive(Default)]
struct Waiting {
    due: VecDeque<Claim>,
    born: VecDeque<Claim>,
}

impl Waiting {
    fn len(&self) -> usize {
        self.due.len() + self.born.len()
    }

    fn of(&mut self, kind: Kind) -> &mut VecDeque<Claim> {
        match kind {
            Kind::Due => &mut self.due,
            Kind::Born => &mut self.born,
        }
    }

    /// Of which kind the next one is: what has come due is older than what was born since.
    fn next(&self, may: impl Fn(Kind) -> bool) -> Option<Kind> {
        let kinds = [(Kind::Due, &self.due), (Kind::Born, &self.born)];
        kinds.into_iter().find(|(kind, of_it)| !of_it.is_empty() && may(*kind)).map(|(kind, _)| kind)
    }

    fn all(&self) -> impl Iterator<Item = Claim> {
        self.due.iter().chain(&self.born).copied()
    }
}

impl Queue {
    pub(super) fn len(&self) -> usize {
        self.len
    }

    /// How many of `org` wait.
    pub(super) fn of(&self, org: OrgId) -> usize {
        self.waiting.get(&org).map_or(0, Waiting::len)
    }

    /// How many of `org` wait that came due.
    pub(super) fn due_of(&self, org: OrgId) -> usize {
        self.waiting.get(&org).map_or(0, |waiting| waiting.due.len())
    }

    /// Organizations of which something waits.
    pub(super) fn orgs(&self) -> impl Iterator<Item = OrgId> {
        self.turns.iter().copied()
    }

    /// Whether an organization other than `org` waits.
    pub(super) fn others_wait(&self, org: OrgId) -> bool {
        self.turns.iter().any(|waiting| *waiting != org)
    }

    pub(super) fn push(&mut self, claim: Claim, kind: Kind) {
        let waiting = self.waiting.entry(claim.org).or_default();
        if waiting.len() == 0 {
            self.turns.push_back(claim.org);
        }
        waiting.of(kind).push_back(claim);
        self.len += 1;
    }

    /// A claim of the organization whose turn it is, among those that `may` start one of this kind
    /// when others wait or not.
    pub(super) fn take(&mut self, may: impl Fn(OrgId, Kind, bool) -> bool) -> Option<(Claim, Kind)> {
        let others_wait = self.turns.len() > 1;
        let (turn, kind) = self.turns.iter().enumerate().find_map(|(turn, org)| {
            let kind = self.waiting.get(org)?.next(|kind| may(*org, kind, others_wait))?;
            Some((turn, kind))
        })?;
        let org = self.turns.remove(turn)?;
        let waiting = self.waiting.get_mut(&org)?;
        let claim = waiting.of(kind).pop_front()?;
        if waiting.len() == 0 {
            self.waiting.remove(&org);
        } else {
            self.turns.push_back(org);
        }
        self.len -= 1;
        Some((claim, kind))
    }

    pub(super) fn all(&self) -> impl Iterator<Item = Claim> {
        self.waiting.values().flat_map(Waiting::all)
    }

    pub(super) fn drain(&mut self) -> Vec<Claim> {
        let all = self.all().collect();
        *self = Self::default();
        all
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::Kind::{Born, Due};
    use super::*;

    fn claim(org: u128, id: u128) -> Claim {
        Claim { org: OrgId(Uuid::from_u128(org)), id: Uuid::from_u128(id), epoch: 1, attempts: 1 }
    }

    #[test]
    fn organizations_take_turns_and_each_keeps_its_order() {
        let mut queue = Queue::default();
        for (org, id) in [(1, 11), (1, 12), (1, 13), (2, 21), (3, 31)] {
            queue.push(claim(org, id), Born);
        }
        let mut taken = Vec::new();
        while let Some((claim, _)) = queue.take(|_, _, _| true) {
            taken.push(claim.id.as_u128());
        }
        assert_eq!(taken, [11, 21, 31, 12, 13]);
        assert_eq!((queue.len(), queue.turns.len()), (0, 0));
    }

    #[test]
    fn who_may_not_start_keeps_its_turn() {
        let mut queue = Queue::default();
        for (org, id) in [(1, 11), (2, 21), (2, 22)] {
            queue.push(claim(org, id), Born);
        }
        let not_one = |org: OrgId, _, _| org.uuid() != Uuid::from_u128(1);
        assert_eq!(queue.take(not_one).map(|(c, _)| c.id.as_u128()), Some(21));
        assert_eq!(queue.take(|_, _, _| true).map(|(c, _)| c.id.as_u128()), Some(11));
        assert_eq!(queue.take(|_, _, _| false), None);
        assert_eq!((queue.len(), queue.of(OrgId(Uuid::from_u128(2)))), (1, 1));
    }

    #[test]
    fn what_came_due_goes_before_what_was_born_unless_it_may_not() {
        let mut queue = Queue::default();
        for (id, kind) in [(11, Born), (12, Due), (13, Due), (14, Born)] {
            queue.push(claim(1, id), kind);
        }
        assert_eq!((queue.of(claim(1, 0).org), queue.due_of(claim(1, 0).org)), (4, 2));
        assert_eq!(queue.take(|_, _, _| true), Some((claim(1, 12), Due)));
        assert_eq!(queue.take(|_, kind, _| kind == Born), Some((claim(1, 11), Born)));
        assert_eq!(queue.drain(), [claim(1, 13), claim(1, 14)]);
        assert_eq!((queue.len(), queue.orgs().count()), (0, 0));
    }
}
