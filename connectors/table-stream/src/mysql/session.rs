//! An open connection: gaps first, then snapshots, then the stream.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;

use clock::SharedClock;
use connector::{Batch, SourceError};
use event::SourceId;
use tokio::time::Instant;

use super::MysqlConfig;
use super::binlog::Binlog;
use super::charset::Charsets;
use super::event::Type;
use super::failure::{rejected, unavailable};
use super::gap::Gap;
use super::logged::LogPlace;
use super::position::{Mark, Origin, State, View};
use super::server::Server;
use super::snapshot::Reader;
use super::stream::{Found, Step, Stream};
use super::value::Kind;
use crate::change::TableName;
use crate::coverage::Chunk;
use crate::outbox::Outbox;
use crate::position::Place;
use crate::window::{Shown, shown};

/// Log of others that goes by before the position is written without a change of ours.
const QUIET_BYTES: u64 = 1 << 20;
/// How often the server is asked how much there is to read, while there is something.
const LOOK: Duration = Duration::from_secs(5);

/// An open connection.
#[derive(Debug)]
pub(super) struct Session {
    pub(super) id: SourceId,
    pub(super) config: Arc<MysqlConfig>,
    pub(super) clock: SharedClock,
    pub(super) server: Server,
    pub(super) server_id: u32,
    pub(super) charsets: Charsets,
    /// The snapshot, until all of it was read.
    pub(super) reader: Option<Reader>,
    /// The log, once it is asked for.
    pub(super) binlog: Option<Binlog>,
    pub(super) stream: Stream,
    pub(super) place: Place,
    pub(super) state: State,
    /// The place that was handed over last.
    pub(super) handed_over: LogPlace,
    /// Bytes of log known to be waiting.
    pub(super) waiting: u64,
    pub(super) looked: Option<Instant>,
    /// Why the stream cannot go on: with the next connection it does.
    pub(super) halt: Option<Halt>,
    pub(super) told: Told,
}

/// What has to be done before the stream goes on.
#[derive(Clone, Debug)]
pub(super) enum Halt {
    /// A table is to be read from its beginning.
    ReadAgain(TableName),
    /// All of them are.
    Lost(Gap),
}

/// Whether the position up to a halt was handed over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Told {
    NotYet,
    All,
}

/// Asks for the log, and says what its file says of itself.
pub(super) async fn begin(
    server: &Server,
    server_id: u32,
    from: &Mark,
) -> Result<(Binlog, Origin), SourceError> {
    let client = server.another().await?;
    let begun = Binlog::begin(client, server.family, server_id, &from.base, from.place);
    let mut binlog = begun.await?;
    loop {
        let packet = binlog.next().await?;
        if packet.what() == Type::Format {
            let origin = Origin {
                server: packet.server,
                begun: packet.time,
            };
            return Ok((binlog, origin));
        }
    }
}

impl Session {
    /// Waits for something to hand over.
    pub(super) async fn next(&mut self, max_bytes: usize) -> Result<Batch, SourceError> {
        if !self.state.coverage.gaps.is_empty() {
            return Ok(self.tell_gaps());
        }
        if let Some(reader) = &mut self.reader {
            let naming = &self.config.naming;
            let chunk = reader.next(&self.server, naming, &self.charsets, max_bytes);
            match chunk.await? {
                Some(chunk) => return self.hand_over(chunk),
                None => self.reader = None,
            }
        }
        if self.binlog.is_none() {
            let (binlog, origin) = begin(&self.server, self.server_id, &self.state.from).await?;
            if self.state.from.origin.is_some_and(|known| known != origin) {
                self.halt = Some(Halt::Lost(Gap::OtherLog));
            }
            self.stream.mark.origin = Some(origin);
            self.binlog = Some(binlog);
        }
        self.read_stream(max_bytes).await
    }

    fn tell_gaps(&mut self) -> Batch {
        let mut outbox = Outbox::default();
        let at = self.clock.now();
        let gaps = std::mem::take(&mut self.state.coverage.gaps);
        outbox.add_gaps(&self.id, &self.config.naming, &gaps, &mut self.place, at);
        outbox.into_batch(self.place, &self.state)
    }

    fn hand_over(&mut self, chunk: Chunk<Kind, View>) -> Result<Batch, SourceError> {
        let mut outbox = Outbox::default();
        let at = self.clock.now();
        let (naming, place) = (&self.config.naming, &mut self.place);
        let read = outbox.add_rows(&self.id, naming, &chunk.table, &chunk.rows, place, at);
        read.map_err(|error| rejected("read a snapshot", error))?;
        self.state.coverage.has_read(chunk.window);
        Ok(outbox.into_batch(self.place, &self.state))
    }

