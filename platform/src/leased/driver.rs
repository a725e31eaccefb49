use std::collections::HashMap;
use std::future::pending;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use futures::FutureExt;
use tokio::task::{Id, JoinError, JoinHandle, JoinSet};
use tokio::time::{Instant, MissedTickBehavior};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::claims::{self, Found, Lane};
use super::slots::{Kind, Left, Room, Slots, Taken};
use super::{Claim, Handle, LEASE_LOST, Work, wake_name};
use crate::consumer::panic_text;
use crate::ctx::OrgId;
use crate::db::Db;
use crate::error::{Error, Result};
use crate::source::Source;
use crate::wake::{Progress, Subscription};

/// The net beneath wake-ups and known due times.
const LOOK_EVERY: Duration = Duration::from_millis(250);
const RENEW_EVERY: Duration = Duration::from_secs(1);
/// How often the oldest unfinished row is looked up. Between two such looks nothing is searched for
/// below it, because the index may be full of finished rows there.
const BOUND_EVERY: Duration = Duration::from_secs(30);
const FIRST_PAUSE: Duration = Duration::from_millis(200);
const LONGEST_PAUSE: Duration = Duration::from_secs(60);
/// While the database does not answer. What was due meanwhile starts this late after it does again.
const LONGEST_LOOK_PAUSE: Duration = Duration::from_secs(2);
/// How long started steps may take to end after shutdown.
const GRACE: Duration = Duration::from_secs(14);
/// Claims that may wait for a slot, per slot. All of them are renewed each second, and no other
/// process can have them.
const WAITING_PER_SLOT: usize = 4;

/// Finds the due rows of one table and steps them, some at a time, in turns between organizations.
pub struct Driver<W> {
    db: Db,
    work: Arc<W>,
    source: Source,
    handle: Handle,
    taken: Taken,
    running: JoinSet<()>,
    started: HashMap<Id, (Claim, Kind)>,
    woken: Subscription,
    low: DateTime<Utc>,
    bound_at: Instant,
    /// The organization that the last look ended with.
    turn: OrgId,
    /// Whose rows the last look may have left.
    left: Left,
    look_at: Instant,
    failures: u32,
}

/// What a driver has asked the database and not heard yet. It starts steps meanwhile: they need
/// nobody's answer.
#[derive(Default)]
struct Asked {
    look: Option<JoinHandle<Result<Look>>>,
    renewal: Option<JoinHandle<()>>,
}

/// What a look found, and the bound it was made with.
struct Look {
    found: Found,
    room: Room,
    /// A bound that was looked up on the way.
    low: Option<DateTime<Utc>>,
}

impl<W: Work> Driver<W> {
    const LANE: Lane = Lane { table: W::TABLE, only: W::ONLY };

    /// A driver of `work`'s rows behind `db`, stepping as many at a time as there are `slots`. Those
    /// who insert rows hold clones of `handle`.
    pub fn new(db: &Db, work: Arc<W>, source: &Source, handle: Handle, slots: impl Into<Slots>) -> Self {
        let (now, taken) = (Instant::now(), Taken::new(slots.into()));
        handle.0.limit.store(taken.limit() * WAITING_PER_SLOT, Ordering::Relaxed);
        Self {
            db: db.clone(),
            work,
            source: source.clone(),
            handle,
            taken,
            running: JoinSet::new(),
            started: HashMap::new(),
            woken: db.wakes().subscribe(&wake_name(W::TABLE)),
            low: DateTime::<Utc>::MIN_UTC,
            bound_at: now,
            turn: OrgId(Uuid::nil()),
            left: Left::default(),
            look_at: now,
            failures: 0,
        }
    }

