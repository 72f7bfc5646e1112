//! The source against a model of the service: shards that end, split, are trimmed and whose iterators
//! expire, and a reader that is killed at any moment.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use aws_sdk_dynamodbstreams::types::{AttributeValue, OperationType, Record, StreamRecord};
use clock::SystemClock;
use connector::{Batch, Source as _};
use event::SourcePosition;
use parking_lot::Mutex;
use proptest::prelude::*;
use proptest::sample::Index;

use super::lineage::Shard;
use super::position::Reached;
use super::service::{Described, Failure, Page, Service, Switched};
use super::{DynamoDbConfig, DynamoDbKeys, DynamoDbSource};
use crate::failure::unavailable;
use crate::{Naming, Shape};

/// Records in one page.
const PAGE: usize = 3;

#[derive(Debug, Default)]
struct ModelShard {
    parent: Option<usize>,
    /// Its keys are those whose number has this remainder, by so many.
    keys: (u64, u64),
    first: u64,
    records: Vec<(u64, Record)>,
    trimmed: usize,
    is_over: bool,
    is_gone: bool,
}

#[derive(Debug, Default)]
struct ModelStream {
    shards: Vec<ModelShard>,
    is_off: bool,
    is_gone: bool,
}

/// Tables do not matter here: there is one.
#[derive(Debug, Default)]
struct Model {
    streams: Vec<ModelStream>,
    /// The next sequence number.
    next: u64,
    /// Iterators of earlier years have expired.
    year: u64,
    failing: bool,
}

#[derive(Clone, Debug, Default)]
struct Fake(Arc<Mutex<Model>>);

impl Model {
    fn new() -> Self {
        let mut model = Self {
            next: 100,
            ..Self::default()
        };
        model.switch_on();
        model
    }

    fn switch_on(&mut self) {
        let first = self.next;
        let shards = (0..2).map(|keys| ModelShard {
            keys: (keys, 2),
            first,
            ..ModelShard::default()
        });
        self.streams.push(ModelStream {
            shards: shards.collect(),
            ..ModelStream::default()
        });
    }

    fn stream(&mut self) -> &mut ModelStream {
        self.streams.last_mut().unwrap()
    }

    fn put(&mut self, key: u64) -> String {
        let number = self.next;
        self.next += 1;
        let id = format!("{key}:{number}");
        let change = StreamRecord::builder()
            .keys("id", AttributeValue::S(key.to_string()))
            .sequence_number(number.to_string());
        let record = Record::builder()
            .event_id(&id)
            .event_name(OperationType::Insert)
            .dynamodb(change.build())
            .build();
        let takes = |shard: &&mut ModelShard| !shard.is_over && key % shard.keys.1 == shard.keys.0;
        let shard = self.stream().shards.iter_mut().find(takes).unwrap();
        shard.records.push((number, record));
        id
    }

    /// Ends a shard, which `children` go on with.
    fn end(&mut self, shard: usize, children: u64) {
        let first = self.next;
        let shards = &mut self.stream().shards;
        shards[shard].is_over = true;
        let (rest, by) = shards[shard].keys;
        for child in 0..children {
            shards.push(ModelShard {
                parent: Some(shard),
                keys: (rest + child * by, by * children),
                first,
                ..ModelShard::default()
            });
        }
    }

    fn shard(&self, stream: &str, shard: &str) -> Result<&ModelShard, Failure> {
        let gone = || Failure::Gone(unavailable("read", "it is gone"));
        let stream = &self.streams[stream.parse::<usize>().unwrap()];
        let shard = &stream.shards[shard.parse::<usize>().unwrap()];
        match stream.is_gone || shard.is_gone {
            true => Err(gone()),
            false => Ok(shard),
        }
    }
}

#[async_trait]
impl Service for Fake {
    async fn newest_stream(&self, _table: &str) -> Result<Option<String>, Failure> {
        let newest = self.0.lock().streams.len().checked_sub(1);
        Ok(newest.map(|index| index.to_string()))
    }

    async fn describe(&self, stream: &str) -> Result<Described, Failure> {
        let model = self.0.lock();
        let stream = &model.streams[stream.parse::<usize>().unwrap()];
        if stream.is_gone {
            return Err(Failure::Gone(unavailable("describe", "it is gone")));
        }
        let shards = stream.shards.iter().enumerate();
        let shards = shards.filter(|(_, shard)| !shard.is_gone);
        Ok(Described {
            shards: shards
                .map(|(index, shard)| Shard {
                    id: index.to_string(),
                    parent: shard.parent.map(|parent| parent.to_string()),
                    begins: Some(shard.first.to_string()),
                })
                .collect(),
            switched: match stream.is_off {
                true => Switched::Off,
                false => Switched::On,
            },
        })
    }

