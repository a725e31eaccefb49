use std::sync::mpsc;

use futures::FutureExt;
use tokio::sync::oneshot;
use uuid::Uuid;

use super::*;

fn org(number: u128) -> OrgId {
    OrgId(Uuid::from_u128(number))
}

fn room() -> Room {
    Room::new(&IntakeConfig::default())
}

fn refused<T>(answer: Result<T>) -> bool {
    answer.is_err_and(|error| error.code == "intake_full")
}

#[tokio::test]
async fn work_whose_request_is_gone_takes_up_room_until_it_ends() {
    let room = room();
    let free = |stage: &Stage| stage.all.available_permits();
    let (bodies, cores) = (free(&room.arriving), free(&room.reading));
    let (begun, has_begun) = oneshot::channel();
    let (end, ends) = mpsc::channel::<()>();
    let arrived = room.receive(org(1)).await.expect("room");
    let request = tokio::spawn({
        let room = room.clone();
        async move {
            let work = move || {
                begun.send(()).expect("awaited");
                ends.recv()
            };
            room.read(org(1), Some(arrived), work).await.map(drop)
        }
    });
    has_begun.await.expect("the work begins");
    request.abort();
    assert!(request.await.is_err_and(|error| error.is_cancelled()));
    assert_eq!((free(&room.arriving), free(&room.reading)), (bodies - 1, cores - 1));

    end.send(()).expect("the work goes on");
    let all = u32::try_from(cores).expect("few");
    let all = timeout(Duration::from_secs(15), room.reading.all.acquire_many(all)).await;
    assert!(all.is_ok_and(|all| all.is_ok()), "it gives back what it took");
    assert_eq!(free(&room.arriving), bodies);
}

#[tokio::test]
async fn work_that_panics_gives_its_room_back() {
    let room = room();
    let cores = room.reading.all.available_permits();
    let answer: Result<()> = room.read(org(1), None, || panic!("a fault")).await;
    assert!(answer.is_err_and(|error| error.is_fault()));
    assert_eq!(room.reading.all.available_permits(), cores);
}

#[tokio::test]
async fn bodies_of_one_organization_leave_room_for_those_of_others() {
    let room = room();
    let mut arriving = Vec::new();
    for _ in 0..room.arriving.share {
        arriving.push(room.receive(org(1)).await.expect("its share"));
    }
    assert!(room.receive(org(1)).now_or_never().is_none(), "it waits");
    for other in 2..=3 {
        arriving.push(room.receive(org(other)).now_or_never().expect("at once").expect("another's share"));
    }
    arriving.remove(0);
    room.receive(org(1)).await.expect("its share again");
}

#[test]
fn what_was_read_is_bounded_by_its_size() {
    let room = room();
    let share = room.held.share as usize;
    let first = room.hold(org(1), share - 10).expect("room");
    assert!(refused(room.hold(org(1), 11)));
    let second = room.hold(org(1), 10).expect("the rest of its share");
    let other = room.hold(org(2), 10).expect("another's share");
    drop((first, second));
    drop(room.hold(org(1), usize::MAX).expect("what is larger than a share takes all of it"));
    drop(other);
}

#[test]
fn shares_that_nobody_uses_are_forgotten() {
    let room = room();
    for number in 0..100 {
        drop(room.hold(org(number), 1));
    }
    assert_eq!(room.held.shares.lock().expect("sound").len(), 1);
}
