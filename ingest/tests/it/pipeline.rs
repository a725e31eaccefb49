use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use futures::FutureExt as _;
use ingest::{Limits, NotWritten, Pipeline, Refused, Silent, Sink, Weigh};
use proptest::prelude::*;
use tokio::sync::Semaphore;

#[derive(Clone, Debug, PartialEq)]
struct Item(u32);

impl Weigh for Item {
    fn weight(&self) -> usize {
        10
    }
}

/// Keeps what it was given; a write waits for a permit and fails when it holds a poisoned item.
struct Store {
    written: Mutex<Vec<Vec<u32>>>,
    permits: Semaphore,
    poison: Option<u32>,
}

impl Store {
    fn new(permits: usize, poison: Option<u32>) -> Arc<Self> {
        Arc::new(Self { written: Mutex::default(), permits: Semaphore::new(permits), poison })
    }

    fn batches(&self) -> Vec<Vec<u32>> {
        self.written.lock().expect("no panic holds it").clone()
    }
}

impl Sink<Item> for Store {
    type Error = &'static str;

    async fn write(&self, batch: Vec<Item>) -> Result<(), Self::Error> {
        self.permits.acquire().await.expect("never closed").forget();
        if batch.iter().any(|item| Some(item.0) == self.poison) {
            return Err("poisoned");
        }
        self.written.lock().expect("no panic holds it").push(batch.into_iter().map(|item| item.0).collect());
        Ok(())
    }
}

const MANY: usize = 1_000_000;

fn limits() -> Limits {
    Limits { items: 8, bytes: 1_000, batch_items: 6, batch_bytes: 1_000, retry_after: Duration::from_secs(1) }
}

fn items(numbers: &[u32]) -> Vec<Item> {
    numbers.iter().copied().map(Item).collect()
}

#[tokio::test]
async fn what_waits_becomes_one_write() {
    let store = Store::new(MANY, None);
    let (pipeline, worker) = Pipeline::new(store.clone(), limits(), Arc::new(Silent));
    let acks: Vec<_> =
        [&[1, 2][..], &[3], &[4, 5, 6], &[7]].iter().map(|n| pipeline.submit(items(n)).unwrap()).collect();
    pipeline.close();
    worker.run().await;
    for ack in acks {
        assert_eq!(ack.durable().await, Ok(()));
    }
    assert_eq!(store.batches(), [vec![1, 2, 3, 4, 5, 6], vec![7]]);
}

#[tokio::test]
async fn a_full_buffer_refuses_until_the_write_is_done() {
    let store = Store::new(0, None);
    let (pipeline, mut worker) = Pipeline::new(store.clone(), limits(), Arc::new(Silent));
    let first = pipeline.submit(items(&[1, 2, 3, 4, 5, 6, 7, 8])).unwrap();
    let refused = Refused::Full { retry_after: Duration::from_secs(1) };
    assert_eq!(pipeline.submit(items(&[9])).err(), Some(refused));
    let writing = tokio::spawn(async move {
        worker.step().await;
        worker
    });
    assert_eq!(pipeline.submit(items(&[9])).err(), Some(refused), "in flight counts");
    store.permits.add_permits(1);
    first.durable().await.unwrap();
    let worker = writing.await.unwrap();
    let second = pipeline.submit(items(&[9])).unwrap();
    store.permits.add_permits(1);
    pipeline.close();
    worker.run().await;
    second.durable().await.unwrap();
}

#[tokio::test]
async fn a_failed_write_is_told_to_its_requests_only() {
    let store = Store::new(MANY, Some(2));
    let (pipeline, mut worker) = Pipeline::new(store.clone(), limits(), Arc::new(Silent));
    let together = [pipeline.submit(items(&[1])).unwrap(), pipeline.submit(items(&[2])).unwrap()];
    worker.step().await;
    for ack in together {
        assert_eq!(ack.durable().await, Err(NotWritten::Failed("poisoned")));
    }
    let later = pipeline.submit(items(&[3])).unwrap();
    worker.step().await;
    assert_eq!(later.durable().await, Ok(()));
    assert_eq!(store.batches(), [vec![3]]);
}

