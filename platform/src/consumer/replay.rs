//! Dead letters that a person wants handled again: one at a time, by the owner of their partition,
//! through the same handler.

use std::time::Duration;

use tokio::time::Instant;
use uuid::Uuid;

use super::batch::Failure;
use super::{After, Consumer, positions};
use crate::dead_letters::{self, DeadLetter};
use crate::error::{Error, Result};

/// How long a letter waits whose replay failed in a way that may pass.
const AGAIN_AFTER: Duration = Duration::from_secs(5);

enum Replayed {
    Nothing,
    Done(DeadLetter, After),
    Later(DeadLetter, Error),
    Refused(DeadLetter, Error),
    InDoubt(DeadLetter, Error),
}

impl Consumer {
    /// Handles one requested dead letter. Says whether there was one that came to an end.
    pub(super) async fn replay(&mut self) -> Result<bool> {
        if self.parts.is_empty() {
            return Ok(false);
        }
        let now = Instant::now();
        self.deferred.retain(|_, until| *until > now);
        match self.replay_next().await {
            Ok(Replayed::Nothing) | Err(Failure::Lost) => Ok(false),
            // It stays requested; neither new records nor other letters must wait for it.
            Ok(Replayed::Later(letter, error)) => {
                tracing::warn!(consumer = self.name, dead_letter.id = %letter.id, error = %error.chain(), "a replay will be tried again");
                self.deferred.insert(letter.id, Instant::now() + AGAIN_AFTER);
                Ok(true)
            }
            Ok(Replayed::Done(letter, after)) => {
                tracing::info!(consumer = self.name, dead_letter.id = %letter.id, "a dead letter was replayed");
                self.finish(letter.partition, after).await;
                Ok(true)
            }
            Ok(Replayed::Refused(letter, error)) => {
                tracing::warn!(consumer = self.name, dead_letter.id = %letter.id, error = %error.chain(), "a replay failed");
                crate::system_tx!(self.group.db, "dead letter", |conn| {
                    dead_letters::bury_again(conn, &letter, &error).await
                })?;
                Ok(true)
            }
            // It may have been applied, and then memory is behind.
            Ok(Replayed::InDoubt(letter, error)) => {
                self.part_ways(letter.partition, Failure::InDoubt(error));
                Ok(true)
            }
            Err(Failure::InDoubt(error) | Failure::Failed(error)) => Err(error),
        }
    }

    async fn replay_next(&self) -> Result<Replayed, Failure> {
        let mut tx = self.group.db.begin_system("dead letter").await?;
        let owned = self.partitions();
        let deferred: Vec<Uuid> = self.deferred.keys().copied().collect();
        let claim = dead_letters::claim(&mut tx, self.name, self.topic, &owned, &deferred);
        let Some(letter) = claim.await? else {
            tx.rollback().await?;
            return Ok(Replayed::Nothing);
        };
        let epoch = self.parts.get(&letter.partition).map_or(0, |part| part.epoch);
        let cx = self.batch_cx(letter.partition, epoch, true);
        let after = match self.handle(&cx, &mut tx, &[letter.delivered()]).await {
            Ok(after) => after,
            Err(error) => {
                tx.rollback().await?;
                let later = error.is_retryable();
                return Ok(if later {
                    Replayed::Later(letter, error)
                } else {
                    Replayed::Refused(letter, error)
                });
            }
        };
        dead_letters::done(&mut tx, &letter, cx.now).await?;
        // Last, because nobody can renew the lease of a locked position.
        let place = (self.name, self.topic, letter.partition);
        if !positions::confirm(&mut tx, place, epoch).await? {
            return Err(Failure::Lost);
        }
        let committed = match tx.commit().await {
            Ok(()) => self.failpoint("replay.after_commit").await,
            Err(error) => Err(error),
        };
        Ok(match committed {
            Ok(()) => Replayed::Done(letter, after),
            Err(error) => Replayed::InDoubt(letter, error),
        })
    }
}
