use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use async_trait::async_trait;
use bytes::Bytes;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

mod provisioned;

use super::*;
use crate::{Initialization, LogFormat, Metrics, Outcome, Runtime};

/// Launches instances that answer with their own number once a permit is there.
#[derive(Default)]
struct Fake {
    launched: AtomicUsize,
    alive: AtomicUsize,
    ended: Notify,
    gate: Option<Semaphore>,
    dead_when_idle: bool,
    /// How many of the first ones cannot be initialised.
    unfit: usize,
    prepared: AtomicUsize,
}

struct FakeInstance {
    fake: Arc<Fake>,
    spec: Arc<Spec>,
    number: usize,
    serving: AtomicBool,
}

struct FakeLauncher(Arc<Fake>);

#[async_trait]
impl Launcher for FakeLauncher {
    async fn launch(&self, spec: &Arc<Spec>) -> Result<Box<dyn Instance>, LaunchError> {
        self.0.alive.fetch_add(1, Ordering::SeqCst);
        Ok(Box::new(FakeInstance {
            number: self.0.launched.fetch_add(1, Ordering::SeqCst),
            fake: Arc::clone(&self.0),
            spec: Arc::clone(spec),
            serving: AtomicBool::new(false),
        }))
    }
}

#[async_trait]
impl Instance for FakeInstance {
    async fn invoke(self: Box<Self>, invocation: Invocation) -> Finished {
        assert!(!self.serving.swap(true, Ordering::SeqCst), "I1 is broken");
        assert_eq!(invocation.arn, self.spec.arn, "I2 is broken");
        if let Some(gate) = &self.fake.gate {
            gate.acquire().await.unwrap().forget();
        }
        self.serving.store(false, Ordering::SeqCst);
        Finished {
            outcome: Outcome::Success(Bytes::from(self.number.to_string())),
            metrics: Metrics::default(),
            log_tail: Bytes::new(),
            instance: Some(self),
        }
    }

    async fn prepare(&mut self) -> bool {
        let number = self.fake.prepared.fetch_add(1, Ordering::SeqCst);
        self.fake.ended.notify_waiters();
        number >= self.fake.unfit
    }

    async fn ready(&mut self) -> bool {
        !self.fake.dead_when_idle
    }

    async fn shutdown(self: Box<Self>) {}
}

impl Drop for FakeInstance {
    fn drop(&mut self) {
        self.fake.alive.fetch_sub(1, Ordering::SeqCst);
        self.fake.ended.notify_waiters();
    }
}

fn spec(account: &str, function: &str, version: &str, revision: &str) -> Arc<Spec> {
    Arc::new(Spec {
        account: account.to_owned(),
        function: function.to_owned(),
        version: version.to_owned(),
        revision: revision.to_owned(),
        arn: format!("{account}/{function}/{version}/{revision}"),
        region: "us-east-1".to_owned(),
        runtime: Runtime::Provided,
        handler: "x".to_owned(),
        code: PathBuf::new(),
        image: None,
        opt: None,
        memory_mib: 128,
        temporary_mib: 512,
        timeout: Duration::from_secs(1),
        environment: std::collections::BTreeMap::new(),
        log_group: String::new(),
        log_format: LogFormat::Text,
        initialization: Initialization::OnDemand,
    })
}

fn invocation(spec: &Spec) -> Invocation {
    Invocation {
        request_id: "id".to_owned(),
        payload: Bytes::new(),
        arn: spec.arn.clone(),
        trace_id: None,
        client_context: None,
    }
}

fn pool(fake: Fake, max_instances: usize) -> (Arc<Pool>, Arc<Fake>) {
    let fake = Arc::new(fake);
    let config = PoolConfig {
        idle: Duration::from_secs(60),
        max_instances,
    };
    let launcher = Arc::new(FakeLauncher(Arc::clone(&fake)));
    (Arc::new(Pool::new(launcher, config)), fake)
}

fn gated() -> Fake {
    Fake {
        gate: Some(Semaphore::new(0)),
        ..Fake::default()
    }
}

async fn served_by(pool: &Pool, spec: &Arc<Spec>) -> String {
    let finished = pool.invoke(spec, invocation(spec)).await.unwrap();
    assert!(finished.instance.is_none());
    let Outcome::Success(number) = finished.outcome else {
        panic!("the fake always answers")
    };
    String::from_utf8(number.to_vec()).unwrap()
}

async fn until(fake: &Fake, alive: usize) {
    loop {
        let ended = fake.ended.notified();
        if fake.alive.load(Ordering::SeqCst) == alive {
            return;
        }
        ended.await;
    }
}