    async fn read_stream(&mut self, max_bytes: usize) -> Result<Batch, SourceError> {
        let mut outbox = Outbox::default();
        loop {
            if let Some(halt) = &self.halt
                && self.told == Told::All
            {
                let text = match halt {
                    Halt::ReadAgain(name) => {
                        format!("table {name} is to be read from its beginning")
                    }
                    Halt::Lost(gap) => gap.to_string(),
                };
                return Err(unavailable("read the stream", text));
            }
            if self.halt.is_some() || outbox.bytes() >= max_bytes {
                return Ok(self.batch(outbox));
            }
            if let Some(step) = self.stream.replayed().await? {
                self.take(step, &mut outbox)?;
                continue;
            }
            let Some(binlog) = &mut self.binlog else {
                return Err(unavailable("read the stream", "it is not open"));
            };
            // The rest of a transaction is on its way for sure.
            let packet = match self.stream.is_between_transactions() {
                true => match binlog.at_hand() {
                    Ok(None) => {
                        self.waiting = 0;
                        if self.is_worth_telling(&outbox) {
                            return Ok(self.batch(outbox));
                        }
                        binlog_next(&mut self.binlog).await
                    }
                    Ok(Some(packet)) => Ok(packet),
                    Err(error) => Err(error),
                },
                false => binlog.next().await,
            };
            match packet {
                Ok(packet) => {
                    self.waiting = self.waiting.saturating_sub(packet.size.into());
                    let step = self.stream.packet(packet).await?;
                    self.take(step, &mut outbox)?;
                    self.look().await?;
                }
                Err(_) if self.is_worth_telling(&outbox) => return Ok(self.batch(outbox)),
                Err(error) => return Err(error),
            }
        }
    }

    fn is_worth_telling(&self, outbox: &Outbox) -> bool {
        let from = self.state.from.place;
        let passed = from.number().saturating_sub(self.handed_over.number());
        !outbox.is_empty() || passed >= QUIET_BYTES
    }

    fn batch(&mut self, outbox: Outbox) -> Batch {
        if self.halt.is_some() {
            self.told = Told::All;
        }
        self.handed_over = self.state.from.place;
        outbox.into_batch(self.place, &self.state)
    }

    /// Asks how much there is to read.
    async fn look(&mut self) -> Result<(), SourceError> {
        if self.looked.is_some_and(|at| at.elapsed() < LOOK) {
            return Ok(());
        }
        self.looked = Some(Instant::now());
        let here = self.stream.mark.place;
        let files = self.server.files().await?;
        self.waiting = files
            .iter()
            .map(|(name, size)| match name.number.cmp(&here.file) {
                std::cmp::Ordering::Less => 0,
                std::cmp::Ordering::Equal => size.saturating_sub(here.byte.into()),
                std::cmp::Ordering::Greater => *size,
            })
            .sum();
        Ok(())
    }

    fn take(&mut self, step: Step, outbox: &mut Outbox) -> Result<(), SourceError> {
        match step {
            Step::Nothing => {}
            Step::Changes(found) => {
                for change in found {
                    self.deliver(&change, outbox)?;
                }
            }
            Step::Replaced { number, tables } => {
                if self.advance(number).is_some() {
                    for name in tables {
                        self.read_again(&name);
                    }
                }
            }
            Step::Reached(end) => self.reached(end),
            Step::Lost(gap) => self.halt = Some(Halt::Lost(gap)),
        }
        Ok(())
    }

    /// Everything that was committed before `end` was handed over.
    fn reached(&mut self, end: LogPlace) {
        if self.halt.is_some() {
            return;
        }
        self.state.from = self.stream.resumable();
        let windows = &mut self.state.coverage.windows;
        windows.retain(|window| window.view.until > end);
        self.place = self.place.past(end.number());
    }

    /// The place of a change that was not handed over yet, as the one that is reached now.
    fn advance(&mut self, number: u64) -> Option<Place> {
        let transaction = self.stream.transaction.as_ref()?;
        let place = Place {
            generation: self.place.generation,
            log: transaction.begin.number(),
            change: number,
            row: 0,
        };
        if place <= self.place || self.halt.is_some() {
            return None;
        }
        self.place = place;
        Some(place)
    }

    fn deliver(&mut self, found: &Found, outbox: &mut Outbox) -> Result<(), SourceError> {
        let Some(place) = self.advance(found.number) else {
            return Ok(());
        };
        let Some((begin, at)) = self.stream.transaction.as_ref().map(|it| (it.begin, it.at)) else {
            return Ok(());
        };
        let name = &found.table.name;
        let text = |column: &str| found.text(column).map(Cow::Owned);
        match shown(&self.state.coverage.windows, name, found.act, begin, text) {
            Shown::No => {}
            Shown::Yes => return Ok(()),
            Shown::InPart => {
                self.read_again(name);
                return Ok(());
            }
        }
        let rows = found.rows();
        let change = found.table.change(found.act, &rows, place.sequence(), at);
        let change = change.map_err(|error| rejected("read a change", error))?;
        let naming = &self.config.naming;
        outbox.add(&self.id, naming, &found.table.topic, place, &change);
        Ok(())
    }

    /// Has a table forgotten and read from its beginning: it has become another one, or was emptied
    /// between two parts of its snapshot, and no event can say so of one part.
    fn read_again(&mut self, name: &TableName) {
        self.state.coverage.read_again(name);
        self.halt = Some(Halt::ReadAgain(name.clone()));
    }
}

async fn binlog_next(binlog: &mut Option<Binlog>) -> Result<super::event::Packet, SourceError> {
    match binlog {
        Some(binlog) => binlog.next().await,
        None => Err(unavailable("read the stream", "it is not open")),
    }
}
