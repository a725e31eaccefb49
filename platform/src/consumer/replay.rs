//! Dead letters that a person wants handled again: one at a time, by the owner of their partition,
//! through the same handler.

use super::batch::Failure;
use super::{After, Consumer, positions};
use crate::dead_letters::{self, DeadLetter};
use crate::error::{Error, Result};

enum Replayed {
    Nothing,
    Done(DeadLetter, After),
    Later(Error),
    Refused(DeadLetter, Error),
    InDoubt(DeadLetter, Error),
}

impl Consumer {
    /// Handles one requested dead letter. Says whether there was one that came to an end.
    pub(super) async fn replay(&mut self) -> Result<bool> {
        if self.parts.is_empty() {
            return Ok(false);
        }
        match self.replay_next().await {
            Ok(Replayed::Nothing) | Err(Failure::Lost) => Ok(false),
            // It stays requested; new records must not wait for it.
            Ok(Replayed::Later(error)) => {
                tracing::warn!(consumer = self.name, error = %error.chain(), "a replay will be tried again");
                Ok(false)
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
        let Some(letter) = dead_letters::claim(&mut tx, self.name, self.topic, &owned).await? else {
            tx.rollback().await?;
            return Ok(Replayed::Nothing);
        };
        let epoch = self.parts.get(&letter.partition).map_or(0, |part| part.epoch);
        let place = (self.name, self.topic, letter.partition);
        if !positions::confirm(&mut tx, place, epoch).await? {
            return Err(Failure::Lost);
        }
        let cx = self.batch_cx(letter.partition, epoch, true);
        let after = match self.handle(&cx, &mut tx, &[letter.delivered()]).await {
            Ok(after) => after,
            Err(error) => {
                tx.rollback().await?;
                let later = error.is_retryable();
                return Ok(if later { Replayed::Later(error) } else { Replayed::Refused(letter, error) });
            }
        };
        dead_letters::done(&mut tx, &letter, cx.now).await?;
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
