//! Finding out where to go on, and whether anything was lost since.

use std::collections::VecDeque;
use std::sync::Arc;

use clock::SharedClock;
use connector::SourceError;
use event::{SourceId, SourcePosition};
use tokio::time::Instant;

use super::alarm::{Alarm, Gap, announce};
use super::catalog::{Catalog, Health, Published, Slot, quoted};
use super::failure::{rejected, unavailable, wire};
use super::position::State;
use super::session::{Copying, Session, Told};
use super::snapshot::Reader;
use super::stream::Stream;
use super::tls::Tls;
use super::view::View;
use super::wire::Replication;
use super::{Lsn, PostgresConfig};
use crate::change::TableName;
use crate::coverage::Coverage;
use crate::position::{self, Place, Progress};

/// What opening needs.
pub(super) struct Opening<'a> {
    pub(super) id: &'a SourceId,
    pub(super) config: &'a Arc<PostgresConfig>,
    pub(super) address: &'a tokio_postgres::Config,
    pub(super) tables: &'a [TableName],
    /// Tables that the stream has named.
    pub(super) seen: &'a [TableName],
    pub(super) clock: &'a SharedClock,
}

/// The server as the replication connection sees it.
struct Server {
    system: String,
    /// The end of its log.
    end: Lsn,
}

impl Opening<'_> {
    pub(super) async fn open(
        &self,
        position: Option<&SourcePosition>,
    ) -> Result<Session, SourceError> {
        let known = position.map(position::read).transpose();
        let known = known.map_err(|error| rejected(format!("resume {}", self.id), error))?;
        let tls = Tls::new(self.config.ca_certificates.as_deref())
            .map_err(|error| rejected("read the certificates", error))?;
        let mut catalog = Catalog::new(self.config, self.address.clone(), &tls)
            .map_err(|error| rejected("prepare connections", error))?;
        catalog.check().await?;
        let publication = self.config.publication();
        // A table that leaves the publication later is no longer read, and that is meant.
        let wanted = match known {
            None => self.tables,
            Some(_) => &[],
        };
        catalog
            .ensure_publication(&publication, self.tables, wanted)
            .await?;
        let published = catalog.published(&publication).await?;
        let mut connection = Replication::connect(self.address, &tls)
            .await
            .map_err(wire("connect for replication"))?;
        let server = identify(&mut connection).await?;
        let slot = catalog.slot(&self.config.slot()).await?;
        let gap = known
            .as_ref()
            .and_then(|(_, state)| gap(state, slot.as_ref(), &server));

        let mut exported = None;
        let found = match slot {
            Some(slot) if slot.health == Health::Whole => slot.confirmed,
            lost => {
                if lost.is_some() {
                    catalog.drop_slot(&self.config.slot()).await?;
                }
                let (begin, snapshot) = self.create_slot(&mut connection).await?;
                exported = Some(snapshot);
                begin
            }
        };
        let (place, mut state) = self.resumed(known, gap, found, server);
        let unread = self.unread(&mut state.coverage, published);
        let reader = match unread.is_empty() {
            true => None,
            false => Some(Reader::begin(&catalog, exported.as_deref(), unread).await?),
        };
        let mut session = Session {
            id: self.id.clone(),
            config: Arc::clone(self.config),
            clock: Arc::clone(self.clock),
            catalog,
            connection,
            reader,
            stream: Stream::default(),
            place,
            acknowledged: state.flushed,
            server_end: state.flushed,
            handed_over: state.flushed,
            state,
            alarm: Alarm::new(self.config.retained_wal_budget),
            looked: Instant::now(),
            newcomer: None,
            copying: Copying::NotYet,
            told: Told::NotYet,
        };
        session.begin_stream().await?;
        Ok(session)
    }

    async fn create_slot(
        &self,
        connection: &mut Replication,
    ) -> Result<(Lsn, String), SourceError> {
        let name = self.config.slot();
        let act = format!("create slot {name}");
        let create = format!(
            "CREATE_REPLICATION_SLOT {} LOGICAL pgoutput (SNAPSHOT 'export')",
            quoted(&name)
        );
        let rows = connection.query(&create).await.map_err(wire(&act))?;
        let value = |column: usize| rows.first()?.get(column)?.clone();
        let garbled = || unavailable(act.as_str(), "the answer is garbled");
        let begin = value(1).and_then(|text| text.parse().ok());
        Ok((begin.ok_or_else(garbled)?, value(2).ok_or_else(garbled)?))
    }

    /// The place and state to go on from; after a gap, a new beginning that says so.
    fn resumed(
        &self,
        known: Option<(Place, State)>,
        gap: Option<Gap>,
        found: Lsn,
        server: Server,
    ) -> (Place, State) {
        let begin = |generation| Place::beginning(generation, found.get());
        let state = State {
            system: server.system,
            flushed: found,
            ..State::default()
        };
        match (known, gap) {
            (None, _) => (begin(1), state),
            (Some((place, state)), None) => (place, state),
            (Some((place, known)), Some(gap)) => {
                announce(self.id, gap);
                let coverage = known.coverage.after_gap();
                let state = State { coverage, ..state };
                (begin(place.generation + 1), state)
            }
        }
    }

    /// The tables that a snapshot must read, each behind the key that was reached.
    fn unread(
        &self,
        coverage: &mut Coverage<View>,
        published: Vec<Published>,
    ) -> VecDeque<(Published, Option<Vec<String>>)> {
        let mut unread = VecDeque::new();
        for published in published {
            let name = published.table.name.clone();
            let progress = coverage.tables.entry(name).or_insert(Progress::Unread);
            match progress {
                Progress::Unread => unread.push_back((published, None)),
                Progress::UpTo(key) => {
                    let key = Some(key.clone());
                    unread.push_back((published, key));
                }
                Progress::Whole => {}
            }
        }
        // What the stream has named and nobody publishes any more has nothing to be read.
        for name in self.seen {
            coverage
                .tables
                .entry(name.clone())
                .or_insert(Progress::Whole);
        }
        unread
    }
}

