//! The connection that the log comes by.

use std::time::Duration;

use connector::SourceError;
use futures::{FutureExt as _, StreamExt as _};
use mysql_async::binlog::events::Event;
use mysql_async::prelude::Queryable as _;
use mysql_async::{BinlogStream, BinlogStreamRequest, Conn};

use super::event::Packet;
use super::failure::{sql, unavailable};
use super::logged::{FileName, LogPlace};
use super::server::Family;

/// How often the server says that it is there when it has nothing to say.
const HEARTBEAT: Duration = Duration::from_secs(15);
/// How long it may say nothing at all.
const SILENCE: Duration = Duration::from_secs(60);

/// The log from a place on, packet by packet.
pub(super) struct Binlog {
    packets: BinlogStream,
}

impl std::fmt::Debug for Binlog {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Binlog").finish_non_exhaustive()
    }
}

impl Binlog {
    /// Asks for the log from `place` on, as the replica `server_id`.
    pub(super) async fn begin(
        mut client: Conn,
        family: Family,
        server_id: u32,
        base: &str,
        place: LogPlace,
    ) -> Result<Self, SourceError> {
        let act = "begin to read the log";
        let nanoseconds = HEARTBEAT.as_nanos();
        // MySQL has another name for the first since 8.4; what is not known is not read.
        let mut settings = format!(
            "SET @master_heartbeat_period = {nanoseconds}, \
             @source_heartbeat_period = {nanoseconds}"
        );
        if family == Family::Mariadb {
            // Global ids, in the place of what older replicas know.
            settings += ", @mariadb_slave_capability = 4";
        }
        client.query_drop(settings).await.map_err(sql(act))?;
        let file = FileName {
            base: base.to_owned(),
            number: place.file,
        };
        let file = file.to_string();
        let request = BinlogStreamRequest::new(server_id)
            .with_filename(file.as_bytes())
            .with_pos(u64::from(place.byte));
        let packets = client.get_binlog_stream(request).await;
        Ok(Self {
            packets: packets.map_err(sql(act))?,
        })
    }

    /// Waits for the next packet.
    pub(super) async fn next(&mut self) -> Result<Packet, SourceError> {
        let act = "read the log";
        match tokio::time::timeout(SILENCE, self.packets.next()).await {
            Ok(Some(event)) => event.map(packet).map_err(sql(act)),
            Ok(None) => Err(unavailable(act, "the server has ended the connection")),
            Err(silent) => Err(unavailable(act, silent)),
        }
    }

    /// The next packet, if it is here.
    pub(super) fn at_hand(&mut self) -> Result<Option<Packet>, SourceError> {
        let act = "read the log";
        match self.packets.next().now_or_never() {
            None => Ok(None),
            Some(Some(event)) => event.map(|event| Some(packet(event))).map_err(sql(act)),
            Some(None) => Err(unavailable(act, "the server has ended the connection")),
        }
    }
}

fn packet(event: Event) -> Packet {
    let header = event.header();
    Packet {
        kind: header.event_type_raw(),
        time: header.timestamp(),
        server: header.server_id(),
        end: header.log_pos(),
        size: header.event_size(),
        flags: header.flags_raw(),
        body: event.data().to_vec(),
    }
}
