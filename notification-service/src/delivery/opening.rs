//! A claimed row that this process has not just made: what it needs, and the claim of its attempt.

use chrono::{DateTime, Utc};
use diesel_async::AsyncPgConnection;
use platform::ctx::Ctx;
use platform::error::Result;
use platform::leased::{self, Claim, Outcome, Work};

use super::{Address, Deliverer, Job, Past, timeline};
use crate::channels::Destination;
use crate::ids::NotificationId;
use crate::kinds::{AttemptOutcome, Status};
use crate::proofs;
use crate::store;
use crate::store::attempts::Attempt;
use crate::store::messages::Message;
use crate::store::notifications::Notification;
use crate::store::order::Turn;

/// What a claimed row needs.
pub(super) enum Opening {
    /// This attempt is claimed; send it.
    Attempt(Box<Job>, Address),
    /// It has just ended: attempts whose process died have spent its budget, or a later word has gone to
    /// its destination.
    Ends(Box<Past>),
    /// It ended before; the timeline is owed something.
    Ended(Box<Past>),
    /// Nothing now.
    Waits,
}

/// What claiming an attempt comes to.
enum Claimed {
    Attempt(Attempt),
    Ends(Status, Option<Attempt>),
    Waits,
}

impl Deliverer {
    /// Reads the claimed row and claims an attempt, unless it was born with one.
    pub(super) async fn open(
        &self,
        cx: &Ctx,
        conn: &mut AsyncPgConnection,
        claim: &Claim,
    ) -> Result<Opening> {
        let id = NotificationId(claim.id);
        let mut row = store::notifications::get_leased(conn, claim.org, id, claim.epoch).await?;
        let last = store::attempts::find_last_attempt(conn, row.org_id, row.id).await?;
        if row.status != Status::Pending && !timeline::is_owed(&row, row.status) {
            self.done(conn, claim).await?;
            return Ok(Opening::Waits);
        }
        let message = store::messages::get_message(conn, row.org_id, row.message_id).await?;
        if row.status != Status::Pending {
            return Ok(Opening::Ended(Box::new(Past { row, message, last })));
        }
        let claimed = match last {
            Some(attempt) if attempt.epoch == claim.epoch => Claimed::Attempt(attempt),
            last => self.claim_attempt(conn, claim, &row, last).await?,
        };
        match claimed {
            Claimed::Attempt(attempt) => {
                let to = self.address(cx, conn, &row, &message).await?;
                Ok(Opening::Attempt(Box::new(Job { row, message, attempt }), to))
            }
            Claimed::Ends(status, last) => {
                (row.status, row.ended_at) = (status, Some(self.source.now()));
                Ok(Opening::Ends(Box::new(Past { row, message, last })))
            }
            Claimed::Waits => Ok(Opening::Waits),
        }
    }

    /// Writes the next attempt, when it is this delivery's turn and something is left of its budget.
    async fn claim_attempt(
        &self,
        conn: &mut AsyncPgConnection,
        claim: &Claim,
        row: &Notification,
        last: Option<Attempt>,
    ) -> Result<Claimed> {
        let now = self.source.now();
        match self.turn(conn, row, now).await? {
            Turn::Now => {}
            Turn::After(since) => {
                let until = Outcome::Again(since + self.order_wait);
                leased::finish(conn, Self::TABLE, claim, until).await?;
                return Ok(Claimed::Waits);
            }
            Turn::Never => {
                let last = match last {
                    Some(last) if never_began(claim, row, &last) => {
                        Some(store::attempts::call_off(conn, last, now).await?)
                    }
                    last => last,
                };
                self.end(conn, claim, row, Status::Cancelled, now).await?;
                return Ok(Claimed::Ends(Status::Cancelled, last));
            }
        }
        if let Some(last) = last.as_ref().filter(|last| never_began(claim, row, last)) {
            let attempt = store::attempts::begin_anew(conn, last, claim.epoch, now).await?;
            return Ok(Claimed::Attempt(attempt));
        }
        let tried = last.as_ref().map_or(0, |last| last.number);
        if last.is_some() && self.policy.is_spent(tried - row.spent) {
            self.end(conn, claim, row, Status::Dead, now).await?;
            return Ok(Claimed::Ends(Status::Dead, last));
        }
        let attempt = Attempt::started(row, tried + 1, claim.epoch, now);
        store::attempts::insert_attempts(conn, std::slice::from_ref(&attempt)).await?;
        Ok(Claimed::Attempt(attempt))
    }

    /// What a person has replayed goes when they ask for it.
    async fn turn(
        &self,
        conn: &mut AsyncPgConnection,
        row: &Notification,
        now: DateTime<Utc>,
    ) -> Result<Turn> {
        let Some(incident) = row.incident_id.filter(|_| row.spent == 0) else { return Ok(Turn::Now) };
        let keys = std::slice::from_ref(&row.order_key);
        store::order::lock(conn, row.org_id, incident, keys).await?;
        let (since, status) = (now - self.order_wait, row.decided_status);
        let turns = store::order::find_turns(conn, row.org_id, keys, row.sequence, status, since).await?;
        Ok(turns.get(&row.order_key).copied().unwrap_or(Turn::Now))
    }

    /// The address as it is now: a corrected one counts for the next attempt. A code that proves it no more
    /// goes nowhere.
    async fn address(
        &self,
        cx: &Ctx,
        conn: &mut AsyncPgConnection,
        row: &Notification,
        message: &Message,
    ) -> Result<Address> {
        if message.carries_code && !proofs::is_good(cx, conn, message, row.contact_method_id).await? {
            return Ok(Err(proofs::OVER));
        }
        if let Some(id) = row.channel_id {
            let channel = store::channels::get(conn, cx.org, id).await?;
            Ok(self.addresses.open(&channel))
        } else if let Some(id) = row.contact_method_id {
            let method = store::contact_methods::get(conn, cx.org, id).await?;
            Ok(self.addresses.open(&method))
        } else {
            Ok(Ok(Destination { address: String::new(), secret: None }))
        }
    }
}

/// Whether `last` was claimed at the row's birth, for a step that never began: only a row that was given
/// back has been claimed no more than once then.
fn never_began(claim: &Claim, row: &Notification, last: &Attempt) -> bool {
    claim.attempts == 1 && last.outcome == AttemptOutcome::Started && last.number == row.spent + 1
}
