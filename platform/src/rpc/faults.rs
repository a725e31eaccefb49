use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use crate::error::{Error, Result};

/// What happens to a call instead of what should.
#[derive(Clone, Debug)]
pub enum Fault {
    /// It fails without reaching the service.
    Fail(Error),
    /// It reaches the service that much later.
    Delay(Duration),
    /// It reaches the service and has its effect; the answer is lost.
    LoseAnswer,
}

/// Faults waiting for calls, by path. Clones share them.
#[derive(Clone, Debug, Default)]
pub struct Faults(Arc<Mutex<HashMap<String, VecDeque<Fault>>>>);

impl Faults {
    /// The next `times` calls of the RPC at `path` meet `fault`.
    pub fn inject(&self, path: &str, times: usize, fault: Fault) {
        let mut waiting = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        waiting.entry(path.to_owned()).or_default().extend(std::iter::repeat_n(fault, times));
    }

    /// How many faults still wait for calls of `path`.
    pub fn waiting(&self, path: &str) -> usize {
        let waiting = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        waiting.get(path).map_or(0, VecDeque::len)
    }

    /// Meets the next fault of `path`: `Ok(true)` when the answer is to be lost.
    pub(super) async fn meet(&self, path: &str) -> Result<bool> {
        let fault = {
            let mut waiting = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            waiting.get_mut(path).and_then(VecDeque::pop_front)
        };
        match fault {
            None => Ok(false),
            Some(Fault::Fail(error)) => Err(error),
            Some(Fault::LoseAnswer) => Ok(true),
            Some(Fault::Delay(time)) => {
                tokio::time::sleep(time).await;
                Ok(false)
            }
        }
    }
}