/// Whether changes may have been lost since `known`, and why.
fn gap(known: &State, slot: Option<&Slot>, server: &Server) -> Option<Gap> {
    if known.system != server.system {
        return Some(Gap::OtherCluster);
    }
    if server.end < known.flushed {
        return Some(Gap::WentBack);
    }
    match slot {
        None => Some(Gap::SlotMissing),
        Some(slot) if slot.health == Health::Lost => Some(Gap::SlotLost),
        // It only moves by what we acknowledge, which is never more than we know of.
        Some(slot) if slot.confirmed > known.flushed => Some(Gap::SlotMoved),
        Some(_) => None,
    }
}

async fn identify(connection: &mut Replication) -> Result<Server, SourceError> {
    let act = "identify the server";
    let rows = connection
        .query("IDENTIFY_SYSTEM")
        .await
        .map_err(wire(act))?;
    let value = |column: usize| rows.first()?.get(column)?.clone();
    let garbled = || unavailable(act, "the answer is garbled");
    let end = value(2).and_then(|text| text.parse().ok());
    Ok(Server {
        system: value(0).ok_or_else(garbled)?,
        end: end.ok_or_else(garbled)?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_gap_is_found_in_whatever_way_the_slot_was_lost() {
        let known = State {
            system: "7".to_owned(),
            flushed: Lsn::new(100),
            ..State::default()
        };
        let server = |system: &str, end| Server {
            system: system.to_owned(),
            end: Lsn::new(end),
        };
        let slot = |confirmed, health| Slot {
            confirmed: Lsn::new(confirmed),
            retained: 0,
            health,
        };
        let here = server("7", 100);
        let whole = slot(100, Health::Whole);
        assert_eq!(gap(&known, Some(&whole), &here), None);
        assert_eq!(gap(&known, Some(&slot(10, Health::Whole)), &here), None);
        assert_eq!(gap(&known, None, &here), Some(Gap::SlotMissing));
        let found = |slot| gap(&known, Some(&slot), &here);
        assert_eq!(found(slot(100, Health::Lost)), Some(Gap::SlotLost));
        assert_eq!(found(slot(101, Health::Whole)), Some(Gap::SlotMoved));
        let elsewhere = |server| gap(&known, Some(&whole), &server);
        assert_eq!(elsewhere(server("8", 100)), Some(Gap::OtherCluster));
        assert_eq!(elsewhere(server("7", 99)), Some(Gap::WentBack));
    }
}
