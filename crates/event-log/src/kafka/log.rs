//! The contract over Kafka.

use std::ops::Range;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use async_trait::async_trait;
use clock::{SharedClock, Timestamp};
use event::{SourceId, SourcePosition};
use parking_lot::Mutex;
use rdkafka::consumer::Consumer;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::{Offset as At, TopicPartitionList};
use tokio::sync::{Semaphore, watch};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::KafkaConfig;
use super::catch_up::CatchUp;
use super::client::{ANSWER, Clients, Names, PATIENCE, failed};
use super::committer::{Command, Committer, Queue, queue};
use super::ends::Ends;
use super::follower::Follower;
use super::member::{Member, Membership};
use super::places::{Place, Places, chunk, index, number, offset, unknown};
use super::reach::reach;
use super::start::Admin;
use super::tailer::Tailer;
use super::topics::Warden;
use crate::{
    Checkpoint, Chunk, ConsumerId, Epoch, Error, EventLog, Offset, OwnerId, Permit, Settled,
    Settlement, Share, Topic, TopicConfig, TopicName, TopicPartition, TopicSettings,
};

/// How much is read at once where a record is sought by its time.
const SEARCHED_BYTES: usize = 1 << 18;

/// Searches by time that may be under way: each has a thread.
const SEARCHES: usize = 2;
/// How long a question that went wrong rests before it is asked again.
const PAUSE: Duration = Duration::from_millis(100);

/// A node's log on a Kafka cluster. Dropping it leaves the group; requests that wait are refused.
#[derive(Debug)]
pub struct KafkaLog {
    membership: Arc<Membership>,
    places: Arc<Places>,
    tailer: Arc<Tailer>,
    warden: Arc<Warden>,
    ends: Ends,
    catch_up: CatchUp,
    searches: Arc<Semaphore>,
    admin: Admin,
    queue: Queue,
    budget: Arc<Semaphore>,
    config: KafkaConfig,
    /// One change of the topics at a time.
    changing: tokio::sync::Mutex<()>,
    stop: CancellationToken,
    threads: Mutex<Vec<JoinHandle<()>>>,
}

impl KafkaLog {
    /// Joins the cluster: checks it, makes the log's own topics, and reads what other nodes have
    /// left. The [share](EventLog::share) is empty until the group of nodes has given this one some.
    ///
    /// # Errors
    /// [`Error::Unfit`] when the cluster cannot keep the contract; [`Error::Unavailable`] when it cannot
    /// be reached or does not let us in; [`Error::Io`] when the client does not know a setting.
    pub async fn open(config: KafkaConfig, clock: SharedClock) -> Result<Arc<Self>, Error> {
        let names = Names::of(&config);
        let made = || Uuid::new_v4().simple().to_string();
        let node = config.node.clone().unwrap_or_else(made);
        let clients = Clients::new(config.clone(), names.clone(), node.clone());
        let admin = Admin::open(&clients, &config)?;
        admin.inspect(reach(&clients).await?).await?;
        admin.prepare().await?;

        let membership = Arc::new(Membership::new(node));
        let places = Arc::new(Places::default());
        let tailer = Arc::new(Tailer::open(&clients, names.clone(), Arc::clone(&places))?);
        let ends = Ends::open(&clients)?;
        let (queue, requests) = queue();
        let (warden, nudges) = Warden::new(
            names.clone(),
            Arc::clone(&membership),
            Arc::clone(&places),
            Arc::clone(&tailer),
            ends.clone(),
            queue.clone(),
            config.metadata_interval * 3,
        );
        let warden = Arc::new(warden);
        let follower = Follower::open(
            &clients,
            &names,
            Arc::clone(&membership),
            Arc::clone(&warden),
        )?;
        let log = Arc::new(Self {
            catch_up: CatchUp::new(clients.clone()),
            searches: Arc::new(Semaphore::new(SEARCHES)),
            ends,
            membership: Arc::clone(&membership),
            places: Arc::clone(&places),
            tailer: Arc::clone(&tailer),
            warden: Arc::clone(&warden),
            admin,
            queue: queue.clone(),
            budget: Arc::new(Semaphore::new(config.write_budget_bytes)),
            changing: tokio::sync::Mutex::default(),
            stop: CancellationToken::new(),
            threads: Mutex::default(),
            config: config.clone(),
        });

        let timeout = config.transaction_timeout;
        let (of, at) = (Arc::clone(&membership), Arc::clone(&places));
        let (c, n) = (clients.clone(), names.clone());
        let committer =
            blocking(move || Committer::new(c, n, of, at, timeout, clock, requests)).await?;
        let committer =
            committer.map_err(|error| failed("begin to write to the cluster", error))?;
        log.start("log-commit", move |stop| committer.run(&stop))?;
        log.start("log-follow", move |stop| follower.run(&stop))?;
        // What the node knows of topics and epochs is whole once it has read its own entry.
        queue.ask(Command::Enter).await?;
        let (of, stop, run) = (Arc::clone(&membership), log.stop.clone(), membership.run);
        blocking(move || of.wait_for(&stop, |view| view.run() == Some(run))).await?;
        log.first_look().await?;
        log.start("log-tail", move |stop| tailer.run(&stop))?;
        let interval = config.metadata_interval;
        log.start("log-topics", move |stop| {
            warden.run(&nudges, interval, &stop)
        })?;
        let member = Member::join(&clients, &names, membership, queue)?;
        log.start("log-member", move |stop| member.run(&stop))?;
        Ok(log)
    }

