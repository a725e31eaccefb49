//! Passwords: argon2id with OWASP's parameters (m = 19 MiB, t = 2, p = 1), off the async threads, a
//! bounded number at a time.

use std::sync::Arc;
use std::time::{Duration, Instant};

use argon2::password_hash::phc::PasswordHash;
use argon2::{Argon2, PasswordHasher, PasswordVerifier};
use platform::error::{Error, Result};
use platform::secret::Secret;
use platform::source::Source;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

const SALT_BYTES: usize = 16;
/// Callers that wait for a free slot; more are sent away, because they would only time out.
const WAITING: usize = 64;

/// Verified when there is no account or no password, so that both cost what a real one costs. No
/// password has this hash on purpose; its parameters are those of [`Argon2::default`].
const DUMMY: &str =
    "$argon2id$v=19$m=19456,t=2,p=1$AAAAAAAAAAAAAAAAAAAAAA$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";

/// Hashes and verifies. Cloning shares the slots.
#[derive(Clone)]
pub struct Passwords {
    slots: Arc<Semaphore>,
    queue: Arc<Semaphore>,
    source: Source,
}

impl Passwords {
    /// At most `at_once` at the same time; 0 means one a core.
    pub fn new(at_once: usize, source: Source) -> Self {
        let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        let at_once = if at_once == 0 { cores } else { at_once };
        Self {
            slots: Arc::new(Semaphore::new(at_once)),
            queue: Arc::new(Semaphore::new(at_once + WAITING)),
            source,
        }
    }

    /// The PHC string of `password` under a new salt.
    pub async fn hash(&self, password: Secret<String>) -> Result<Secret<String>> {
        let mut salt = [0; SALT_BYTES];
        self.source.fill(&mut salt);
        self.run(move || {
            let hash: argon2::password_hash::Result<PasswordHash> =
                Argon2::default().hash_password_with_salt(password.expose().as_bytes(), &salt);
            Ok(Secret::new(hash.map_err(argon_failed)?.to_string()))
        })
        .await
    }

    /// Whether `password` is the one of `hash`. Without a hash it never is, at the same cost.
    pub async fn verify(&self, password: Secret<String>, hash: Option<Secret<String>>) -> Result<bool> {
        self.run(move || {
            let known = hash.is_some();
            let hash = hash.unwrap_or_else(|| Secret::new(DUMMY.to_owned()));
            let parsed = PasswordHash::new(hash.expose()).map_err(argon_failed)?;
            let same = Argon2::default().verify_password(password.expose().as_bytes(), &parsed);
            match same {
                Ok(()) => Ok(known),
                Err(argon2::password_hash::Error::PasswordInvalid) => Ok(false),
                Err(error) => Err(argon_failed(error)),
            }
        })
        .await
    }

    /// The slot goes with the work: a caller that gave up does not make room for another hash.
    async fn run<T, F>(&self, work: F) -> Result<T>
    where
        T: Send + 'static,
        F: FnOnce() -> Result<T> + Send + 'static,
    {
        let place = self.queue.clone().try_acquire_owned().map_err(|_| busy())?;
        let slot = self.slots.clone().acquire_owned().await.map_err(Error::internal)?;
        let held: [OwnedSemaphorePermit; 2] = [place, slot];
        let work = move || {
            let started = Instant::now();
            let result = work();
            metrics::histogram!("pulseops_auth_password_hash_seconds")
                .record(started.elapsed().as_secs_f64());
            drop(held);
            result
        };
        tokio::task::spawn_blocking(work).await.map_err(Error::internal)?
    }
}

fn busy() -> Error {
    Error::too_many("login_busy", "too many sign-ins at the same time")
        .with_retry_after(Duration::from_secs(1))
}

fn argon_failed(error: impl std::fmt::Display) -> Error {
    Error::internal(error.to_string())
}

/// A password must not be the address that stands beside it.
///
/// # Errors
/// Invalid at `field`, code `password_is_email`.
pub fn check_not_email(password: &str, email: &str, field: &str) -> Result<()> {
    if crate::users::fold_email(password) == crate::users::fold_email(email) {
        return Err(Error::field(field, "password_is_email", "must not be the email address"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn secret(text: &str) -> Secret<String> {
        Secret::new(text.to_owned())
    }

    #[tokio::test]
    async fn only_the_password_itself_verifies() {
        let passwords = Passwords::new(1, Source::system());
        let hash = passwords.hash(secret("correct horse battery")).await.expect("hashed");
        assert!(hash.expose().starts_with("$argon2id$v=19$m=19456,t=2,p=1$"));
        let verify = |text: &str| passwords.verify(secret(text), Some(hash.clone()));
        assert!(verify("correct horse battery").await.expect("verified"));
        assert!(!verify("correct horse batterz").await.expect("verified"));
        let again = passwords.hash(secret("correct horse battery")).await.expect("hashed");
        assert_ne!(again.expose(), hash.expose());
    }

    #[tokio::test]
    async fn nobody_has_no_password_at_the_same_cost() {
        let passwords = Passwords::new(1, Source::system());
        assert!(!passwords.verify(secret("anything"), None).await.expect("verified"));
        let dummy = PasswordHash::new(DUMMY).expect("a PHC string");
        let params = argon2::Params::try_from(&dummy).expect("parameters");
        let default = argon2::Params::default();
        let cost = |p: &argon2::Params| (p.m_cost(), p.t_cost(), p.p_cost());
        assert_eq!(cost(&params), cost(&default));
    }

    #[tokio::test]
    async fn a_full_queue_sends_away() {
        let passwords = Passwords::new(1, Source::system());
        let places = u32::try_from(WAITING + 1).expect("small");
        let _all = passwords.queue.acquire_many(places).await.expect("free");
        let refused = passwords.verify(secret("x"), None).await.expect_err("full");
        assert_eq!((refused.code, refused.retry_after), ("login_busy", Some(Duration::from_secs(1))));
    }
}
