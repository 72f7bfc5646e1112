//! What the database says of itself: tables, types, the publication, the slot.

use std::collections::HashMap;

use connector::SourceError;
use deadpool_postgres::{Manager, ManagerConfig, Object, Pool, RecyclingMethod};

use super::failure::{pool, rejected, sql, unavailable};
use super::tls::Tls;
use super::value::Kind;
use super::wire::SETTINGS;
use super::{Lsn, PostgresConfig};
use crate::change::{TableName, topic};
use crate::table::{Column, KeyColumn, Part, Table};
use crate::window::KeyOrder;

/// One for the catalog and one for a snapshot.
const CONNECTIONS: usize = 2;
/// The oldest server whose publications say which columns they have.
const OLDEST: i32 = 150_000;

/// Connections for questions.
#[derive(Clone)]
pub(super) struct Catalog {
    connections: Pool,
    connection: String,
    kinds: HashMap<u32, Kind>,
}

/// A published table.
#[derive(Clone, Debug)]
pub(super) struct Published {
    pub(super) table: Table<Kind>,
    pub(super) key: Vec<KeyColumn>,
    /// A condition on the rows that are published.
    pub(super) filter: Option<String>,
    /// Whether rows of other tables are found through it.
    pub(super) family: Family,
}

/// Whether a table has rows of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Family {
    /// They are its own; what inherits from it is published by itself.
    Own,
    /// They are those of its partitions, published under its name.
    Partitions,
}

/// A replication slot as it stands.
#[derive(Clone, Debug)]
pub(super) struct Slot {
    pub(super) confirmed: Lsn,
    /// Bytes of log that the server keeps for it.
    pub(super) retained: u64,
    pub(super) health: Health,
}

/// Whether a slot still has what it promised.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Health {
    Whole,
    /// The server has removed log that was not read yet.
    Lost,
}

impl Catalog {
    pub(super) fn new(
        config: &PostgresConfig,
        mut address: tokio_postgres::Config,
        tls: &Tls,
    ) -> Result<Self, deadpool_postgres::BuildError> {
        let settings = SETTINGS.map(|(name, value)| format!("-c {name}={value}"));
        let given = address.get_options().unwrap_or_default().to_owned();
        address
            .options(format!("{given} {}", settings.join(" ")))
            .application_name("tidemill")
            .ssl_mode(tls.mode());
        let settings = ManagerConfig {
            recycling_method: RecyclingMethod::Fast,
        };
        let manager = Manager::from_config(address, tls.clone(), settings);
        Ok(Self {
            connections: Pool::builder(manager).max_size(CONNECTIONS).build()?,
            connection: config.naming.connection.clone(),
            kinds: HashMap::new(),
        })
    }

    pub(super) async fn connection(&self) -> Result<Object, SourceError> {
        self.connections
            .get()
            .await
            .map_err(pool("connect to PostgreSQL"))
    }

    /// Refuses a server that cannot be read from.
    pub(super) async fn check(&self) -> Result<(), SourceError> {
        let act = "ask PostgreSQL for its settings";
        let row = self.connection().await?;
        let row = row
            .query_one(
                "SELECT current_setting('server_version_num')::int, current_setting('wal_level')",
                &[],
            )
            .await
            .map_err(sql(act))?;
        let (version, level): (i32, String) = (row.get(0), row.get(1));
        if version < OLDEST {
            return Err(rejected(act, format!("version {version} is older than 15")));
        }
        if level != "logical" {
            let text = format!("wal_level is {level}; set it to logical and restart the server");
            return Err(rejected(act, text));
        }
        Ok(())
    }

    /// Makes the publication where there is none; one that is there must have what is
    /// `expected`.
    pub(super) async fn ensure_publication(
        &self,
        name: &str,
        tables: &[TableName],
        expected: &[TableName],
    ) -> Result<(), SourceError> {
        let act = format!("find publication {name}");
        let client = self.connection().await?;
        let found = client
            .query_opt("SELECT 1 FROM pg_publication WHERE pubname = $1", &[&name])
            .await
            .map_err(sql(&act))?;
        if found.is_some() {
            return self.expect_members(&client, name, expected).await;
        }
        if tables.is_empty() {
            return Err(rejected(act, "there is none, and no tables are named"));
        }
        let tables: Vec<String> = tables.iter().map(quoted_table).collect();
        let create = format!(
            "CREATE PUBLICATION {} FOR TABLE {}",
            quoted(name),
            tables.join(", ")
        );
        let act = format!("create publication {name}");
        client.batch_execute(&create).await.map_err(sql(&act))
    }