    /// Leaves the group of nodes and ends; what waits to be written is refused with
    /// [`Error::Closed`].
    pub async fn close(&self) {
        self.stop.cancel();
        self.queue.wake();
        let threads = std::mem::take(&mut *self.threads.lock());
        // A thread that panicked has nothing left to end.
        let _ = blocking(move || threads.into_iter().for_each(|it| drop(it.join()))).await;
    }

    /// Asks the cluster for its topics. One whose brokers have just come or gone, or where another
    /// node is making topics, may not be able to say.
    async fn first_look(&self) -> Result<(), Error> {
        let until = Instant::now() + PATIENCE;
        loop {
            let warden = Arc::clone(&self.warden);
            match blocking(move || warden.refresh()).await? {
                Ok(_) => return Ok(()),
                Err(error) if Instant::now() > until => {
                    return Err(failed("ask the cluster for its topics", error));
                }
                Err(_) => {
                    tokio::time::sleep_until(Instant::now() + Duration::from_millis(100)).await;
                }
            }
        }
    }

    fn start(
        &self,
        name: &str,
        run: impl FnOnce(CancellationToken) + Send + 'static,
    ) -> Result<(), Error> {
        let stop = self.stop.clone();
        let thread = std::thread::Builder::new().name(name.to_owned());
        let thread = thread
            .spawn(move || run(stop))
            .map_err(|source| Error::Io {
                act: format!("start the thread {name}"),
                source,
            })?;
        self.threads.lock().push(thread);
        Ok(())
    }

    fn place(&self, name: &TopicPartition) -> Result<Arc<Place>, Error> {
        self.places.get(name).ok_or_else(|| {
            let topic = self.topic(&name.topic);
            unknown(name, topic.map(|topic| topic.name).as_ref())
        })
    }

    /// Asks the cluster for its topics until they are as `wanted`.
    async fn until_shown(&self, wanted: impl Fn(&Self) -> bool, act: &str) -> Result<(), Error> {
        let until = Instant::now() + PATIENCE;
        loop {
            let warden = Arc::clone(&self.warden);
            let looked = blocking(move || warden.refresh()).await?;
            if looked.is_ok() && wanted(self) {
                return Ok(());
            }
            if Instant::now() > until {
                // What is new has no leader for a moment; by now it should.
                looked.map_err(|error| failed(act, error))?;
                return Err(Error::Io {
                    act: act.to_owned(),
                    source: std::io::ErrorKind::TimedOut.into(),
                });
            }
            tokio::time::sleep_until(Instant::now() + Duration::from_millis(20)).await;
        }
    }

