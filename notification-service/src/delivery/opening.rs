//! A claimed row that this process has not just made: what it needs, and the claim of its attempt.

use chrono::{DateTime, Utc};
use diesel_async::AsyncPgConnection;
use platform::ctx::Ctx;
use platform::error::Result;
use platform::leased::{self, Claim, Outcome, Work};

use super::{Address, Deliverer, Job};
use crate::channels::Destination;
use crate::ids::NotificationId;
use crate::kinds::{Kind, Status};
use crate::store;
use crate::store::attempts::Attempt;
use crate::store::notifications::Notification;
use crate::store::order::Turn;

/// What a claimed row needs.
pub(super) enum Opening {
    /// This attempt is claimed; send it.
    Attempt(Box<Job>, Address),
    /// It has just ended: its budget is spent by attempts whose process died.
    Spent(Box<Job>),
    /// It ended before; the timeline is owed something.
    Ended(Box<Job>),
    /// It has just been cancelled: a later word has gone to this destination.
    Overtaken(Kind),
    /// Nothing now.
    Waits,
}

/// What claiming an attempt comes to.
enum Claimed {
    Attempt(Attempt),
    Spent(Attempt),
    Overtaken,
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
        if row.status != Status::Pending && last.is_none() {
            leased::finish(conn, Self::TABLE, claim, Outcome::Done).await?;
            return Ok(Opening::Waits);
        }
        let message = store::messages::get_message(conn, row.org_id, row.message_id).await?;
        let claimed = match last {
            Some(attempt) if row.status != Status::Pending => {
                return Ok(Opening::Ended(Box::new(Job { row, message, attempt })));
            }
            Some(attempt) if attempt.epoch == claim.epoch => Claimed::Attempt(attempt),
            last => self.claim_attempt(conn, claim, &row, last).await?,
        };
        match claimed {
            Claimed::Attempt(attempt) => {
                let to = self.address(cx, conn, &row).await?;
                Ok(Opening::Attempt(Box::new(Job { row, message, attempt }), to))
            }
            Claimed::Spent(attempt) => {
                (row.status, row.ended_at) = (Status::Dead, Some(self.source.now()));
                Ok(Opening::Spent(Box::new(Job { row, message, attempt })))
            }
            Claimed::Overtaken => Ok(Opening::Overtaken(row.kind)),
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
                self.end(conn, claim, row, Status::Cancelled, now).await?;
                return Ok(Claimed::Overtaken);
            }
        }
        let tried = last.as_ref().map_or(0, |last| last.number);
        if let Some(last) = last
            && self.policy.is_spent(tried - row.spent)
        {
            self.end(conn, claim, row, Status::Dead, now).await?;
            return Ok(Claimed::Spent(last));
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
        store::order::lock(conn, row.org_id, incident).await?;
        let keys = std::slice::from_ref(&row.order_key);
        let (since, status) = (now - self.order_wait, row.decided_status);
        let turns = store::order::find_turns(conn, row.org_id, keys, row.sequence, status, since).await?;
        Ok(turns.get(&row.order_key).copied().unwrap_or(Turn::Now))
    }

    /// The address as it is now: a corrected one counts for the next attempt.
    async fn address(&self, cx: &Ctx, conn: &mut AsyncPgConnection, row: &Notification) -> Result<Address> {
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