async fn until_busy(pool: &Pool, busy: usize) {
    while pool.count().busy != busy {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn i1_an_instance_runs_one_invocation_at_a_time() {
    let (pool, fake) = pool(gated(), 100);
    let spec = spec("a", "f", "1", "r");
    let mut running = JoinSet::new();
    for _ in 0..20 {
        let (pool, spec) = (Arc::clone(&pool), Arc::clone(&spec));
        running.spawn(async move { served_by(&pool, &spec).await });
    }
    until_busy(&pool, 20).await;
    fake.gate.as_ref().unwrap().add_permits(1_000);
    let mut numbers = running.join_all().await;
    numbers.sort();
    numbers.dedup();
    assert_eq!(numbers.len(), 20, "twenty at once need twenty instances");
    served_by(&pool, &spec).await;
    assert_eq!(
        fake.launched.load(Ordering::SeqCst),
        20,
        "the next one is warm"
    );
}

#[tokio::test]
async fn i2_an_instance_never_serves_two_versions_or_two_accounts() {
    let (pool, fake) = pool(Fake::default(), 100);
    let specs = [
        spec("a", "f", "1", "r"),
        spec("b", "f", "1", "r"),
        spec("a", "g", "1", "r"),
        spec("a", "f", "2", "r"),
        spec("a", "f", "1", "s"),
    ];
    for _ in 0..3 {
        for spec in &specs {
            // The fake compares the invocation's ARN with that of the spec it was started for.
            served_by(&pool, spec).await;
        }
    }
    assert_eq!(fake.launched.load(Ordering::SeqCst), specs.len());
}

#[tokio::test]
async fn i3_an_abandoned_invocation_leaves_no_instance() {
    let (pool, fake) = pool(gated(), 100);
    let spec = spec("a", "f", "1", "r");
    let running = tokio::spawn({
        let pool = Arc::clone(&pool);
        async move { served_by(&pool, &spec).await }
    });
    until_busy(&pool, 1).await;
    running.abort();
    assert!(running.await.unwrap_err().is_cancelled());
    until(&fake, 0).await;
    assert_eq!(pool.count(), InstanceCount::default());
}

#[tokio::test(start_paused = true)]
async fn an_idle_instance_ends_at_its_deadline_and_not_before() {
    let (pool, fake) = pool(Fake::default(), 100);
    let stop = CancellationToken::new();
    let reaper = tokio::spawn({
        let (pool, stop) = (Arc::clone(&pool), stop.clone());
        async move { pool.run(stop).await }
    });
    let spec = spec("a", "f", "1", "r");
    served_by(&pool, &spec).await;
    tokio::time::advance(Duration::from_secs(59)).await;
    assert_eq!(
        served_by(&pool, &spec).await,
        "0",
        "still warm, and warm again"
    );
    tokio::time::advance(Duration::from_secs(59)).await;
    assert_eq!(pool.count().idle, 1);
    let before = Instant::now();
    until(&fake, 0).await;
    assert_eq!(before.elapsed().as_secs(), 1);
    stop.cancel();
    reaper.await.unwrap();
}

#[tokio::test]
async fn a_retired_revision_serves_nobody_again() {
    let (pool, fake) = pool(gated(), 100);
    let old = spec("a", "f", "$LATEST", "old");
    let new = spec("a", "f", "$LATEST", "new");
    let other = spec("a", "g", "$LATEST", "old");
    let gate = fake.gate.as_ref().unwrap();
    gate.add_permits(1);
    served_by(&pool, &other).await;
    let busy = tokio::spawn({
        let (pool, old) = (Arc::clone(&pool), Arc::clone(&old));
        async move { served_by(&pool, &old).await }
    });
    until_busy(&pool, 1).await;
    pool.retire(&old);
    gate.add_permits(100);
    busy.await.unwrap();
    served_by(&pool, &new).await;
    assert_eq!(pool.count().idle, 2, "the new one and the other function's");
    pool.retire(&old);
    assert_eq!(pool.count().idle, 2);
    pool.retire(&new);
    assert_eq!(pool.count().idle, 1);
}

#[tokio::test]
async fn retiring_a_version_leaves_the_others() {
    let (pool, _) = pool(Fake::default(), 100);
    let versions = ["$LATEST", "1", "2"].map(|version| spec("a", "f", version, "r"));
    for version in &versions {
        served_by(&pool, version).await;
    }
    pool.retire(&versions[1]);
    assert_eq!(pool.count().idle, 2);
}

#[tokio::test]
async fn room_is_made_by_the_longest_idle() {
    let (pool, fake) = pool(Fake::default(), 2);
    let [f, g, h] = ["f", "g", "h"].map(|name| spec("a", name, "1", "r"));
    served_by(&pool, &f).await;
    served_by(&pool, &g).await;
    served_by(&pool, &h).await;
    assert_eq!(pool.count().idle, 2);
    served_by(&pool, &g).await;
    assert_eq!(fake.launched.load(Ordering::SeqCst), 3, "g has stayed");
    served_by(&pool, &f).await;
    assert_eq!(fake.launched.load(Ordering::SeqCst), 4, "f had gone");
}

#[tokio::test]
async fn an_instance_that_died_while_idle_is_replaced() {
    let fake = Fake {
        dead_when_idle: true,
        ..Fake::default()
    };
    let (pool, _) = pool(fake, 100);
    let spec = spec("a", "f", "1", "r");
    assert_eq!(served_by(&pool, &spec).await, "0");
    assert_eq!(served_by(&pool, &spec).await, "1");
    assert_eq!(pool.count().idle, 1);
}

#[tokio::test(start_paused = true)]
async fn shutdown_waits_for_its_grace_and_then_kills() {
    let (pool, fake) = pool(gated(), 100);
    let spec = spec("a", "f", "1", "r");
    let gate = fake.gate.as_ref().unwrap();
    gate.add_permits(1);
    served_by(&pool, &spec).await;
    let other = self::spec("a", "g", "1", "r");
    let running = tokio::spawn({
        let pool = Arc::clone(&pool);
        async move { pool.invoke(&other, invocation(&other)).await.err() }
    });
    until_busy(&pool, 1).await;
    assert_eq!(pool.shutdown(Duration::from_secs(5)).await, 1);
    assert!(matches!(
        running.await.unwrap(),
        Some(LaunchError::ShuttingDown { .. })
    ));
    assert_eq!(fake.alive.load(Ordering::SeqCst), 0);
    assert!(pool.invoke(&spec, invocation(&spec)).await.is_err());
}