    async fn known(&self, name: &TopicName) -> Result<Topic, Error> {
        self.topic(name).ok_or_else(|| Error::UnknownTopic {
            topic: name.clone(),
        })
    }

    /// The end as the cluster has it now. Partitions move from broker to broker, so that one refusal is
    /// not the last word.
    async fn look_up_end(&self, place: &Arc<Place>) -> Result<Offset, Error> {
        let until = Instant::now() + ANSWER;
        loop {
            let asked = tokio::time::timeout_at(until, self.ends.ask(place)).await;
            let error = match asked {
                Ok(Ok(Ok(end))) => return Ok(end),
                Ok(Ok(Err(error))) => error,
                // No answer in time, or nobody to ask.
                Ok(Err(_)) | Err(_) => KafkaError::OffsetFetch(RDKafkaErrorCode::OperationTimedOut),
            };
            let again = Instant::now() + PAUSE;
            if again >= until {
                return Err(failed(format!("find the end of {}", place.name), error));
            }
            tokio::time::sleep_until(again).await;
            // It may have gone meanwhile.
            self.place(&place.name)?;
        }
    }
}

async fn blocking<T: Send + 'static>(
    call: impl FnOnce() -> T + Send + 'static,
) -> Result<T, Error> {
    tokio::task::spawn_blocking(call)
        .await
        .map_err(|_| Error::Closed)
}

impl Drop for KafkaLog {
    fn drop(&mut self) {
        self.stop.cancel();
        self.queue.wake();
        for thread in self.threads.lock().drain(..) {
            // A thread that panicked has nothing left to end.
            let _ = thread.join();
        }
    }
}

#[async_trait]
impl EventLog for KafkaLog {
    async fn create_topic(&self, name: &TopicName, config: TopicConfig) -> Result<Topic, Error> {
        let _one = self.changing.lock().await;
        self.membership
            .with(|view| view.ledger.judge_creation(name, config).map(drop))?;
        let exists = || Error::TopicExists {
            topic: name.clone(),
        };
        let act = format!("create topic {name}");
        let created = self.admin.create_topic(name, &config).await?;
        if created {
            let configure = |reply| Command::ConfigureTopic(name.clone(), Some(config), reply);
            self.queue.ask(configure).await?;
        }
        let shown = |log: &Self| log.topic(name).is_some_and(|it| it.config.partitions > 0);
        self.until_shown(shown, &act).await?;
        if !created {
            return Err(exists());
        }
        self.known(name).await
    }

    async fn delete_topic(&self, name: &TopicName) -> Result<(), Error> {
        let _one = self.changing.lock().await;
        self.known(name).await?;
        let incarnation = self
            .membership
            .with(|view| view.topic_fact(name).incarnation);
        // First: a topic of that name that comes later is another, whatever happens here.
        let end = |reply| Command::EndTopic(name.clone(), incarnation, reply);
        self.queue.ask(end).await?;
        self.admin.delete_topic(name).await?;
        let gone = |log: &Self| log.topic(name).is_none() && !log.warden.finds(name);
        self.until_shown(gone, &format!("delete topic {name}"))
            .await?;
        let ended = |reply| Command::ConfigureTopic(name.clone(), None, reply);
        self.queue.ask(ended).await
    }