    async fn iterator(&self, stream: &str, shard: &str, from: &Reached) -> Result<String, Failure> {
        let model = self.0.lock();
        let held = model.shard(stream, shard)?;
        let before = |number: u64| held.records.partition_point(|(it, _)| *it < number);
        let at = match from {
            Reached::Horizon | Reached::End => held.trimmed,
            Reached::At(number) => before(number.parse().unwrap()),
            Reached::After(number) => before(number.parse::<u64>().unwrap() + 1),
        };
        if at < held.trimmed {
            return Err(Failure::Trimmed);
        }
        Ok(format!("{}/{stream}/{shard}/{at}", model.year))
    }

    async fn records(&self, iterator: &str) -> Result<Page, Failure> {
        tokio::task::yield_now().await;
        let model = self.0.lock();
        let parts: Vec<&str> = iterator.split('/').collect();
        let [year, stream, shard, at] = parts[..] else {
            panic!("{iterator} is no iterator")
        };
        if model.failing {
            let error = unavailable("read", "it is being tried");
            return Err(Failure::Other(error));
        }
        if year != model.year.to_string() {
            return Err(Failure::Expired);
        }
        let held = model.shard(stream, shard)?;
        let at: usize = at.parse().unwrap();
        if at < held.trimmed {
            return Err(Failure::Trimmed);
        }
        let end = held.records.len().min(at + PAGE);
        let records = held.records[at..end].iter();
        let is_end = held.is_over && end == held.records.len();
        Ok(Page {
            records: records.map(|(_, record)| record.clone()).collect(),
            next: (!is_end).then(|| format!("{year}/{stream}/{shard}/{end}")),
        })
    }
}

/// A reader with our log: what it has settled.
#[derive(Debug, Default)]
struct Reader {
    fake: Fake,
    position: Option<SourcePosition>,
    /// Names of events with their kinds, in order.
    settled: Vec<(String, String)>,
}

impl Reader {
    fn source(&self) -> DynamoDbSource {
        let config = DynamoDbConfig {
            naming: Naming {
                connection: "shop".to_owned(),
                home: None,
                region: "us-east-1".to_owned(),
                account: "000000000000".to_owned(),
                shape: Shape::DynamoDb,
                partitions: 1,
            },
            table: "orders".to_owned(),
            region: "us-east-1".to_owned(),
            endpoint: None,
            keys: DynamoDbKeys {
                access_key_id: "a".to_owned(),
                secret_access_key: "b".to_owned(),
            },
        };
        DynamoDbSource::over(
            &config,
            Arc::new(self.fake.clone()),
            Arc::new(SystemClock::new()),
        )
        .unwrap()
    }

    fn settle(&mut self, source: &DynamoDbSource, batch: Batch) {
        if let Some(position) = &self.position {
            assert!(source.order(&batch.position, position).is_gt());
        }
        for delivery in batch.deliveries {
            let headers = &delivery.record.headers;
            let header = |name: &str| {
                let found = headers.iter().find(|header| header.key == name).unwrap();
                String::from_utf8(found.value.clone().unwrap().to_vec()).unwrap()
            };
            self.settled.push((header("ce_id"), header("ce_type")));
        }
        self.position = Some(batch.position);
    }

    /// Reads `batches`, or until nothing comes any more; the last one of a number of batches is lost
    /// on its way to the log.
    async fn read(&mut self, batches: Option<usize>) {
        let mut source = self.source();
        source.open(self.position.as_ref()).await.unwrap();
        let mut count = 0;
        let patience = Duration::from_secs(60);
        while let Ok(next) = tokio::time::timeout(patience, source.next(1)).await {
            let batch = match next {
                Ok(batch) => batch,
                Err(_) if batches.is_some() => return,
                Err(error) => panic!("{error}"),
            };
            if batches == Some(count) {
                return;
            }
            count += 1;
            self.settle(&source, batch);
        }
    }

    fn gaps(&self) -> usize {
        let kinds = self.settled.iter().map(|(_, kind)| kind);
        kinds.filter(|kind| *kind == "tidemill.table.gap").count()
    }
}

#[derive(Clone, Debug)]
enum Step {
    Put(u64),
    End(Index, u64),
    Expire,
    Fail,
    Read(usize),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        12 => (0u64..8).prop_map(Step::Put),
        2 => (any::<Index>(), 1u64..3).prop_map(|(shard, children)| Step::End(shard, children)),
        1 => Just(Step::Expire),
        1 => Just(Step::Fail),
        4 => (0usize..4).prop_map(Step::Read),
    ];
    prop::collection::vec(step, 1..60)
}

fn of_each_key(ids: impl Iterator<Item = String>) -> BTreeMap<String, Vec<String>> {
    let mut keys: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for id in ids {
        let key = id.split_once(':').map_or(id.as_str(), |(key, _)| key);
        keys.entry(key.to_owned()).or_default().push(id);
    }
    keys
}

