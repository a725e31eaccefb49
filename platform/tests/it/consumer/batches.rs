//! How large batches are, and how they end.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use diesel_async::AsyncPgConnection;
use platform::bus::Delivered;
use platform::consumer::{After, BatchCtx, Handler, Options};
use platform::error::{Error, Result};

use super::{TOPIC, World, step_until};

/// Answers each call by its number, from 1, and its batch; notes how many records came in each.
struct Scripted<F> {
    answer: F,
    batches: Mutex<Vec<usize>>,
}

impl<F: Fn(usize, &[Delivered]) -> Result<()>> Scripted<F> {
    fn new(answer: F) -> Arc<Self> {
        Arc::new(Self { answer, batches: Mutex::default() })
    }

    fn batches(&self) -> Vec<usize> {
        self.batches.lock().expect("no panic holds it").clone()
    }
}

#[async_trait]
impl<F> Handler for Scripted<F>
where
    F: Fn(usize, &[Delivered]) -> Result<()> + Send + Sync + 'static,
{
    async fn handle(&self, _: &BatchCtx, _: &mut AsyncPgConnection, batch: &[Delivered]) -> Result<After> {
        let call = {
            let mut batches = self.batches.lock().expect("no panic holds it");
            batches.push(batch.len());
            batches.len()
        };
        (self.answer)(call, batch).map(|()| After::none())
    }
}

/// Two who insert the same key at the same time: the second one finds the row when it looks again.
#[tokio::test]
async fn a_lost_race_is_no_dead_letter() {
    let world = World::new().await;
    let handler = Scripted::new(|call, _| match call {
        1 => Err(Error::conflict("already_exists", "somebody was faster")),
        _ => Ok(()),
    });
    let mut consumer = world.consumer("races", Arc::clone(&handler) as _).await;
    world.append(&[("a", 1, "")]).await;
    step_until(&mut consumer, async || handler.batches().len() == 2).await;
    assert!(world.letters().await.is_empty());
}

#[tokio::test]
async fn a_batch_that_is_too_much_at_once_comes_in_smaller_ones() {
    let world = World::new().await;
    let handler = Scripted::new(|_, batch| match batch.len() {
        0..=3 => Ok(()),
        _ => Err(Error::timeout("database_timeout", "the database took too long")),
    });
    let mut consumer = world.consumer("heavy", Arc::clone(&handler) as _).await;
    world.append(&[("a", 0, ""); 20]).await;
    let small = |batches: &[usize]| batches.iter().filter(|size| **size <= 3).sum::<usize>();
    step_until(&mut consumer, async || small(&handler.batches()) == 20).await;
}

#[tokio::test]
async fn a_batch_ends_when_it_is_work_enough() {
    let world = World::new().await;
    let handler = Scripted::new(|_, batch| {
        let (began, work) =
            (Instant::now(), Duration::from_millis(1) * u32::try_from(batch.len()).expect("small"));
        while began.elapsed() < work {
            std::hint::spin_loop();
        }
        Ok(())
    });
    let options = Options { max_records: 200, ..Options::default() };
    let made = world.group().consumer("busy", &TOPIC, options, Arc::clone(&handler) as _).await;
    let mut consumer = made.expect("the consumer");
    world.append(&[("a", 0, ""); 600]).await;
    step_until(&mut consumer, async || handler.batches().iter().sum::<usize>() == 600).await;
    let batches = handler.batches();
    assert_eq!(batches[0], 200, "nothing is known yet");
    assert!(batches[1..].iter().all(|size| *size <= 40), "{batches:?}");
}

/// Takes two records at a time, as if each were dear; notes the partition and offsets of each turn.
#[derive(Default)]
struct Dear(Mutex<Vec<(i32, Vec<i64>)>>);

impl Dear {
    fn turns(&self) -> Vec<(i32, Vec<i64>)> {
        self.0.lock().expect("no panic holds it").clone()
    }
}

#[async_trait]
impl Handler for Dear {
    async fn handle(&self, cx: &BatchCtx, _: &mut AsyncPgConnection, batch: &[Delivered]) -> Result<After> {
        let taken: Vec<i64> = batch.iter().map(|record| record.offset).take(2).collect();
        let after = After::none().of_first(taken.len());
        self.0.lock().expect("no panic holds it").push((cx.partition, taken));
        Ok(after)
    }
}

#[tokio::test]
async fn a_handler_that_has_worked_enough_goes_on_after_the_others() {
    let world = World::new().await;
    let handler = Arc::new(Dear::default());
    let mut consumer = world.consumer("dear", Arc::clone(&handler) as _).await;
    let key = |partition| {
        let keys = (0..).map(|n| format!("key {n}"));
        keys.into_iter().find(|key| TOPIC.partition_for(key.as_bytes()) == partition).expect("one of them")
    };
    for partition in 0..TOPIC.partitions {
        world.append_to(&TOPIC, &key(partition), &[("a", 0, ""); 5]).await;
    }
    step_until(&mut consumer, async || handler.turns().len() == 6).await;
    let turns = [vec![0, 1], vec![2, 3], vec![4]];
    let expected: Vec<_> = turns.iter().flat_map(|turn| [(0, turn.clone()), (1, turn.clone())]).collect();
    assert_eq!(handler.turns(), expected, "each record once, and nobody twice in a row");
    let positions = "SELECT array_agg(next ORDER BY partition) FROM pulseops_bare.positions";
    let row = world.db.admin().await.query_one(positions, &[]).await.expect("positions");
    assert_eq!(row.get::<_, Vec<i64>>(0), [5, 5]);
}

/// Each turn is a transaction of its own: what was taken stays, though the next turn fails.
#[tokio::test]
async fn what_a_short_batch_has_taken_is_committed() {
    let world = World::new().await;
    let dear = Arc::new(Dear::default());
    let mut consumer = world.consumer("short", Arc::clone(&dear) as _).await;
    world.append(&[("a", 0, ""); 5]).await;
    step_until(&mut consumer, async || !dear.turns().is_empty()).await;
    drop(consumer);
    world.db.advance(Duration::from_secs(4)).await;
    let next = Scripted::new(|_, _| Ok(()));
    let mut consumer = world.consumer("short", Arc::clone(&next) as _).await;
    step_until(&mut consumer, async || !next.batches().is_empty()).await;
    assert_eq!((dear.turns().len(), next.batches()), (1, vec![3]));
}
