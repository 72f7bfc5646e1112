use proptest::prelude::*;
use tokio::task::JoinSet;

use super::*;

fn name(text: &str) -> FunctionName {
    FunctionName::new(text).unwrap()
}

fn limits(account: u32, kept: u32) -> Arc<Concurrency> {
    Concurrency::new(&Settings {
        account_concurrency: account,
        kept_for_synchronous: kept,
        minimum_unreserved: 1,
        ..Settings::default()
    })
}

fn reserve(concurrency: &Arc<Concurrency>, reservations: &[(&str, u32)]) {
    let functions: Vec<_> = reservations
        .iter()
        .map(|(function, reserved)| Function {
            reserved_concurrency: Some(*reserved),
            ..crate::tests::function(function)
        })
        .collect();
    concurrency.set_reservations(&functions);
}

#[test]
fn a_synchronous_call_beyond_the_account_is_refused_at_once() {
    let concurrency = limits(2, 0);
    let held = [(); 2].map(|()| concurrency.try_acquire(&name("f")).unwrap());
    assert_eq!(
        concurrency.try_acquire(&name("g")).unwrap_err(),
        Throttle::Account
    );
    drop(held);
    assert!(concurrency.try_acquire(&name("g")).is_ok());
}

#[test]
fn a_reservation_is_both_ceiling_and_floor() {
    let concurrency = limits(4, 0);
    reserve(&concurrency, &[("f", 1)]);
    let _others = [(); 3].map(|()| concurrency.try_acquire(&name("g")).unwrap());
    assert!(concurrency.try_acquire(&name("g")).is_err());
    let _own = concurrency.try_acquire(&name("f")).unwrap();
    assert_eq!(
        concurrency.try_acquire(&name("f")).unwrap_err(),
        Throttle::Reserved
    );
}

#[test]
fn a_reservation_of_zero_switches_a_function_off() {
    let concurrency = limits(4, 0);
    reserve(&concurrency, &[("f", 0)]);
    assert_eq!(
        concurrency.try_acquire(&name("f")).unwrap_err(),
        Throttle::Reserved
    );
}

#[test]
fn reservations_leave_the_minimum_unreserved() {
    let concurrency = limits(10, 0);
    reserve(&concurrency, &[("f", 4)]);
    assert!(concurrency.check_reservation(&name("g"), 5).is_ok());
    let refused = concurrency.check_reservation(&name("g"), 6).unwrap_err();
    assert_eq!((refused.available, refused.minimum_unreserved), (5, 1));
    assert!(concurrency.check_reservation(&name("f"), 9).is_ok());
}

#[tokio::test]
async fn a_backlog_leaves_room_for_synchronous_calls() {
    let concurrency = limits(3, 2);
    let first = concurrency.acquire(&name("f")).await;
    let waiting = tokio_test_pending(&concurrency, "f").await;
    assert!(concurrency.try_acquire(&name("f")).is_ok());
    drop(first);
    drop(waiting.await.unwrap());
}

#[tokio::test]
async fn callers_that_wait_are_served_in_the_order_they_came() {
    let concurrency = limits(1, 0);
    let first = concurrency.acquire(&name("a")).await;
    let second = tokio_test_pending(&concurrency, "b").await;
    let third = tokio_test_pending(&concurrency, "c").await;
    drop(first);
    let permit = second.await.unwrap();
    assert!(!third.is_finished());
    drop(permit);
    drop(third.await.unwrap());
}

#[tokio::test]
async fn a_caller_that_gave_up_passes_its_turn_on() {
    let concurrency = limits(1, 0);
    let first = concurrency.acquire(&name("a")).await;
    let second = tokio_test_pending(&concurrency, "b").await;
    let third = tokio_test_pending(&concurrency, "c").await;
    second.abort();
    assert!(second.await.is_err());
    drop(first);
    drop(third.await.unwrap());
}

#[tokio::test]
async fn a_changed_reservation_lets_in_who_waited_for_it() {
    let concurrency = limits(4, 0);
    reserve(&concurrency, &[("f", 0)]);
    let waiting = tokio_test_pending(&concurrency, "f").await;
    reserve(&concurrency, &[("f", 1)]);
    drop(waiting.await.unwrap());
}

/// A task that waits for room, polled once.
async fn tokio_test_pending(
    concurrency: &Arc<Concurrency>,
    function: &str,
) -> tokio::task::JoinHandle<Permit> {
    let concurrency = Arc::clone(concurrency);
    let function = name(function);
    let task = tokio::spawn(async move { concurrency.acquire(&function).await });
    tokio::task::yield_now().await;
    assert!(!task.is_finished());
    task
}

proptest! {
    #[test]
    fn d2_in_flight_invocations_never_exceed_the_functions_concurrency(
        account in 2u32..8, kept in 0u32..3, reserved in 0u32..3,
        steps in proptest::collection::vec((0usize..2, 0usize..4), 1..80),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async {
            let concurrency = limits(account, kept);
            reserve(&concurrency, &[("f", reserved)]);
            let unreserved = account.saturating_sub(reserved).max(1) as usize;
            let functions = [name("f"), name("g")];
            let mut held: [Vec<Permit>; 2] = [Vec::new(), Vec::new()];
            let mut waiting = JoinSet::new();
            for (which, act) in steps {
                match act {
                    0 => held[which].extend(concurrency.try_acquire(&functions[which])),
                    1 | 2 => {
                        let (concurrency, function) = (Arc::clone(&concurrency), functions[which].clone());
                        waiting.spawn(async move { (which, concurrency.acquire(&function).await) });
                        tokio::task::yield_now().await;
                    }
                    _ => drop(held[which].pop()),
                }
                tokio::task::yield_now().await;
                while let Some(granted) = waiting.try_join_next() {
                    let (which, permit) = granted.unwrap();
                    held[which].push(permit);
                }
                assert!(held[0].len() <= reserved as usize);
                assert!(held[1].len() <= unreserved);
            }
        });
    }
}