fn paused() -> tokio::runtime::Runtime {
    let mut runtime = tokio::runtime::Builder::new_current_thread();
    runtime.enable_time().start_paused(true).build().unwrap()
}

proptest! {
    #[test]
    fn every_change_comes_once_and_those_of_a_key_in_order(steps in steps()) {
        let mut reader = Reader::default();
        *reader.fake.0.lock() = Model::new();
        let fake = reader.fake.clone();
        let mut written = Vec::new();
        paused().block_on(async {
            for step in steps {
                match step {
                    Step::Put(key) => written.push(fake.0.lock().put(key)),
                    Step::End(shard, children) => {
                        let mut model = fake.0.lock();
                        let open = |(index, shard): (usize, &ModelShard)| (!shard.is_over).then_some(index);
                        let open: Vec<usize> = model.stream().shards.iter().enumerate().filter_map(open).collect();
                        model.end(*shard.get(&open), children);
                    }
                    Step::Expire => fake.0.lock().year += 1,
                    Step::Fail => {
                        let was = fake.0.lock().failing;
                        fake.0.lock().failing = !was;
                    }
                    Step::Read(batches) => reader.read(Some(batches)).await,
                }
            }
            fake.0.lock().failing = false;
            reader.read(None).await;
        });
        prop_assert_eq!(reader.gaps(), 0);
        let settled = reader.settled.into_iter().map(|(id, _)| id);
        prop_assert_eq!(of_each_key(settled), of_each_key(written.into_iter()));
    }
}

#[test]
fn what_was_trimmed_before_it_was_read_is_told() {
    let mut reader = Reader::default();
    *reader.fake.0.lock() = Model::new();
    let fake = reader.fake.clone();
    paused().block_on(async {
        let early = fake.0.lock().put(0);
        reader.read(None).await;
        assert_eq!(reader.settled[0].0, early);
        let (lost, kept) = {
            let mut model = fake.0.lock();
            let ids = (model.put(0), model.put(0));
            model.stream().shards[0].trimmed = 2;
            ids
        };
        reader.read(None).await;
        assert_eq!(reader.gaps(), 1);
        let ids: BTreeSet<&String> = reader.settled.iter().map(|(id, _)| id).collect();
        assert!(ids.contains(&kept) && !ids.contains(&lost));
        assert_eq!(
            reader.settled[1].1, "tidemill.table.gap",
            "it is told before what follows"
        );
    });
}

#[test]
fn a_shard_that_goes_while_nobody_reads_is_told_though_nothing_was_read_of_it() {
    let mut reader = Reader::default();
    *reader.fake.0.lock() = Model::new();
    let fake = reader.fake.clone();
    paused().block_on(async {
        reader.read(None).await;
        {
            let mut model = fake.0.lock();
            model.put(0);
            model.end(0, 1);
            model.stream().shards[0].is_gone = true;
        }
        reader.read(None).await;
        assert_eq!(reader.gaps(), 1);
    });
}

#[test]
fn another_stream_of_the_table_is_followed_and_told() {
    let mut reader = Reader::default();
    *reader.fake.0.lock() = Model::new();
    let fake = reader.fake.clone();
    paused().block_on(async {
        reader.read(None).await;
        let (last, first) = {
            let mut model = fake.0.lock();
            let last = model.put(1);
            model.end(0, 0);
            model.end(1, 0);
            model.stream().is_off = true;
            model.switch_on();
            (last, model.put(1))
        };
        reader.read(None).await;
        let ids: Vec<&String> = reader.settled.iter().map(|(id, _)| id).collect();
        assert_eq!((ids[0], ids[2]), (&last, &first));
        assert_eq!(reader.gaps(), 1);
        // One that is gone at once is no other case.
        let next = {
            let mut model = fake.0.lock();
            model.stream().is_gone = true;
            model.switch_on();
            model.put(1)
        };
        reader.read(None).await;
        assert_eq!(reader.gaps(), 2);
        assert_eq!(reader.settled.last().unwrap().0, next);
    });
}

#[test]
fn a_stream_that_is_switched_off_says_what_to_do() {
    let reader = Reader::default();
    *reader.fake.0.lock() = Model::new();
    let fake = reader.fake.clone();
    paused().block_on(async {
        {
            let mut model = fake.0.lock();
            model.end(0, 0);
            model.end(1, 0);
            model.stream().is_off = true;
        }
        let mut source = reader.source();
        source.open(None).await.unwrap();
        let refused = loop {
            match source.next(1).await {
                Ok(batch) => assert!(batch.deliveries.is_empty()),
                Err(error) => break error,
            }
        };
        let cause = std::error::Error::source(&refused).unwrap().to_string();
        assert!(cause.contains("update-table"), "{cause}");
    });
}