    /// Refuses a publication without a table that was named: it would be missed, and nobody would see.
    async fn expect_members(
        &self,
        client: &Object,
        name: &str,
        tables: &[TableName],
    ) -> Result<(), SourceError> {
        let act = format!("find the tables in publication {name}");
        let named: Vec<String> = tables.iter().map(quoted_table).collect();
        let missing = client
            .query_opt(
                "SELECT string_agg(named, ', ') FROM unnest($2::text[]) AS named, pg_publication \
                 WHERE pubname = $1 AND NOT puballtables \
                 AND NOT EXISTS (SELECT FROM pg_publication_rel WHERE prpubid = pg_publication.oid \
                 AND prrelid = to_regclass(named)) \
                 AND NOT EXISTS (SELECT FROM pg_publication_namespace \
                 WHERE pnpubid = pg_publication.oid AND pnnspid = \
                 (SELECT relnamespace FROM pg_class WHERE oid = to_regclass(named)))",
                &[&name, &named],
            )
            .await
            .map_err(sql(&act))?;
        let missing: Option<String> = missing.and_then(|row| row.get(0));
        match missing {
            None => Ok(()),
            Some(missing) => Err(rejected(
                act,
                format!(
                    "it exists and has not {missing}: ALTER PUBLICATION {} ADD TABLE {missing}, or \
                     drop it to have it made anew",
                    quoted(name)
                ),
            )),
        }
    }

    /// The tables of a publication, by name.
    pub(super) async fn published(
        &mut self,
        publication: &str,
    ) -> Result<Vec<Published>, SourceError> {
        let act = format!("list the tables of publication {publication}");
        let client = self.connection().await?;
        let rows = client
            .query(
                "SELECT schemaname, tablename, attnames, rowfilter FROM pg_publication_tables \
                 WHERE pubname = $1 ORDER BY 1, 2",
                &[&publication],
            )
            .await
            .map_err(sql(&act))?;
        let mut published = Vec::new();
        for row in rows {
            let name = TableName {
                schema: row.get(0),
                name: row.get(1),
            };
            let (columns, filter): (Vec<String>, _) = (row.get(2), row.get(3));
            published.push(self.describe(&client, name, &columns, filter).await?);
        }
        Ok(published)
    }

    async fn describe(
        &mut self,
        client: &Object,
        name: TableName,
        columns: &[String],
        filter: Option<String>,
    ) -> Result<Published, SourceError> {
        let act = format!("describe table {name}");
        // Before version 18 computed columns are listed and not sent.
        let types = client
            .query(
                "SELECT attname, atttypid, relkind = 'p' \
                 FROM pg_attribute JOIN pg_class ON pg_class.oid = attrelid \
                 WHERE attrelid = $1::text::regclass AND attnum > 0 AND NOT attisdropped \
                 AND (attgenerated = '' OR current_setting('server_version_num')::int >= 180000) \
                 ORDER BY attnum",
                &[&quoted_table(&name)],
            )
            .await
            .map_err(sql(&act))?;
        let key = self.key(client, &name).await?;
        if key.is_empty() {
            return Err(rejected(
                act,
                "it has neither a primary key nor another replica identity index; \
                 add one or leave it out of the publication",
            ));
        }
        let mut found = Vec::new();
        let family = match types.first().map(|row| row.get(2)) {
            Some(true) => Family::Partitions,
            Some(false) | None => Family::Own,
        };
        for row in types {
            let (column, oid): (String, u32) = (row.get(0), row.get(1));
            if columns.contains(&column) {
                found.push(Column {
                    part: part(&column, &key),
                    kind: self.kind(client, oid).await?,
                    name: column,
                });
            }
        }
        Ok(Published {
            table: Table {
                topic: topic(&self.connection, &name).map_err(|error| rejected(act, error))?,
                name,
                columns: found,
            },
            key,
            filter,
            family,
        })
    }

