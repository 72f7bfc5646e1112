//! The program that the crash rigs kill: writers on an embedded log that say what they do.
//!
//! `log-workload JOB`, with a [`Job`] as JSON. Everything it says is a line of [`Said`], written with
//! one call before the next step, so that a rig that reads the pipe knows what was attempted and what
//! was acknowledged up to the very moment of the crash.

use std::collections::BTreeMap;
use std::io::Write;
use std::sync::Arc;

use anyhow::{Context, Result, ensure};
use clock::SystemClock;
use event::{SourceId, SourcePosition};
use event_log::{
    Append, Appended, BrokerLog, CheckpointUpdate, ConsumerId, CrashPoints, EmbeddedLog, Lifetime,
    Offset, OwnerId, Partition, PositionUpdate, Producer, Rule, Settlement, SharedLog, TopicConfig,
    TopicName, Writer,
};
use log_rigs::{Job, PRODUCER, Plan, Point, Said, Start, Then, config, topics};
use parking_lot::Mutex;
use rustix::process::{Signal, getpid, kill_process};
use tokio::task::JoinSet;

fn main() -> Result<()> {
    let job = std::env::args().nth(1).context("a job as JSON")?;
    let job: Job = serde_json::from_str(&job)?;
    let runtime = tokio::runtime::Builder::new_current_thread().build()?;
    runtime.block_on(run(job))
}

async fn run(job: Job) -> Result<()> {
    let points = Arc::new(Points::until(job.point.clone()));
    let watched = Arc::clone(&points) as Arc<dyn CrashPoints>;
    let clock = Arc::new(SystemClock::new());
    let config = config(&job.dir, job.retention_bytes);
    let embedded = EmbeddedLog::open_with_crash_points(config, clock, watched)?;
    let log: SharedLog = embedded.clone();
    say(&Said::Ready)?;
    if job.start == Start::WhenTold {
        std::io::stdin().read_line(&mut String::new())?;
    }
    if job.settlements != Some(0) {
        work(&job, &log, &embedded).await?;
    }
    embedded.close().await;
    say(&Said::Points(points.counted()))?;
    say(&Said::Done)
}

async fn work(job: &Job, log: &SharedLog, broker: &Arc<EmbeddedLog>) -> Result<()> {
    for (name, config) in topics() {
        log.ensure_topic(&name, config).await?;
    }
    let plan = Plan(job.seed);
    let mut tasks = JoinSet::new();
    for writer in job.writers.iter().copied() {
        let log = SharedLog::clone(log);
        let limit = job.settlements.unwrap_or(u64::MAX);
        let resend = job.resend;
        match writer {
            PRODUCER => {
                let broker = Arc::clone(broker);
                tasks.spawn(async move { produce(&log, &*broker, plan, limit, resend).await })
            }
            _ => tasks.spawn(async move { settle(&log, plan, writer, limit).await }),
        };
    }
    let (log, from) = (SharedLog::clone(log), job.churn_from);
    let until = from
        + job
            .settlements
            .map_or(u64::MAX / 2, |limit| limit.div_ceil(3));
    tasks.spawn(async move { churn(&log, plan, from, until).await });
    while let Some(ended) = tasks.join_next().await {
        ended??;
    }
    Ok(())
}

/// A writer under an epoch, whose every settlement moves its checkpoint and its source's position.
async fn settle(log: &SharedLog, plan: Plan, writer: u32, limit: u64) -> Result<()> {
    let owner = OwnerId::new(format!("rig/{writer}"));
    let epoch = log.open_epoch(&owner).await?;
    say(&Said::Epoch(writer, epoch.get()))?;
    let consumer = ConsumerId::new(format!("rig/{writer}"));
    let cursor = TopicName::new("rig.cursors")?.partition(Partition::new(writer));
    let done = log.checkpoint(&consumer, &cursor);
    let done = done.map_or(0, |checkpoint| checkpoint.revision);
    for seq in done + 1..=done.saturating_add(limit) {
        let settlement = Settlement {
            appends: appends(plan, writer, seq),
            checkpoints: vec![CheckpointUpdate {
                consumer: consumer.clone(),
                partition: cursor.clone(),
                next: Offset::new(seq),
                finished_above: Vec::new(),
                metadata: seq.to_string().into(),
                rule: Rule::Advance {
                    expected_revision: seq - 1,
                },
            }],
            positions: vec![PositionUpdate {
                source: SourceId::new(format!("rig/{writer}")),
                position: SourcePosition::new(seq.to_string()),
            }],
            writer: Some(Writer {
                owner: owner.clone(),
                epoch,
            }),
        };
        commit(log, writer, seq, settlement).await?;
    }
    Ok(())
}

