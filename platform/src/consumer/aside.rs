//! Partitions that cannot be read, because their position does not fit the log. Each stands still
//! alone: the others go on, and so does what the process does beside them. Nothing is reset; it is
//! looked at again now and then, in case a person has decided.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::Consumer;
use crate::error::{Error, Result};

const LOOK_AGAIN: Duration = Duration::from_secs(10);

/// The partitions that one consumer has set aside. Cloning shares it.
#[derive(Clone, Debug, Default)]
pub(super) struct Aside(Arc<Mutex<BTreeMap<i32, Misfit>>>);

#[derive(Debug)]
struct Misfit {
    error: Error,
    look_at: Instant,
}

impl Aside {
    /// Those that are not looked at yet.
    pub(super) fn resting(&self) -> Vec<i32> {
        let now = Instant::now();
        self.all().iter().filter(|(_, it)| it.look_at > now).map(|(partition, _)| *partition).collect()
    }

    /// Sets these aside for a while.
    pub(super) fn add(&self, misfits: &[(i32, Error)]) {
        let look_at = Instant::now() + LOOK_AGAIN;
        let misfit =
            |(partition, error): &(i32, Error)| (*partition, Misfit { error: error.clone(), look_at });
        self.all().extend(misfits.iter().map(misfit));
    }

    /// After a look at all but those `resting`, which found these `misfits`. Of what else was here this
    /// process knows nothing any more: it fits, or it is others'.
    pub(super) fn looked(&self, resting: &[i32], misfits: &[(i32, Error)]) {
        let known =
            |partition: &i32| resting.contains(partition) || misfits.iter().any(|it| it.0 == *partition);
        self.all().retain(|partition, _| known(partition));
    }

    /// The next look is at all of them.
    pub(super) fn look_again(&self) {
        let now = Instant::now();
        self.all().values_mut().for_each(|it| it.look_at = now);
    }

    pub(super) fn errors(&self) -> Vec<(i32, Error)> {
        self.all().iter().map(|(partition, it)| (*partition, it.error.clone())).collect()
    }

    fn all(&self) -> MutexGuard<'_, BTreeMap<i32, Misfit>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What stands still in this process. Cloning shares it.
#[derive(Clone, Debug, Default)]
pub struct Stopped(Arc<Mutex<Vec<Aside>>>);

impl Stopped {
    /// Whether all partitions that fall to this process are read, for a health name.
    ///
    /// # Errors
    /// Why one of them is not.
    pub fn check(&self) -> Result<()> {
        match self.all().iter().flat_map(Aside::errors).next() {
            Some((_, error)) => Err(error),
            None => Ok(()),
        }
    }

    fn all(&self) -> MutexGuard<'_, Vec<Aside>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Runs `consumer` until `shutdown`.
    pub(crate) async fn run(self, consumer: Consumer, shutdown: CancellationToken) -> Result<()> {
        self.all().push(consumer.aside.clone());
        consumer.run(shutdown).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_stands_still_is_told_until_a_look_finds_it_gone() {
        let (stopped, aside) = (Stopped::default(), Aside::default());
        stopped.all().push(aside.clone());
        assert!(stopped.check().is_ok());
        let misfit = [(3, Error::conflict("log_mismatch", "another log"))];
        aside.add(&misfit);
        assert_eq!(aside.resting(), [3]);
        aside.looked(&[3], &[]);
        assert_eq!(stopped.check().expect_err("one stands still").code, "log_mismatch");
        aside.look_again();
        assert!(
            aside.resting().is_empty() && stopped.check().is_err(),
            "it is due, and nobody has looked yet"
        );
        aside.looked(&[], &misfit);
        assert!(stopped.check().is_err());
        aside.looked(&[], &[]);
        assert!(stopped.check().is_ok());
    }
}