    /// The columns that identify a row, in the order of their index.
    pub(super) async fn key(
        &self,
        client: &Object,
        table: &TableName,
    ) -> Result<Vec<KeyColumn>, SourceError> {
        let act = format!("find the key of table {table}");
        let rows = client
            .query(
                "SELECT a.attname, a.atttypid IN (20, 21, 23) \
                 FROM pg_class c JOIN pg_index i ON i.indrelid = c.oid \
                 JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum = ANY (i.indkey) \
                 WHERE c.oid = to_regclass($1) \
                 AND CASE c.relreplident WHEN 'i' THEN i.indisreplident ELSE i.indisprimary END \
                 ORDER BY array_position(i.indkey::int2[], a.attnum)",
                &[&quoted_table(table)],
            )
            .await
            .map_err(sql(&act))?;
        let column = |row: &tokio_postgres::Row| KeyColumn {
            name: row.get(0),
            order: match row.get(1) {
                true => KeyOrder::Integer,
                false => KeyOrder::Bytes,
            },
        };
        Ok(rows.iter().map(column).collect())
    }

    /// How to read values of a type: what somebody has made goes by what it was made of.
    pub(super) async fn kind(&mut self, client: &Object, oid: u32) -> Result<Kind, SourceError> {
        if let Some(kind) = Kind::of_built_in(oid) {
            return Ok(kind);
        }
        if let Some(kind) = self.kinds.get(&oid) {
            return Ok(kind.clone());
        }
        let row = client
            .query_opt(
                "SELECT typtype::text, typbasetype, typelem, typcategory::text, typdelim::text \
                 FROM pg_type WHERE oid = $1",
                &[&oid],
            )
            .await
            .map_err(sql("describe a type"))?;
        let kind = match row {
            Some(row) if row.get::<_, &str>(0) == "d" => {
                Box::pin(self.kind(client, row.get(1))).await?
            }
            Some(row) if row.get::<_, &str>(3) == "A" && row.get::<_, &str>(4) == "," => {
                let item = Box::pin(self.kind(client, row.get(2))).await?;
                Kind::Array(Box::new(item))
            }
            // An enum, a range, a composite, or a type that is gone by now.
            Some(_) | None => Kind::Text,
        };
        self.kinds.insert(oid, kind.clone());
        Ok(kind)
    }

    /// The slot of that name in this database, if there is one.
    pub(super) async fn slot(&self, name: &str) -> Result<Option<Slot>, SourceError> {
        let act = format!("look at slot {name}");
        let client = self.connection().await?;
        let row = client
            .query_opt(
                "SELECT plugin = 'pgoutput' AND database = current_database(), \
                 confirmed_flush_lsn::text, \
                 coalesce(pg_current_wal_lsn() - restart_lsn, 0)::bigint, wal_status \
                 FROM pg_replication_slots WHERE slot_name = $1",
                &[&name],
            )
            .await
            .map_err(sql(&act))?;
        let Some(row) = row else { return Ok(None) };
        if row.get::<_, Option<bool>>(0) != Some(true) {
            let text = "it is not a slot of pgoutput in this database";
            return Err(rejected(act, text));
        }
        // Who makes it waits for running transactions, and may be gone: then it vanishes again.
        let Some(confirmed) = row.get::<_, Option<&str>>(1) else {
            return Err(unavailable(act, "it is still being made"));
        };
        let confirmed = confirmed.parse();
        Ok(Some(Slot {
            confirmed: confirmed.map_err(|error| unavailable(act, error))?,
            retained: u64::try_from(row.get::<_, i64>(2)).unwrap_or(0),
            health: match row.get::<_, Option<&str>>(3) {
                Some("lost") => Health::Lost,
                Some(_) | None => Health::Whole,
            },
        }))
    }

    /// Removes a slot.
    pub(super) async fn drop_slot(&self, name: &str) -> Result<(), SourceError> {
        let client = self.connection().await?;
        client
            .execute("SELECT pg_drop_replication_slot($1)", &[&name])
            .await
            .map(|_| ())
            .map_err(sql(&format!("drop slot {name}")))
    }
}

/// Whether a column is part of the key.
pub(super) fn part(column: &str, key: &[KeyColumn]) -> Part {
    match key.iter().any(|part| part.name == column) {
        true => Part::Key,
        false => Part::Plain,
    }
}

/// A name as it stands in a command.
pub(super) fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// A table's name as it stands in a command.
pub(super) fn quoted_table(table: &TableName) -> String {
    format!("{}.{}", quoted(&table.schema), quoted(&table.name))
}

/// Text as it stands in a command.
pub(super) fn literal(text: &str) -> String {
    postgres_protocol::escape::escape_literal(text)
}