/// The idempotent producer: after a crash it repeats what was acknowledged last and goes on from
/// there, as a client does that never heard.
async fn produce(
    log: &SharedLog,
    broker: &dyn BrokerLog,
    plan: Plan,
    limit: u64,
    resend: Option<log_rigs::Resend>,
) -> Result<()> {
    let id = match resend {
        Some(resend) => resend.producer,
        None => broker.producer_id().await?,
    };
    say(&Said::Producer(id))?;
    let from = resend.map_or(1, |resend| resend.from);
    let mut base_sequence = plan.base_sequence(from);
    for seq in from..from.saturating_add(limit) {
        let mut appends = appends(plan, PRODUCER, seq);
        let append = appends.first_mut().context("the producer's one append")?;
        append.batch = append.batch.from_producer(Producer {
            id,
            epoch: 0,
            base_sequence,
        });
        base_sequence += i32::try_from(append.batch.header().offsets())?;
        let settlement = Settlement {
            appends,
            ..Settlement::default()
        };
        commit(log, PRODUCER, seq, settlement).await?;
    }
    Ok(())
}

async fn commit(log: &SharedLog, writer: u32, seq: u64, settlement: Settlement) -> Result<()> {
    say(&Said::Sending(writer, seq))?;
    let settled = log.commit(settlement).await?;
    let bases = settled.appended.iter().copied().map(Appended::base);
    say(&Said::Settled(
        writer,
        seq,
        bases.map(Offset::get).collect(),
    ))
}

/// Topics that come, take a record and go.
async fn churn(log: &SharedLog, plan: Plan, from: u64, until: u64) -> Result<()> {
    for number in from..until {
        let planned = plan.churned(number);
        say(&Said::Creating(number))?;
        let lifetime = if number.is_multiple_of(2) {
            Lifetime::Events
        } else {
            Lifetime::LongLived
        };
        let config = TopicConfig::new(1, lifetime);
        log.create_topic(&planned.to.topic, config).await?;
        say(&Said::Created(number))?;
        let batch = Plan::batch(&planned);
        let settled = log
            .commit(Settlement::of(planned.to.clone(), batch))
            .await?;
        ensure!(settled.appended == [Appended::At(Offset::ZERO)]);
        say(&Said::Deleting(number))?;
        log.delete_topic(&planned.to.topic).await?;
        say(&Said::Deleted(number))?;
    }
    Ok(())
}

fn appends(plan: Plan, writer: u32, seq: u64) -> Vec<Append> {
    let planned = plan.appends(writer, seq);
    let append = |planned: &log_rigs::Planned| Append {
        to: planned.to.clone(),
        batch: Plan::batch(planned),
    };
    planned.iter().map(append).collect()
}

fn say(said: &Said) -> Result<()> {
    let line = format!("{}\n", serde_json::to_string(said)?);
    std::io::stdout().write_all(line.as_bytes())?;
    Ok(())
}

/// Counts the points that are reached, and dies or stops at the one that was asked for.
#[derive(Debug)]
struct Points {
    until: Option<Point>,
    counts: Mutex<BTreeMap<String, u64>>,
}

impl Points {
    fn until(point: Option<Point>) -> Self {
        Self {
            until: point,
            counts: Mutex::default(),
        }
    }

    fn counted(&self) -> BTreeMap<String, u64> {
        self.counts.lock().clone()
    }
}

impl CrashPoints for Points {
    fn reached(&self, point: &str) {
        let count = {
            let mut counts = self.counts.lock();
            let count = counts.entry(point.to_owned()).or_default();
            *count += 1;
            *count
        };
        let Some(until) = &self.until else { return };
        if until.name != point || until.occurrence != count {
            return;
        }
        match until.then {
            Then::Die => kill_process(getpid(), Signal::KILL).expect("a process may kill itself"),
            Then::Hold => say(&Said::Held).expect("the rig listens"),
        }
        loop {
            std::thread::park();
        }
    }
}
