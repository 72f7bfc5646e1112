//! One stream being read.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use clock::SharedClock;
use connector::{Batch, SourceError};
use event::SourceId;
use event_log::TopicName;
use futures::StreamExt as _;
use tokio::time::Instant;

use super::lineage::{Lineage, Loss};
use super::position::{Reached, State};
use super::record;
use super::service::{Described, Failure, Page, Service, Switched};
use crate::Naming;
use crate::change::TableName;
use crate::failure::{rejected, unavailable};
use crate::outbox::Outbox;
use crate::position::Place;

/// How often shards are asked for records while there are none: as often as Lambda asks ("4 times per
/// second", AWS Lambda developer guide). The API has nothing to wait on.
const POLL: Duration = Duration::from_millis(250);
/// How often the stream is asked for new shards, unless one has just ended.
const LOOK: Duration = Duration::from_secs(10);
/// Shards that are asked at the same time.
const AT_ONCE: usize = 16;

/// What a session is of.
#[derive(Clone, Debug)]
pub(super) struct Of {
    pub(super) id: SourceId,
    pub(super) naming: Naming,
    pub(super) table: TableName,
    pub(super) topic: TopicName,
}

/// Whether our log knows which shards there were at the beginning: what goes of them is missed from
/// then on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Begin {
    Known,
    ToBeTold,
}

/// A stream being read.
#[derive(Debug)]
pub(super) struct Session {
    of: Of,
    service: Arc<dyn Service>,
    clock: SharedClock,
    place: Place,
    state: State,
    lineage: Lineage,
    /// Where reading each shard goes on.
    iterators: HashMap<String, String>,
    /// Read, and not handed over.
    read: VecDeque<(String, Page)>,
    begin: Begin,
    /// What was lost, and is still to be told.
    lost: Option<Loss>,
    poll_at: Instant,
    look_at: Instant,
}

impl Session {
    pub(super) fn new(
        of: Of,
        service: Arc<dyn Service>,
        clock: SharedClock,
        place: Place,
        state: State,
    ) -> Self {
        let now = Instant::now();
        Self {
            of,
            service,
            clock,
            place,
            state,
            lineage: Lineage::default(),
            iterators: HashMap::new(),
            read: VecDeque::new(),
            begin: match place.log {
                0 => Begin::ToBeTold,
                _ => Begin::Known,
            },
            lost: None,
            poll_at: now,
            look_at: now,
        }
    }

    /// Waits for something to hand over.
    pub(super) async fn next(&mut self, max_bytes: usize) -> Result<Batch, SourceError> {
        loop {
            if let Some(loss) = self.lost.take() {
                return Ok(self.tell(&loss));
            }
            if !self.read.is_empty() {
                return self.hand_over(max_bytes);
            }
            if Instant::now() >= self.look_at {
                self.look().await?;
                continue;
            }
            if self.begin == Begin::ToBeTold {
                return self.hand_over(max_bytes);
            }
            self.poll().await?;
        }
    }

    /// Says that changes were lost. What the stream still has follows.
    fn tell(&mut self, loss: &Loss) -> Batch {
        let source = &self.of.id;
        metrics::counter!("tidemill_connector_gaps_total", "source" => source.to_string())
            .increment(1);
        tracing::error!(%source, reason = %loss, "changes may have been lost");
        self.place = Place::beginning(self.place.generation + 1, self.place.log + 1);
        let (naming, tables) = (&self.of.naming, [self.of.table.clone()]);
        let mut outbox = Outbox::default();
        let now = self.clock.now();
        outbox.add_gaps(source, naming, &tables, &mut self.place, now);
        outbox.into_batch(self.place, &self.state)
    }

    fn hand_over(&mut self, max_bytes: usize) -> Result<Batch, SourceError> {
        self.begin = Begin::Known;
        self.place.log += 1;
        let mut outbox = Outbox::default();
        while outbox.bytes() < max_bytes
            && let Some((shard, page)) = self.read.pop_front()
        {
            let Of {
                id,
                naming,
                table,
                topic,
            } = &self.of;
            let refused = |error| rejected(format!("read {id}"), error);
            for record in &page.records {
                let event = record::event(id, naming, table, record).map_err(refused)?;
                outbox.add_event(topic, self.place, event);
            }
            let reached = match (&page.next, page.records.last()) {
                (None, _) => Some(Reached::End),
                (Some(_), Some(last)) => {
                    let number = record::number(last).map_err(refused)?;
                    Some(Reached::After(number.to_owned()))
                }
                (Some(_), None) => None,
            };
            if let Some(reached) = reached {
                self.state.shards.insert(shard, reached);
            }
        }
        Ok(outbox.into_batch(self.place, &self.state))
    }

