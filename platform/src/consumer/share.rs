//! Which partitions this process reads: its share of those that can be read.

use super::Consumer;
use super::positions::{self, Taken};
use super::run::Part;
use crate::bus::Bounds;
use crate::error::{Error, Result};

impl Consumer {
    /// Takes what is free up to the share, gives back what is beyond it.
    pub(super) async fn balance(&mut self) -> Result<bool> {
        let share = self.held.share(self.log.partitions);
        if self.parts.len() > share {
            let beyond: Vec<i32> = self.parts.keys().copied().skip(share).collect();
            self.release(&beyond).await?;
            return Ok(true);
        }
        let resting = self.aside.resting();
        let taken = self.acquire(share - self.parts.len(), &resting).await?;
        let bounds = if taken.is_empty() { Vec::new() } else { self.group.bus.bounds(self.topic).await? };
        let mut misfits = Vec::new();
        for row in &taken {
            match self.fits(row, &bounds) {
                Ok(()) => self.came(row),
                Err(error) => misfits.push((row.partition, error)),
            }
        }
        let came = taken.len() > misfits.len();
        self.aside.looked(&resting, &misfits);
        self.set_aside(misfits).await?;
        Ok(came)
    }

    /// Takes up to so many. Those set aside and not `resting` come last: they may not fit yet, and must
    /// not stand in for others.
    async fn acquire(&self, missing: usize, resting: &[i32]) -> Result<Vec<Taken>> {
        if missing == 0 {
            return Ok(Vec::new());
        }
        let (db, owner, held) = (&self.group.db, self.group.keeper.owner, self.partitions());
        let aside: Vec<i32> = self.misfits().into_iter().map(|(partition, _)| partition).collect();
        let not = [&held[..], &aside].concat();
        let mut taken = positions::acquire(db, self.name, self.topic, owner, &not, missing as i64).await?;
        let left = missing - taken.len();
        if left > 0 && aside.len() > resting.len() {
            let not: Vec<i32> = held
                .into_iter()
                .chain(resting.iter().copied())
                .chain(taken.iter().map(|row| row.partition))
                .collect();
            taken.extend(positions::acquire(db, self.name, self.topic, owner, &not, left as i64).await?);
        }
        Ok(taken)
    }

    fn fits(&self, row: &Taken, bounds: &[Bounds]) -> Result<()> {
        if row.log_id != self.log.log_id {
            return Err(self.other_log(row.partition));
        }
        let bounds = bounds.iter().find(|b| b.partition == row.partition);
        bounds.map_or(Ok(()), |bounds| bounds.check(row.next))
    }

    fn came(&mut self, row: &Taken) {
        self.held.epochs().insert(row.partition, row.epoch);
        let part = Part { epoch: row.epoch, next: row.next, failures: 0, paused_until: None, suspect: None };
        self.parts.insert(row.partition, part);
        tracing::debug!(consumer = self.name, partition = row.partition, next = row.next, "a partition came");
    }

    /// Gives these partitions back and leaves them alone for a while; the others go on.
    pub(super) async fn set_aside(&mut self, misfits: Vec<(i32, Error)>) -> Result<()> {
        if misfits.is_empty() {
            return Ok(());
        }
        self.aside.add(&misfits);
        for (partition, error) in &misfits {
            metrics::counter!("pulseops_consumer_stopped_total", "consumer" => self.name, "code" => error.code)
                .increment(1);
            tracing::error!(consumer = self.name, partition, error = %error.chain(), "a partition stands still");
        }
        let partitions: Vec<i32> = misfits.iter().map(|(partition, _)| *partition).collect();
        self.release(&partitions).await
    }

    fn other_log(&self, partition: i32) -> Error {
        let detail = format!(
            "the position of {} in {} partition {partition} belongs to another log",
            self.name, self.topic
        );
        Error::conflict("log_mismatch", detail)
    }

    async fn release(&mut self, partitions: &[i32]) -> Result<()> {
        for partition in partitions {
            self.parts.remove(partition);
            self.held.epochs().remove(partition);
            self.handler.lost(*partition);
        }
        self.failpoint("consumer.release").await?;
        let owner = self.group.keeper.owner;
        positions::release(&self.group.db, self.name, self.topic, owner, partitions).await
    }

    pub(super) async fn give_back(&mut self) {
        // All of them: also what was taken but never held, because it did not fit.
        let all: Vec<i32> = (0..self.log.partitions).collect();
        if let Err(error) = self.release(&all).await {
            tracing::debug!(consumer = self.name, error = %error.chain(), "leases end by themselves");
        }
    }
}