    async fn add_partitions(&self, name: &TopicName, count: u32) -> Result<Topic, Error> {
        let _one = self.changing.lock().await;
        let topic = self.known(name).await?;
        let home = topic.config.lifetime;
        self.membership
            .with(|view| view.ledger.judge_growth(name, count, home).map(drop))?;
        self.admin.grow_topic(name, count).await?;
        let grown = |log: &Self| {
            let topic = log.topic(name);
            topic.is_some_and(|topic| {
                topic.config.partitions >= count
                    && topic
                        .partitions()
                        .all(|place| log.places.get(&place).is_some())
            })
        };
        self.until_shown(grown, &format!("give partitions to {name}"))
            .await?;
        self.known(name).await
    }

    async fn configure_topic(
        &self,
        name: &TopicName,
        settings: TopicSettings,
    ) -> Result<Topic, Error> {
        let _one = self.changing.lock().await;
        let topic = self.known(name).await?;
        let config = TopicConfig {
            settings,
            ..topic.config
        };
        self.admin.configure_topic(name, &config).await?;
        let configure = |reply| Command::ConfigureTopic(name.clone(), Some(config), reply);
        self.queue.ask(configure).await?;
        let shown = |log: &Self| {
            log.topic(name)
                .is_none_or(|topic| topic.config.settings == settings)
        };
        self.until_shown(shown, &format!("configure {name}"))
            .await?;
        self.known(name).await
    }

    async fn delete_records(
        &self,
        partition: &TopicPartition,
        before: Offset,
    ) -> Result<Offset, Error> {
        let place = self.place(partition)?;
        let bounds = place.bounds();
        if before > bounds.end && before > self.look_up_end(&place).await? {
            return Err(Error::OffsetOutOfRange {
                partition: partition.clone(),
                offset: before,
                first: bounds.start,
                end: bounds.end,
            });
        }
        let mut list = TopicPartitionList::new();
        let at = At::Offset(number(before));
        list.add_partition_offset(&place.outside, index(partition), at)
            .map_err(|error| failed("delete records", error))?;
        if before > bounds.start {
            self.admin.delete_records(&list).await?;
            place.begins_at(before);
        }
        Ok(place.bounds().start)
    }

    fn topic(&self, name: &TopicName) -> Option<Topic> {
        self.membership
            .with(|view| view.ledger.topic(name).cloned())
    }

    fn topics(&self) -> Vec<Topic> {
        self.membership
            .with(|view| view.ledger.topics().cloned().collect())
    }

    fn topics_changed(&self) -> watch::Receiver<u64> {
        self.warden.changed.subscribe()
    }

    fn share(&self) -> watch::Receiver<Share> {
        self.membership.share()
    }

    async fn reserve(&self, bytes: usize) -> Permit {
        let bytes = bytes.min(self.config.write_budget_bytes);
        let permits = u32::try_from(bytes).unwrap_or(u32::MAX);
        let acquired = Arc::clone(&self.budget).acquire_many_owned(permits).await;
        Permit::holding(acquired.expect("the budget is never closed"))
    }

    async fn settle(&self, permit: Permit, settlement: Settlement) -> Result<Settled, Error> {
        let metadata = settlement.checkpoints.iter().map(|it| it.metadata.len());
        let bytes = settlement.bytes() + metadata.sum::<usize>();
        if bytes > self.config.max_settlement_bytes {
            return Err(Error::TooLarge {
                bytes,
                limit: self.config.max_settlement_bytes,
            });
        }
        self.queue
            .ask(|reply| Command::Settle(settlement, permit, reply))
            .await
    }

    async fn read(
        &self,
        partition: &TopicPartition,
        from: Offset,
        max_bytes: usize,
    ) -> Result<Chunk, Error> {
        let place = self.place(partition)?;
        if let Some(latest) = place.latest_soon(from, max_bytes).await {
            return Ok(latest);
        }
        let mut bounds = place.bounds();
        if from > bounds.end {
            bounds.end = bounds.end.max(self.look_up_end(&place).await?);
        }
        let out_of_range = |bounds: Range<Offset>| Error::OffsetOutOfRange {
            partition: partition.clone(),
            offset: from,
            first: bounds.start,
            end: bounds.end,
        };
        if !(bounds.start..=bounds.end).contains(&from) {
            return Err(out_of_range(bounds));
        }
        if from == bounds.end {
            return Ok(chunk(&[], from));
        }
        match self
            .catch_up
            .read(&place, from, bounds.end, max_bytes)
            .await
        {
            Ok((records, next)) => Ok(chunk(&records, next)),
            Err(Error::OffsetOutOfRange { .. }) => {
                // Retention was faster than our look at it.
                self.look_up_end(&place).await?;
                Err(out_of_range(place.bounds()))
            }
            Err(error) => Err(error),
        }
    }

