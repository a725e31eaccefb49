//! Named places where a test makes things go wrong: `failpoint!("consumer.after_commit")`.
//!
//! Compiled in with feature `testing` only; without it the macro is nothing. The enclosing function
//! returns [`Result`](crate::error::Result) and is async. A test sets a point in process with
//! `set`, or in another process with
//! `PULSEOPS_FAILPOINTS="relay.before=exit;append.after=pause:500"`.
//!
//! Actions: `error` (a retryable error), `panic`, `exit` (kill -9 of the own process), `pause`
//! (until `clear`ed) and `pause:<ms>`. A number and `*` before it limits it: `1*error` strikes
//! once. A number and `+` before that lets calls pass first: `2+1*exit` is the third call.

/// Marks a place by name; see [`mod@crate::failpoint`].
#[cfg(feature = "testing")]
#[macro_export]
macro_rules! failpoint {
    ($name:expr) => {
        $crate::failpoint::hit($name).await?
    };
}

/// Marks a place by name; nothing without feature `testing`.
#[cfg(not(feature = "testing"))]
#[macro_export]
macro_rules! failpoint {
    ($name:expr) => {
        ()
    };
}

#[cfg(feature = "testing")]
pub use active::{Action, Guard, clear, hit, hits, set};

#[cfg(feature = "testing")]
mod active {
    use std::collections::HashMap;
    use std::sync::{LazyLock, Mutex, MutexGuard, PoisonError};
    use std::time::Duration;

    use nix::sys::signal::{Signal, kill};
    use nix::unistd::getpid;
    use tokio::sync::Notify;

    use crate::error::{Error, Result};

    static POINTS: LazyLock<Mutex<HashMap<String, Point>>> = LazyLock::new(|| {
        let mut points = HashMap::new();
        for part in crate::config::failpoints().split(';').filter(|part| !part.trim().is_empty()) {
            let (name, action) = part.split_once('=').unwrap_or((part, ""));
            let action =
                action.parse().unwrap_or_else(|error| panic!("PULSEOPS_FAILPOINTS: {part}: {error}"));
            points.insert(name.trim().to_owned(), Point { armed: Some(action), hits: 0 });
        }
        Mutex::new(points)
    });
    static CLEARED: Notify = Notify::const_new();

    #[derive(Default)]
    struct Point {
        armed: Option<Action>,
        hits: u64,
    }

    /// What happens at a point, after how many passes and how often.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub struct Action {
        what: What,
        skip: u32,
        left: Option<u32>,
    }

    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    enum What {
        Error,
        Panic,
        Exit,
        Pause(Option<Duration>),
    }

    impl std::str::FromStr for Action {
        type Err = String;

        fn from_str(text: &str) -> std::result::Result<Self, String> {
            let number =
                |text: &str| text.trim().parse::<u32>().map_err(|_| format!("{text:?} is no number"));
            let (skip, text) = match text.split_once('+') {
                Some((skip, rest)) => (number(skip)?, rest),
                None => (0, text),
            };
            let (left, text) = match text.split_once('*') {
                Some((left, rest)) => (Some(number(left)?), rest),
                None => (None, text),
            };
            let what = match text.trim().split_once(':') {
                None if text.trim() == "error" => What::Error,
                None if text.trim() == "panic" => What::Panic,
                None if text.trim() == "exit" => What::Exit,
                None if text.trim() == "pause" => What::Pause(None),
                Some(("pause", ms)) => What::Pause(Some(Duration::from_millis(number(ms)?.into()))),
                _ => {
                    return Err(format!("{text:?} is not error, panic, exit, pause or pause:<ms>"));
                }
            };
            Ok(Self { what, skip, left })
        }
    }

    /// Clears its point when dropped.
    #[must_use = "dropping it clears the point"]
    pub struct Guard(String);

    impl Drop for Guard {
        fn drop(&mut self) {
            clear(&self.0);
        }
    }

    /// Arms point `name` for the whole process. Tests that share a process share its points: give
    /// such a test a process of its own, or a name of its own to the point.
    ///
    /// # Panics
    /// When `action` cannot be read.
    pub fn set(name: impl Into<String>, action: &str) -> Guard {
        let name = name.into();
        let action = action.parse().unwrap_or_else(|error| panic!("failpoint {name}: {error}"));
        points().entry(name.clone()).or_default().armed = Some(action);
        Guard(name)
    }

    /// Disarms point `name` and lets go who pauses there.
    pub fn clear(name: &str) {
        if let Some(point) = points().get_mut(name) {
            point.armed = None;
        }
        CLEARED.notify_waiters();
    }

    /// How often point `name` was reached, armed or not.
    pub fn hits(name: &str) -> u64 {
        points().get(name).map_or(0, |point| point.hits)
    }

    /// What the macro calls.
    ///
    /// # Errors
    /// Unavailable, code `failpoint`, when the point is armed with `error`.
    ///
    /// # Panics
    /// When the point is armed with `panic`.
    pub async fn hit(name: &str) -> Result<()> {
        match strike(name) {
            None => Ok(()),
            Some(What::Error) => Err(Error::unavailable("failpoint", format!("failpoint {name}"))),
            Some(What::Panic) => panic!("failpoint {name}"),
            Some(What::Exit) => {
                // Nothing of us runs any more after this; the error is for the impossible case.
                kill(getpid(), Signal::SIGKILL).map_err(Error::internal)
            }
            Some(What::Pause(Some(time))) => {
                tokio::time::sleep(time).await;
                Ok(())
            }
            Some(What::Pause(None)) => {
                wait_until_cleared(name).await;
                Ok(())
            }
        }
    }

    fn strike(name: &str) -> Option<What> {
        let mut points = points();
        let point = points.entry(name.to_owned()).or_default();
        point.hits += 1;
        let action = point.armed.as_mut()?;
        if action.skip > 0 {
            action.skip -= 1;
            return None;
        }
        match &mut action.left {
            Some(0) => return None,
            Some(left) => *left -= 1,
            None => {}
        }
        Some(action.what)
    }

    async fn wait_until_cleared(name: &str) {
        loop {
            let cleared = CLEARED.notified();
            tokio::pin!(cleared);
            // Registered before looking, so that a clear in between is not missed.
            cleared.as_mut().enable();
            if points().get(name).is_none_or(|point| point.armed.is_none()) {
                return;
            }
            cleared.await;
        }
    }

    fn points() -> MutexGuard<'static, HashMap<String, Point>> {
        // The map is whole between statements, so a panic elsewhere does not spoil it.
        POINTS.lock().unwrap_or_else(PoisonError::into_inner)
    }

    #[cfg(test)]
    mod tests {
        use super::*;

        #[tokio::test]
        async fn strikes_as_often_as_told_and_counts() {
            let _armed = set("test.counted", "1+2*error");
            let mut struck = Vec::new();
            for _ in 0..4 {
                struck.push(hit("test.counted").await.is_err());
            }
            assert_eq!(struck, [false, true, true, false]);
            assert_eq!(hits("test.counted"), 4);
        }

        #[tokio::test]
        async fn a_pause_ends_when_it_is_cleared() {
            let armed = set("test.pause", "pause");
            let paused = tokio::spawn(hit("test.pause"));
            while hits("test.pause") == 0 {
                tokio::task::yield_now().await;
            }
            assert!(!paused.is_finished());
            drop(armed);
            assert!(paused.await.expect("no panic").is_ok());
        }

        #[test]
        fn nonsense_is_refused() {
            for text in ["", "explode", "pause:soon", "x*error"] {
                assert!(text.parse::<Action>().is_err(), "{text}");
            }
        }
    }
}