    /// Finds out which shards there are.
    async fn look(&mut self) -> Result<(), SourceError> {
        let described = match self.service.describe(&self.state.stream).await {
            Ok(described) => described,
            Err(Failure::Gone(error)) => return self.follow(error).await,
            Err(failure) => return Err(failure.into()),
        };
        let Described { shards, switched } = described;
        self.lost = self.lineage.update(&mut self.state, shards);
        let shards = &self.state.shards;
        self.iterators.retain(|id, _| shards.contains_key(id));
        let is_over = shards.values().all(|reached| *reached == Reached::End);
        if switched == Switched::Off && is_over {
            let text = "the table's stream is switched off: switch it on with aws dynamodb \
                        update-table --stream-specification StreamEnabled=true,…";
            return self.follow(unavailable("read the stream", text)).await;
        }
        self.look_at = Instant::now() + LOOK;
        Ok(())
    }

    /// Goes on with the table's new stream, or fails with `error` when there is none.
    async fn follow(&mut self, error: SourceError) -> Result<(), SourceError> {
        let newest = self.service.newest_stream(&self.of.table.name).await?;
        match newest {
            Some(stream) if stream != self.state.stream => {
                self.state = State {
                    stream: stream.clone(),
                    ..State::default()
                };
                self.iterators.clear();
                self.lost = Some(Loss::OtherStream { stream });
                Ok(())
            }
            Some(_) | None => Err(error),
        }
    }

    /// Asks every shard that may be read for its next records, when it is time.
    async fn poll(&mut self) -> Result<(), SourceError> {
        let readable: Vec<(String, Reached)> = self
            .lineage
            .readable(&self.state.shards)
            .map(|(id, reached)| (id.clone(), reached.clone()))
            .collect();
        let at = match readable.is_empty() {
            true => self.look_at,
            false => self.poll_at,
        };
        tokio::time::sleep_until(at).await;
        let begun = Instant::now();
        let (service, stream, iterators) = (&self.service, &self.state.stream, &self.iterators);
        let mut pages = futures::stream::iter(readable)
            .map(|(shard, from)| async move {
                let known = iterators.get(&shard).cloned();
                let page = page(&**service, stream, &shard, &from, known).await;
                (shard, page)
            })
            .buffer_unordered(AT_ONCE);
        let (mut found, mut failed) = (Vec::new(), None);
        while let Some((shard, page)) = pages.next().await {
            match page {
                Ok(page) => found.push((shard, page)),
                Err(failure) => failed = Some((shard, failure)),
            }
        }
        drop(pages);
        self.poll_at = begun + POLL;
        for (shard, page) in found {
            match &page.next {
                Some(next) => drop(self.iterators.insert(shard.clone(), next.clone())),
                None => {
                    self.iterators.remove(&shard);
                    // Its children are listed by now.
                    self.look_at = begun;
                }
            }
            if !page.records.is_empty() || page.next.is_none() {
                self.poll_at = begun;
                self.read.push_back((shard, page));
            }
        }
        match failed {
            None => Ok(()),
            Some((shard, failure)) => self.mend(shard, failure),
        }
    }

    /// Sees to what one shard's failure asks for.
    fn mend(&mut self, shard: String, failure: Failure) -> Result<(), SourceError> {
        self.iterators.remove(&shard);
        match failure {
            Failure::Expired => Ok(()),
            Failure::Trimmed => {
                self.state.shards.insert(shard.clone(), Reached::Horizon);
                self.lost.get_or_insert(Loss::Trimmed { shard });
                Ok(())
            }
            Failure::Gone(_) => {
                self.look_at = Instant::now();
                Ok(())
            }
            // What was read is handed over first: the failure comes again if it stays.
            Failure::Other(_) if !self.read.is_empty() => Ok(()),
            Failure::Other(error) => Err(error),
        }
    }
}

async fn page(
    service: &dyn Service,
    stream: &str,
    shard: &str,
    from: &Reached,
    known: Option<String>,
) -> Result<Page, Failure> {
    let iterator = match known {
        Some(iterator) => iterator,
        None => service.iterator(stream, shard, from).await?,
    };
    service.records(&iterator).await
}