    /// Steps everything that is due now, as far as it can be taken at once, and waits for it.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn step(&mut self) -> Result<Progress> {
        self.start_queued();
        let mut next = None;
        if self.taken.has_room_for_due() {
            let look = self.look().await?;
            next = look.found.next_in;
            self.looked(look);
        }
        let worked = !self.running.is_empty();
        while let Some(ended) = self.running.join_next_with_id().await {
            self.ended(ended);
        }
        Ok(if worked { Progress::Worked } else { Progress::Idle { next } })
    }

    /// Drives until `shutdown`; then steps that have begun may end, the others are given back.
    ///
    /// # Errors
    /// None; the type fits the lifecycle.
    pub async fn run(mut self, shutdown: CancellationToken) -> Result<()> {
        let handle = self.handle.clone();
        let mut renew = tokio::time::interval_at(Instant::now() + RENEW_EVERY, RENEW_EVERY);
        renew.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut asked = Asked::default();
        while !shutdown.is_cancelled() {
            self.start_queued();
            self.give_surplus_back();
            let may_look = asked.look.is_none() && self.taken.has_room_for_due();
            if may_look && Instant::now() >= self.look_at {
                self.woken.clear();
                asked.look = Some(tokio::spawn(self.look()));
                continue;
            }
            tokio::select! {
                biased;
                () = shutdown.cancelled() => break,
                Some(ended) = self.running.join_next_with_id() => self.ended(ended),
                () = handle.0.filled.notified() => {}
                look = answer(&mut asked.look) => self.heard(look),
                _ = answer(&mut asked.renewal) => {}
                _ = renew.tick(), if asked.renewal.is_none() => asked.renewal = self.renewal(),
                () = self.woken.changed(), if may_look && self.failures == 0 => self.look_at = Instant::now(),
                () = tokio::time::sleep_until(self.look_at), if may_look => {}
            }
        }
        self.drain(asked).await;
        Ok(())
    }

    /// Starts what waits, up to the slots that are kept for rows that come due.
    fn start_queued(&mut self) {
        loop {
            let taken = &self.taken;
            let next = self.handle.queue().take(|org, kind, others| taken.may(org, kind, others));
            let Some((claim, kind)) = next else { return };
            self.start(claim, kind);
        }
    }

    fn start(&mut self, claim: Claim, kind: Kind) {
        let (db, work, source) = (self.db.clone(), Arc::clone(&self.work), self.source.clone());
        let task = self.running.spawn(async move { perform(&db, &*work, &source, claim).await });
        self.started.insert(task.id(), (claim, kind));
        self.taken.take(claim.org, kind);
        self.show();
    }

    fn ended(&mut self, ended: std::result::Result<(Id, ()), JoinError>) {
        let id = ended.map_or_else(|error| error.id(), |(id, ())| id);
        if let Some((Claim { org, .. }, kind)) = self.started.remove(&id) {
            self.taken.give_back(org, kind);
            let others_wait = self.handle.queue().others_wait(org);
            let more = self.left.may_be_of(org) && self.taken.is_worth_a_look(org, others_wait);
            if more && self.failures == 0 {
                self.look_at = Instant::now();
            }
        }
        self.show();
    }

    fn show(&self) {
        metrics::gauge!("pulseops_leased_in_flight", "work" => W::NAME).set(self.taken.count() as f64);
        metrics::gauge!("pulseops_leased_waiting", "work" => W::NAME).set(self.handle.queue().len() as f64);
    }

    /// Claims due rows, as many as there are slots for.
    fn look(&self) -> impl Future<Output = Result<Look>> + Send + 'static {
        let (db, low, turn, room) = (self.db.clone(), self.low, self.turn, self.room());
        let raise = Instant::now() >= self.bound_at;
        async move {
            let raised = if raise { Some(claims::lower_bound(&db, Self::LANE).await?) } else { None };
            let low = raised.unwrap_or(low);
            let found = claims::claim(&db, Self::LANE, low, turn, &room).await?;
            crate::failpoint!("leased.after_claim");
            Ok(Look { found, room, low: raised })
        }
    }

    fn room(&self) -> Room {
        let (taken, queue) = (&self.taken, self.handle.queue());
        let room_of = |org| taken.room_of(org, queue.others_wait(org)).saturating_sub(queue.due_of(org));
        let of = taken.orgs().chain(queue.orgs()).map(|org| (org, room_of(org))).collect();
        Room { all: taken.free(), each: room_of(OrgId(Uuid::nil())), of }
    }

    /// Starts what was found, or lets it wait for its organization's turn.
    fn looked(&mut self, look: Look) {
        if let Some(low) = look.low {
            self.low = low;
            self.bound_at = Instant::now() + BOUND_EVERY;
        }
        let Found { claims, next_in } = look.found;
        self.left = look.room.left_by(&claims);
        let in_turn = |org: &OrgId| (*org <= self.turn, *org);
        self.turn = claims.iter().map(|claim| claim.org).max_by_key(in_turn).unwrap_or(self.turn);
        metrics::counter!("pulseops_leased_claims_total", "work" => W::NAME).increment(claims.len() as u64);
        for claim in claims {
            let others_wait = self.handle.queue().others_wait(claim.org);
            if self.taken.may(claim.org, Kind::Due, others_wait) {
                self.start(claim, Kind::Due);
            } else {
                self.handle.queue().push(claim, Kind::Due);
            }
        }
        let again = self.left.look_again;
        let pause = if again { Duration::ZERO } else { next_in.unwrap_or(LOOK_EVERY).min(LOOK_EVERY) };
        self.look_at = Instant::now() + pause;
    }

    fn heard(&mut self, look: std::result::Result<Result<Look>, JoinError>) {
        match look.unwrap_or_else(|error| Err(Error::internal(error))) {
            Ok(look) => {
                self.failures = 0;
                self.looked(look);
            }
            Err(error) => {
                tracing::warn!(work = W::NAME, error = %error.chain(), "due work was not looked for");
                self.failures += 1;
                self.look_at = Instant::now() + pause_after(self.failures).min(LONGEST_LOOK_PAUSE);
            }
        }
    }

    /// Prolongs the leases of what runs and what waits.
    fn renewal(&self) -> Option<JoinHandle<()>> {
        let mut all: Vec<Claim> = self.started.values().map(|(claim, _)| *claim).collect();
        all.extend(self.handle.queue().all());
        if all.is_empty() {
            return None;
        }
        let db = self.db.clone();
        Some(tokio::spawn(async move {
            if let Err(error) = claims::renew(&db, W::TABLE, &all).await {
                tracing::warn!(work = W::NAME, error = %error.chain(), "leases were not renewed");
            }
        }))
    }

    fn give_surplus_back(&self) {
        let surplus = self.handle.surplus();
        if !surplus.is_empty() {
            let db = self.db.clone();
            tokio::spawn(async move {
                give_back::<W>(&db, &surplus).await;
                db.wakes().notify(&wake_name(W::TABLE));
            });
        }
    }

    async fn drain(&mut self, mut asked: Asked) {
        let mut waiting = self.handle.queue().drain();
        waiting.extend(self.handle.surplus());
        give_back::<W>(&self.db, &waiting).await;
        let until = Instant::now() + GRACE;
        let mut renew = tokio::time::interval(RENEW_EVERY);
        while !self.running.is_empty() || asked.look.is_some() {
            tokio::select! {
                Some(ended) = self.running.join_next_with_id() => self.ended(ended),
                Ok(Ok(look)) = answer(&mut asked.look) => give_back::<W>(&self.db, &look.found.claims).await,
                _ = answer(&mut asked.renewal) => {}
                _ = renew.tick(), if asked.renewal.is_none() => asked.renewal = self.renewal(),
                () = tokio::time::sleep_until(until) => {
                    tracing::warn!(work = W::NAME, steps = self.running.len(), "steps were broken off");
                    self.running.abort_all();
                    return;
                }
            }
        }
    }
}