#[tokio::test]
async fn closing_drains_and_refuses() {
    let store = Store::new(MANY, None);
    let (pipeline, worker) = Pipeline::new(store.clone(), limits(), Arc::new(Silent));
    let ack = pipeline.submit(items(&[1, 2])).unwrap();
    pipeline.close();
    assert_eq!(pipeline.submit(items(&[3])).err(), Some(Refused::Closed));
    worker.run().await;
    assert_eq!(ack.durable().await, Ok(()));
    assert_eq!(pipeline.waiting(), 0);
}

#[tokio::test]
async fn a_request_larger_than_the_buffer_is_told_so() {
    let (pipeline, _worker) = Pipeline::new(Store::new(0, None), limits(), Arc::new(Silent));
    assert_eq!(pipeline.submit(items(&[0; 9])).err(), Some(Refused::TooLarge));
}

#[tokio::test]
async fn a_last_worker_that_dies_leaves_nobody_waiting() {
    let store = Store::new(0, None);
    let (pipeline, mut worker) = Pipeline::new(store.clone(), limits(), Arc::new(Silent));
    let in_flight = pipeline.submit(items(&[1, 2, 3, 4, 5, 6])).unwrap();
    let waiting = pipeline.submit(items(&[7])).unwrap();
    // It is in the middle of a write that does not come back.
    assert!(worker.step().now_or_never().is_none());
    drop(worker);
    assert_eq!(in_flight.durable().await, Err(NotWritten::Abandoned));
    assert_eq!(waiting.durable().await, Err(NotWritten::Abandoned));
    assert_eq!(pipeline.waiting(), 0);
    assert_eq!(pipeline.submit(items(&[8])).err(), Some(Refused::Closed));
    assert!(store.batches().is_empty());
}

#[tokio::test]
async fn the_others_go_on_when_a_worker_dies() {
    let store = Store::new(0, None);
    let (pipeline, mut first) = Pipeline::new(store.clone(), limits(), Arc::new(Silent));
    let second = pipeline.worker(store.clone());
    let lost = pipeline.submit(items(&[1, 2, 3, 4, 5, 6])).unwrap();
    assert!(first.step().now_or_never().is_none());
    drop(first);
    assert_eq!(lost.durable().await, Err(NotWritten::Abandoned));
    // The room of what was in flight is free again.
    let taken = pipeline.submit(items(&[7, 8, 9])).unwrap();
    store.permits.add_permits(1);
    pipeline.close();
    second.run().await;
    assert_eq!(taken.durable().await, Ok(()));
}

proptest! {
    /// Whatever was acknowledged was written once and in one piece; whatever was refused was not.
    #[test]
    fn acknowledged_means_written_once(requests in prop::collection::vec(1_usize..7, 1..60), workers in 1_usize..4) {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).build().unwrap();
        runtime.block_on(async move {
            let store = Store::new(MANY, None);
            let (pipeline, first) = Pipeline::new(store.clone(), limits(), Arc::new(Silent));
            let mut running = vec![tokio::spawn(first.run())];
            running.extend((1..workers).map(|_| tokio::spawn(pipeline.worker(store.clone()).run())));
            let mut next = 0;
            let mut acknowledged = Vec::new();
            for size in requests {
                let numbers: Vec<u32> = (0..size).map(|_| { next += 1; next }).collect();
                match pipeline.submit(items(&numbers)) {
                    Ok(ack) => acknowledged.push((numbers, ack)),
                    Err(_) => tokio::task::yield_now().await,
                }
            }
            pipeline.close();
            let mut expected = Vec::new();
            for (numbers, ack) in acknowledged {
                ack.durable().await.unwrap();
                assert!(store.batches().iter().any(|batch| batch.windows(numbers.len()).any(|run| run == numbers)));
                expected.extend(numbers);
            }
            for worker in running {
                worker.await.unwrap();
            }
            let mut written: Vec<u32> = store.batches().into_iter().flatten().collect();
            written.sort_unstable();
            assert_eq!(written, expected);
        });
    }
}
