//! Wake-ups between processes. NOTIFY takes a lock of the whole cluster through its commit, so it
//! never stands in a data transaction: one connection of its own sends it, without waiting for the
//! disk, at most once a topic and millisecond, and only while another process listens.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::{Notify, mpsc};
use tokio::time::{Instant, MissedTickBehavior};
use tokio_postgres::{AsyncMessage, Client, NoTls, Notification};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::wake_name;
use crate::db::Db;
use crate::error::{Error, Result};
use crate::wake::Wakes;

/// The channel; the payload is a topic, or empty when a process comes.
const CHANNEL: &str = "pulseops_bus";
const PAUSE: Duration = Duration::from_millis(1);
const BEAT_EVERY: Duration = Duration::from_secs(5);
const RECONNECT_AFTER: Duration = Duration::from_secs(1);

const BEAT: &str = "
WITH gone AS (DELETE FROM processes WHERE seen_at < pulseops.now() - interval '1 minute'),
me AS (INSERT INTO processes (id, seen_at) VALUES ($1::text::uuid, pulseops.now())
       ON CONFLICT (id) DO UPDATE SET seen_at = excluded.seen_at)
SELECT count(*) FROM processes
WHERE id <> $1::text::uuid AND seen_at > pulseops.now() - interval '15 seconds'";

pub(super) struct Notifier {
    db: Db,
    process: Uuid,
    wakes: Wakes,
    others: AtomicBool,
    waiting: Mutex<BTreeSet<String>>,
    filled: Notify,
}

impl Notifier {
    pub(super) fn new(db: &Db, process: Uuid, wakes: Wakes) -> Self {
        Self {
            db: db.clone(),
            process,
            wakes,
            others: AtomicBool::new(false),
            waiting: Mutex::default(),
            filled: Notify::new(),
        }
    }

    /// Tells other processes, soon, that `topic` has grown.
    pub(super) fn tell(&self, topic: &str) {
        if !self.others.load(Ordering::Relaxed) {
            return;
        }
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        if !waiting.contains(topic) {
            waiting.insert(topic.to_owned());
            self.filled.notify_one();
        }
    }

    /// Listens and tells until `shutdown`; a lost connection is made anew.
    pub(super) async fn run(&self, shutdown: CancellationToken) {
        loop {
            match self.session(&shutdown).await {
                Ok(()) => return,
                Err(error) => {
                    tracing::warn!(error = %error.chain(), "wake-ups between processes are down; polling goes on");
                }
            }
            self.others.store(false, Ordering::Relaxed);
            let pause = tokio::time::sleep(RECONNECT_AFTER);
            if shutdown.run_until_cancelled(pause).await.is_none() {
                return;
            }
        }
    }

    async fn session(&self, shutdown: &CancellationToken) -> Result<()> {
        let (client, mut heard) = self.connect().await?;
        let own: i32 = client.query_one("SELECT pg_backend_pid()", &[]).await?.get(0);
        // What came while nobody listened.
        self.wakes.notify_all();
        self.beat(&client).await?;
        notify(&client, &[String::new()]).await?;
        let mut beat = tokio::time::interval_at(Instant::now() + BEAT_EVERY, BEAT_EVERY);
        beat.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                () = shutdown.cancelled() => return self.leave(&client).await,
                _ = beat.tick() => self.beat(&client).await?,
                () = self.filled.notified() => {
                    self.send(&client).await?;
                    // What comes meanwhile goes together.
                    tokio::time::sleep(PAUSE).await;
                }
                message = heard.recv() => match message {
                    Some(message) if message.process_id() == own => {}
                    Some(message) if message.payload().is_empty() => self.beat(&client).await?,
                    Some(message) => self.wakes.notify(&wake_name(message.payload())),
                    None => return Err(Error::unavailable("bus_unavailable", "the listening connection ended")),
                },
            }
        }
    }

    async fn connect(&self) -> Result<(Client, mpsc::UnboundedReceiver<Notification>)> {
        let (client, mut connection) = self.db.raw().connect(NoTls).await?;
        let (tell, heard) = mpsc::unbounded_channel();
        tokio::spawn(async move {
            // Ends with the client, with the server, or when nobody hears any more.
            while let Some(Ok(message)) = futures::future::poll_fn(|cx| connection.poll_message(cx)).await {
                if let AsyncMessage::Notification(notification) = message
                    && tell.send(notification).is_err()
                {
                    break;
                }
            }
        });
        let setup = format!("{}; SET synchronous_commit = off; LISTEN {CHANNEL}", self.db.become_role());
        client.batch_execute(&setup).await?;
        Ok((client, heard))
    }

    async fn beat(&self, client: &Client) -> Result<()> {
        let others: i64 = client.query_one(BEAT, &[&self.process.to_string()]).await?.get(0);
        self.others.store(others > 0, Ordering::Relaxed);
        Ok(())
    }

    async fn send(&self, client: &Client) -> Result<()> {
        let topics = {
            let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
            std::mem::take(&mut *waiting)
        };
        let topics: Vec<String> = topics.into_iter().collect();
        metrics::counter!("pulseops_bus_notifications_total").increment(topics.len() as u64);
        notify(client, &topics).await
    }

    async fn leave(&self, client: &Client) -> Result<()> {
        const LEAVE: &str = "DELETE FROM processes WHERE id = $1::text::uuid";
        client.execute(LEAVE, &[&self.process.to_string()]).await?;
        Ok(())
    }
}

async fn notify(client: &Client, topics: &[String]) -> Result<()> {
    const NOTIFY: &str = "SELECT pg_notify($1, topic) FROM unnest($2::text[]) AS topic";
    client.query(NOTIFY, &[&CHANNEL, &topics]).await?;
    Ok(())
}