/// The outcome of a task, once there is one; it can be waited for again and again.
async fn answer<T>(task: &mut Option<JoinHandle<T>>) -> std::result::Result<T, JoinError> {
    match task {
        Some(running) => {
            let outcome = running.await;
            *task = None;
            outcome
        }
        None => pending().await,
    }
}

async fn give_back<W: Work>(db: &Db, claims: &[Claim]) {
    if !claims.is_empty()
        && let Err(error) = claims::release(db, W::TABLE, claims).await
    {
        tracing::debug!(work = W::NAME, error = %error.chain(), "leases end by themselves");
    }
}

async fn perform<W: Work>(db: &Db, work: &W, source: &Source, claim: Claim) {
    let step = AssertUnwindSafe(work.step(claim)).catch_unwind().await;
    let result = step.unwrap_or_else(|panic| Err(Error::internal(panic_text(&*panic))));
    let outcome = match &result {
        Ok(()) => "finished",
        Err(error) if error.code == LEASE_LOST => "lost",
        Err(_) => "failed",
    };
    metrics::counter!("pulseops_leased_steps_total", "work" => W::NAME, "outcome" => outcome).increment(1);
    let Err(error) = result else { return };
    if outcome == "lost" {
        tracing::info!(work = W::NAME, row.id = %claim.id, epoch = claim.epoch, "the lease was lost");
        return;
    }
    let pause = source.jitter(pause_after(claim.attempts.unsigned_abs()), 0.2);
    tracing::warn!(
        work = W::NAME,
        row.id = %claim.id,
        attempts = claim.attempts,
        pause_ms = pause.as_millis() as u64,
        error = %error.chain(),
        "a step failed and will be tried again"
    );
    let at = source.now() + TimeDelta::from_std(pause).unwrap_or(TimeDelta::zero());
    if let Err(error) = claims::retry(db, W::TABLE, &claim, at).await {
        tracing::warn!(work = W::NAME, row.id = %claim.id, error = %error.chain(), "it waits for its lease to end");
    }
}

fn pause_after(failures: u32) -> Duration {
    FIRST_PAUSE.saturating_mul(1 << failures.saturating_sub(1).min(16)).min(LONGEST_PAUSE)
}
