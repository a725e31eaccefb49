//! An open transaction that cannot leak: committed, rolled back, or closed with its connection.

use std::future::Future;
use std::ops::{ControlFlow, Deref, DerefMut};
use std::time::Duration;

use diesel_async::pooled_connection::deadpool::Object;
use diesel_async::{AnsiTransactionManager, AsyncPgConnection, SimpleAsyncConnection, TransactionManager};
use tokio::runtime::Handle;

use crate::error::Result;

/// How often a transaction that lost against another one is run again.
const RETRIES: u32 = 3;
/// How long a dropped transaction may take to roll back before its connection is closed.
const ROLLBACK_PATIENCE: Duration = Duration::from_secs(1);

/// An open transaction on a pooled connection; dereferences to it. Dropping it rolls back in the
/// background; the connection returns to the pool only when nothing is open on it.
pub struct Tx {
    /// Taken by `drop` only.
    connection: Option<Object<AsyncPgConnection>>,
    state: State,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    /// BEGIN, COMMIT or ROLLBACK is on its way: where it stands is unknown until the answer.
    Changing,
    Open,
    Ended,
}

impl Tx {
    pub(super) async fn begin(connection: Object<AsyncPgConnection>, sql: &str) -> Result<Self> {
        let mut tx = Self { connection: Some(connection), state: State::Changing };
        AnsiTransactionManager::begin_transaction_sql(&mut *tx, sql).await?;
        tx.state = State::Open;
        Ok(tx)
    }

    /// Commits. The work is durable when this returns `Ok`.
    ///
    /// # Errors
    /// Those of the database; Internal when an earlier statement had failed and the code went on
    /// as if it had not (Postgres would answer that COMMIT with a silent rollback).
    pub async fn commit(mut self) -> Result<()> {
        self.state = State::Changing;
        // In an aborted transaction the empty SELECT fails, so COMMIT is not reached.
        self.batch_execute("SELECT; COMMIT").await?;
        self.ended();
        crate::wake::ended(&mut self, true);
        Ok(())
    }

    /// Rolls back.
    ///
    /// # Errors
    /// Those of the database; the connection is then closed, which rolls back as well.
    pub async fn rollback(mut self) -> Result<()> {
        self.state = State::Changing;
        self.batch_execute("ROLLBACK").await?;
        self.ended();
        crate::wake::ended(&mut self, false);
        Ok(())
    }

    fn ended(&mut self) {
        forget_savepoints(self);
        self.state = State::Ended;
    }
}

impl Deref for Tx {
    type Target = AsyncPgConnection;

    fn deref(&self) -> &AsyncPgConnection {
        self.connection.as_ref().expect("only drop takes the connection")
    }
}

impl DerefMut for Tx {
    fn deref_mut(&mut self) -> &mut AsyncPgConnection {
        self.connection.as_mut().expect("only drop takes the connection")
    }
}

impl Drop for Tx {
    fn drop(&mut self) {
        let Some(connection) = self.connection.take() else {
            return;
        };
        match (self.state, Handle::try_current()) {
            (State::Ended, _) => drop(connection),
            (State::Open, Ok(runtime)) => drop(runtime.spawn(roll_back_or_close(connection))),
            _ => drop(Object::take(connection)),
        }
    }
}

/// Tells the connection's own bookkeeping, which counts savepoints, that it is out of all.
fn forget_savepoints(connection: &mut AsyncPgConnection) {
    let status = AnsiTransactionManager::transaction_manager_status_mut(connection);
    *status = diesel::connection::TransactionManagerStatus::default();
}

async fn roll_back_or_close(mut connection: Object<AsyncPgConnection>) {
    // Not diesel's own rollback: inside of a savepoint that leaves the transaction open.
    let rollback = connection.batch_execute("ROLLBACK");
    match tokio::time::timeout(ROLLBACK_PATIENCE, rollback).await {
        Ok(Ok(())) => {
            forget_savepoints(&mut connection);
            crate::wake::ended(&mut connection, false);
        }
        _ => {
            // A statement is still running; end it on the server too, or its locks stay.
            let cancel = connection.cancel_token();
            drop(Object::take(connection));
            if let Err(error) = cancel.cancel_query(tokio_postgres::NoTls).await {
                tracing::debug!(%error, "an abandoned statement could not be cancelled");
            }
        }
    }
}

/// Fixes the error type of a transaction's body for type inference.
#[doc(hidden)]
pub fn typed<T, F: Future<Output = Result<T>>>(body: F) -> F {
    body
}

/// Ends `tx` as `result` says; `Continue` asks for another round after a lost race.
#[doc(hidden)]
pub async fn settle<T>(tx: Tx, result: Result<T>, round: &mut u32) -> ControlFlow<Result<T>> {
    let result = match result {
        Ok(value) => tx.commit().await.map(|()| value),
        Err(error) => {
            // The body's error is what the caller must hear; a failed rollback closes the connection.
            if let Err(rollback) = tx.rollback().await {
                tracing::debug!(error = %rollback.chain(), "a rollback failed");
            }
            Err(error)
        }
    };
    match result {
        Err(error) if error.is_serialization_failure() && *round < RETRIES => {
            *round += 1;
            metrics::counter!("pulseops_db_transaction_retries_total").increment(1);
            tokio::time::sleep(Duration::from_millis(5 << *round)).await;
            ControlFlow::Continue(())
        }
        result => ControlFlow::Break(result),
    }
}
