//! Instances that are kept initialised.

use super::*;

fn ahead(spec: &Spec) -> Arc<Spec> {
    Arc::new(Spec {
        initialization: Initialization::Provisioned,
        ..spec.clone()
    })
}

fn run(pool: &Arc<Pool>) -> (CancellationToken, tokio::task::JoinHandle<()>) {
    let stop = CancellationToken::new();
    let (pool, stopped) = (Arc::clone(pool), stop.clone());
    let running = tokio::spawn(async move { pool.run(stopped).await });
    (stop, running)
}

async fn until_available(pool: &Pool, spec: &Spec, available: usize) {
    while pool.provisioned(spec).map(|it| it.available) != Some(available) {
        tokio::task::yield_now().await;
    }
}

#[tokio::test(start_paused = true)]
async fn as_many_as_were_asked_for_are_there_before_the_first_invocation_and_stay() {
    let (pool, fake) = pool(Fake::default(), 1);
    let spec = spec("a", "f", "1", "r");
    let (stop, running) = run(&pool);
    pool.provision(vec![(ahead(&spec), 20)]);
    until_available(&pool, &spec, 20).await;
    assert_eq!(pool.count().idle, 20);
    tokio::time::advance(Duration::from_secs(3_600)).await;
    for _ in 0..5 {
        served_by(&pool, &spec).await;
    }
    let other = self::spec("a", "g", "1", "r");
    served_by(&pool, &other).await;
    assert_eq!(pool.provisioned(&spec).unwrap().available, 20);
    assert_eq!(fake.launched.load(Ordering::SeqCst), 21, "none for f");
    assert_eq!(pool.provisioned(&other), None);
    stop.cancel();
    running.await.unwrap();
    assert_eq!(pool.shutdown(Duration::ZERO).await, 0);
    assert_eq!(fake.alive.load(Ordering::SeqCst), 0);
}

#[tokio::test(start_paused = true)]
async fn what_exceeds_them_is_served_on_demand() {
    let (pool, fake) = pool(gated(), 100);
    let spec = spec("a", "f", "1", "r");
    let (stop, running) = run(&pool);
    pool.provision(vec![(ahead(&spec), 2)]);
    until_available(&pool, &spec, 2).await;
    let mut invocations = JoinSet::new();
    for _ in 0..3 {
        let (pool, spec) = (Arc::clone(&pool), Arc::clone(&spec));
        invocations.spawn(async move { served_by(&pool, &spec).await });
    }
    until_busy(&pool, 3).await;
    fake.gate.as_ref().unwrap().add_permits(3);
    let served = invocations.join_all().await;
    assert!(served.contains(&"2".to_owned()), "a third one: {served:?}");
    tokio::time::advance(Duration::from_secs(61)).await;
    until(&fake, 2).await;
    assert_eq!(pool.provisioned(&spec).unwrap().available, 2);
    stop.cancel();
    running.await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn one_that_ends_is_replaced() {
    let (pool, fake) = pool(gated(), 100);
    let spec = spec("a", "f", "1", "r");
    let (stop, running) = run(&pool);
    pool.provision(vec![(ahead(&spec), 1)]);
    until_available(&pool, &spec, 1).await;
    let invocation = tokio::spawn({
        let (pool, spec) = (Arc::clone(&pool), Arc::clone(&spec));
        async move { served_by(&pool, &spec).await }
    });
    until_busy(&pool, 1).await;
    // Whoever gives up an invocation kills the instance.
    invocation.abort();
    assert!(invocation.await.unwrap_err().is_cancelled());
    while fake.launched.load(Ordering::SeqCst) < 2 {
        tokio::task::yield_now().await;
    }
    until_available(&pool, &spec, 1).await;
    stop.cancel();
    running.await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_start_that_fails_is_repeated_after_a_pause_and_says_so_meanwhile() {
    let fake = Fake {
        unfit: 3,
        ..Fake::default()
    };
    let (pool, fake) = pool(fake, 100);
    let spec = spec("a", "f", "1", "r");
    let (stop, running) = run(&pool);
    let began = Instant::now();
    pool.provision(vec![(ahead(&spec), 1)]);
    while fake.prepared.load(Ordering::SeqCst) < 1 {
        tokio::task::yield_now().await;
    }
    while pool.provisioned(&spec).unwrap().failure.is_none() {
        tokio::task::yield_now().await;
    }
    while pool.provisioned(&spec).unwrap().available < 1 {
        tokio::time::sleep_until(Instant::now() + Duration::from_millis(100)).await;
    }
    assert!(
        (7..8).contains(&began.elapsed().as_secs()),
        "1 + 2 + 4 seconds"
    );
    assert_eq!(pool.provisioned(&spec).unwrap().failure, None);
    assert_eq!(fake.launched.load(Ordering::SeqCst), 4);
    stop.cancel();
    running.await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn fewer_and_none_end_the_surplus() {
    let (pool, fake) = pool(gated(), 100);
    let [f, g] = ["f", "g"].map(|name| spec("a", name, "1", "r"));
    let (stop, running) = run(&pool);
    pool.provision(vec![(ahead(&f), 3), (ahead(&g), 1)]);
    until_available(&pool, &f, 3).await;
    until_available(&pool, &g, 1).await;
    let busy = tokio::spawn({
        let (pool, f) = (Arc::clone(&pool), Arc::clone(&f));
        async move { served_by(&pool, &f).await }
    });
    until_busy(&pool, 1).await;
    pool.provision(vec![(ahead(&f), 1)]);
    until(&fake, 1).await;
    assert_eq!(pool.provisioned(&f).unwrap().available, 1, "the busy one");
    fake.gate.as_ref().unwrap().add_permits(1);
    busy.await.unwrap();
    assert_eq!(fake.alive.load(Ordering::SeqCst), 1);
    pool.retire(&f);
    until(&fake, 0).await;
    assert_eq!(pool.provisioned(&f), None);
    stop.cancel();
    running.await.unwrap();
}
