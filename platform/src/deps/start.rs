//! Starting what services are made of, under its name and in its stage.

use std::sync::Arc;
use std::time::Duration;

use super::Deps;
use crate::bus::TopicSpec;
use crate::consumer::{self, Consumers, Handler};
use crate::db::Db;
use crate::error::{Error, Result};
use crate::idempotency;
use crate::leased::{Driver, Handle, Slots, Work};
use crate::lifecycle::Stage;
use crate::outbox::Relay;

/// How often a service forgets idempotency keys whose time is over.
const HOUSEKEEPING_EVERY: Duration = Duration::from_secs(60);

impl Deps {
    /// The pool of `service`.
    ///
    /// # Errors
    /// Invalid, code `invalid_database_url`.
    pub fn db(&self, service: &str) -> Result<Db> {
        self.databases.open(service)
    }

    /// Starts the relay of the service behind `db`, and what keeps its mechanisms' tables small.
    pub fn relay(&self, db: &Db) {
        let relay = Relay::new(db, self.bus.clone(), &self.source);
        let name = format!("{}.relay", db.service());
        self.lifecycle.spawn(Stage::Relay, name, |shutdown| relay.run(shutdown));
        self.housekeeping(db);
    }

    /// Starts what forgets idempotency keys of the service behind `db`.
    pub fn housekeeping(&self, db: &Db) {
        let (name, db) = (format!("{}.housekeeping", db.service()), db.clone());
        self.every(HOUSEKEEPING_EVERY, name, move || {
            let db = db.clone();
            async move { idempotency::sweep(&db).await.map(drop) }
        });
    }

    /// Does `step` every so often beside the work, for the first time after `pause`; what fails comes
    /// again. A shutdown breaks it off: what it does must be whole at any moment.
    pub fn every<F>(
        &self,
        pause: Duration,
        name: impl Into<String>,
        step: impl Fn() -> F + Send + Sync + 'static,
    ) where
        F: Future<Output = Result<()>> + Send,
    {
        let name = name.into();
        let task = name.clone();
        self.lifecycle.spawn(Stage::Drivers, name, |shutdown| async move {
            while shutdown.run_until_cancelled(tokio::time::sleep(pause)).await.is_some() {
                if let Some(Err(error)) = shutdown.run_until_cancelled(step()).await {
                    tracing::warn!(task, error = error.chain(), "it failed and comes again");
                }
            }
            Ok::<(), Error>(())
        });
    }

    /// The consumers of `service`, whose leases are kept from now on.
    pub fn consumers(&self, service: &'static str, db: &Db) -> Consumers {
        let consumers = Consumers::new(service, db, self.bus.clone(), &self.source, &self.wakes);
        let keeper = consumers.clone();
        let name = format!("{service}.leases");
        self.lifecycle.spawn(Stage::Drivers, name, |shutdown| async move { keeper.run(shutdown).await });
        consumers
    }

    /// Makes the consumer `name` of `consumers` and starts it.
    ///
    /// # Errors
    /// Those of the bus and the database.
    pub async fn consume(
        &self,
        consumers: &Consumers,
        name: &'static str,
        topic: &TopicSpec,
        options: consumer::Options,
        handler: Arc<dyn Handler>,
    ) -> Result<()> {
        let consumer = consumers.consumer(name, topic, options, handler).await?;
        let name = format!("consumer.{name}");
        let stopped = self.stopped.clone();
        self.lifecycle.spawn(Stage::Consumers, name, |shutdown| stopped.run(consumer, shutdown));
        Ok(())
    }

    /// Starts the driver of `work`'s rows, stepping as many at a time as there are `slots`.
    pub fn drive<W: Work>(&self, db: &Db, work: Arc<W>, handle: Handle, slots: impl Into<Slots>) {
        let driver = Driver::new(db, work, &self.source, handle, slots);
        let name = format!("{}.{}", db.service(), W::NAME);
        self.lifecycle.spawn(Stage::Drivers, name, |shutdown| driver.run(shutdown));
    }
}