    fn bounds(&self, partition: &TopicPartition) -> Result<Range<Offset>, Error> {
        Ok(self.place(partition)?.bounds())
    }

    async fn end(&self, partition: &TopicPartition) -> Result<Offset, Error> {
        self.look_up_end(&self.place(partition)?).await
    }

    fn tail(&self, partition: &TopicPartition) -> Result<watch::Receiver<Offset>, Error> {
        let place = self.place(partition)?;
        let tail = place.end.subscribe();
        self.tailer.follow(&place);
        Ok(tail)
    }

    async fn offset_at(
        &self,
        partition: &TopicPartition,
        time: Timestamp,
    ) -> Result<Option<(Offset, Timestamp)>, Error> {
        let place = self.place(partition)?;
        let (ends, of) = (self.ends.clone(), Arc::clone(&place));
        let act = format!("find a time in {partition}");
        let search = Arc::clone(&self.searches).acquire_owned().await;
        let search = search.map_err(|_| Error::Closed)?;
        let found = blocking(move || {
            // To its end, whether or not anybody waits for it any more.
            let _search = search;
            let mut list = TopicPartitionList::new();
            let at = At::Offset(time.as_millis().max(0));
            list.add_partition_offset(&of.outside, index(&of.name), at)?;
            let found = ends.client().offsets_for_times(list, ANSWER)?;
            let element = found.find_partition(&of.outside, index(&of.name));
            Ok(element.map(|element| element.offset()))
        });
        let found = found.await?.map_err(|error| failed(act, error))?;
        let Some(At::Offset(at)) = found else {
            return Ok(None);
        };
        let mut next = offset(at);
        // What was found may be no record for readers, or one whose own time is another; then one
        // behind it is sought.
        loop {
            let chunk = self.read(partition, next, SEARCHED_BYTES).await?;
            for batch in &chunk.batches {
                let records = batch.records()?;
                let not_older = records.iter().find(|it| it.record.timestamp >= time);
                if let Some(stored) = not_older {
                    return Ok(Some((stored.offset, stored.record.timestamp)));
                }
            }
            if chunk.next == next {
                return Ok(None);
            }
            next = chunk.next;
        }
    }

    fn checkpoint(&self, consumer: &ConsumerId, partition: &TopicPartition) -> Option<Checkpoint> {
        self.membership
            .with(|view| view.ledger.checkpoint(consumer, partition))
    }

    fn checkpoints(&self, consumer: &ConsumerId) -> Vec<(TopicPartition, Checkpoint)> {
        self.membership
            .with(|view| view.ledger.checkpoints(consumer))
    }

    fn consumers(&self) -> Vec<ConsumerId> {
        self.membership
            .with(|view| view.ledger.consumers().cloned().collect())
    }

    async fn forget_consumer(&self, consumer: &ConsumerId) -> Result<(), Error> {
        self.queue
            .ask(|reply| Command::Forget(consumer.clone(), reply))
            .await
    }

    fn position(&self, source: &SourceId) -> Option<SourcePosition> {
        self.membership.with(|view| view.ledger.position(source))
    }

    async fn open_epoch(&self, owner: &OwnerId) -> Result<Epoch, Error> {
        self.queue
            .ask(|reply| Command::OpenEpoch(owner.clone(), reply))
            .await
    }
}
