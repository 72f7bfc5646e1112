//! What is asked of the server: its settings, its log and what its tables look like.

use std::collections::{HashMap, HashSet};

use connector::SourceError;
use mysql_async::prelude::Queryable as _;
use mysql_async::{Conn, Opts, OptsBuilder, SslOpts};

use super::charset::Charsets;
use super::failure::{rejected, sql, unavailable};
use super::logged::{FileName, LogPlace};
use super::value::Kind;
use super::{MysqlAddress, MysqlConfig};
use crate::Naming;
use crate::change::TableName;
use crate::table::{Column, KeyColumn, Part, Table};
use crate::window::KeyOrder;

/// The largest packet that a server sends.
const LARGEST_PACKET: usize = 1 << 30;

/// What every connection of ours asks for: text in UTF-8, times in UTC, whole rows in one order, however
/// long that takes.
const SETTINGS: &str = "SET NAMES utf8mb4";
const SESSION: &str = "SET SESSION time_zone = '+00:00', sql_mode = '', net_write_timeout = 86400, \
                       wait_timeout = 86400, lock_wait_timeout = 10, max_sort_length = 16384";

/// Whose server it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Family {
    Mysql,
    Mariadb,
}

/// A connection for questions.
#[derive(Debug)]
pub(super) struct Server {
    options: Opts,
    client: Conn,
    pub(super) family: Family,
    version: (u16, u16, u16),
}

/// A table to be read.
#[derive(Clone, Debug)]
pub(super) struct Found {
    pub(super) table: Table<Kind>,
    /// For every column, what is selected.
    pub(super) selected: Vec<String>,
    pub(super) key: Vec<KeyColumn>,
}

/// How to connect.
///
/// # Errors
/// The file with certificates is not there.
pub(super) fn options(config: &MysqlConfig, address: &MysqlAddress) -> Result<Opts, SourceError> {
    let mut options = OptsBuilder::from_opts(address.options().clone())
        .prefer_socket(false)
        .max_allowed_packet(Some(LARGEST_PACKET))
        .wait_timeout(Some(86_400))
        .setup(vec![SETTINGS, SESSION]);
    if let Some(password) = &config.password {
        options = options.pass(Some(password.as_str()));
    }
    if let Some(file) = &config.ca_certificates {
        if let Err(error) = std::fs::metadata(file) {
            return Err(rejected(format!("read {}", file.display()), error));
        }
        let tls = SslOpts::default()
            .with_root_certs(vec![file.clone().into()])
            .with_disable_built_in_roots(true);
        options = options.ssl_opts(tls);
    }
    Ok(options.into())
}

impl Server {
    pub(super) async fn connect(options: Opts) -> Result<Self, SourceError> {
        let client = Conn::new(options.clone()).await;
        let mut client = client.map_err(sql("connect"))?;
        let act = "ask for the version";
        let version: Option<String> = client
            .query_first("SELECT version()")
            .await
            .map_err(sql(act))?;
        let family = match version.is_some_and(|version| version.contains("MariaDB")) {
            true => Family::Mariadb,
            false => Family::Mysql,
        };
        Ok(Self {
            options,
            version: client.server_version(),
            client,
            family,
        })
    }

    /// Another connection.
    pub(super) async fn another(&self) -> Result<Conn, SourceError> {
        Conn::new(self.options.clone())
            .await
            .map_err(sql("connect again"))
    }

    /// Refuses a server whose log does not tell every row.
    pub(super) async fn check(&mut self) -> Result<(), SourceError> {
        let act = "check the server's settings";
        let rows: Vec<(String, String)> = self
            .client
            .query("SHOW GLOBAL VARIABLES")
            .await
            .map_err(sql(act))?;
        let settings: HashMap<String, String> = rows.into_iter().collect();
        let wanted = [
            ("log_bin", "ON", "start the server with log_bin"),
            ("binlog_format", "ROW", "SET GLOBAL binlog_format = ROW"),
            (
                "binlog_row_image",
                "FULL",
                "SET GLOBAL binlog_row_image = FULL",
            ),
            (
                "binlog_row_metadata",
                "FULL",
                "SET GLOBAL binlog_row_metadata = FULL",
            ),
            (
                "binlog_row_value_options",
                "",
                "SET GLOBAL binlog_row_value_options = ''",
            ),
            (
                "log_bin_compress",
                "OFF",
                "SET GLOBAL log_bin_compress = OFF",
            ),
        ];
        for (name, value, remedy) in wanted {
            // Each family has some that the other does not.
            let optional = matches!(name, "binlog_row_value_options" | "log_bin_compress");
            match settings.get(name) {
                Some(found) if found.eq_ignore_ascii_case(value) => {}
                None if optional => {}
                Some(found) => {
                    let text = format!(
                        "{name} is {found}, and must be {value}: {remedy}, also in the server's own configuration, and connect programs anew"
                    );
                    return Err(rejected(act, text));
                }
                None => {
                    let text = format!(
                        "there is no {name}: MySQL 8.0 or MariaDB 10.5 is the oldest version that can be read"
                    );
                    return Err(rejected(act, text));
                }
            }
        }
        Ok(())
    }

    /// The end of the log and its file.
    pub(super) async fn end(&mut self) -> Result<(FileName, LogPlace), SourceError> {
        end(&mut self.client, self.family, self.version).await
    }

    /// The version, for [`end`].
    pub(super) const fn version(&self) -> (u16, u16, u16) {
        self.version
    }

    /// The files of the log, each with its size.
    pub(super) async fn files(&mut self) -> Result<Vec<(FileName, u64)>, SourceError> {
        let act = "list the log's files";
        let rows: Vec<mysql_async::Row> = self
            .client
            .query("SHOW BINARY LOGS")
            .await
            .map_err(sql(act))?;
        let mut files = Vec::new();
        for row in rows {
            let (name, size): (Option<String>, Option<u64>) = (row.get(0), row.get(1));
            let name = name.as_deref().and_then(FileName::parse);
            let (Some(name), Some(size)) = (name, size) else {
                return Err(unavailable(act, "the answer is garbled"));
            };
            files.push((name, size));
        }
        Ok(files)
    }

    /// The character sets of the server.
    pub(super) async fn charsets(&mut self) -> Result<Charsets, SourceError> {
        let act = "list the character sets";
        let known = "SELECT ID, CHARACTER_SET_NAME FROM information_schema.COLLATIONS \
                     WHERE ID IS NOT NULL AND CHARACTER_SET_NAME IS NOT NULL";
        let rows: Vec<(u32, String)> = self.client.query(known).await.map_err(sql(act))?;
        let mut names: HashMap<u32, String> = rows.into_iter().collect();
        if self.family == Family::Mariadb {
            // Since 10.10 some collations are of several sets; before, the table has no numbers.
            let known = "SELECT ID, CHARACTER_SET_NAME \
                         FROM information_schema.COLLATION_CHARACTER_SET_APPLICABILITY";
            if let Ok(rows) = self.client.query::<(u32, String), _>(known).await {
                names.extend(rows);
            }
        }
        let mut charsets = Charsets::new(names);
        let single = "SELECT CHARACTER_SET_NAME FROM information_schema.CHARACTER_SETS \
                      WHERE MAXLEN = 1 AND CHARACTER_SET_NAME NOT IN ('binary', 'ascii')";
        let single: Vec<String> = self.client.query(single).await.map_err(sql(act))?;
        let bytes: Vec<u8> = (0..=255).collect();
        let all = super::event::hex(&bytes);
        for name in single {
            let ask = format!("SELECT CONVERT(_{name} X'{all}' USING utf8mb4)");
            // One that this server does not convert is refused where a column has it.
            let Ok(Some(text)) = self.client.query_first::<String, _>(ask).await else {
                continue;
            };
            let characters: Vec<char> = text.chars().collect();
            if let Ok(characters) = <[char; 256]>::try_from(characters) {
                charsets.add(&name, characters);
            }
        }
        Ok(charsets)
    }

    /// Those of `tables` that are there.
    pub(super) async fn existing(
        &mut self,
        tables: &[TableName],
    ) -> Result<HashSet<TableName>, SourceError> {
        let act = "look for tables";
        let mut existing = HashSet::new();
        for name in tables {
            let ask = "SELECT TABLE_TYPE, coalesce(ENGINE, '') FROM information_schema.TABLES \
                       WHERE TABLE_SCHEMA = ? AND TABLE_NAME = ?";
            let found: Option<(String, String)> = self
                .client
                .exec_first(ask, (&name.schema, &name.name))
                .await
                .map_err(sql(act))?;
            let Some((kind, engine)) = found else {
                continue;
            };
            if kind != "BASE TABLE" {
                let text = format!("it is a {kind}, and only plain tables can be read");
                return Err(rejected(format!("read table {name}"), text));
            }
            if !engine.eq_ignore_ascii_case("InnoDB") {
                let text = format!("its engine is {engine}, and only InnoDB's tables can be read");
                return Err(rejected(format!("read table {name}"), text));
            }
            existing.insert(name.clone());
        }
        Ok(existing)
    }
}

/// The end of the log and its file.
pub(super) async fn end(
    client: &mut Conn,
    family: Family,
    version: (u16, u16, u16),
) -> Result<(FileName, LogPlace), SourceError> {
    let act = "ask for the end of the log";
    let ask = match family {
        Family::Mysql if version >= (8, 2, 0) => "SHOW BINARY LOG STATUS",
        Family::Mysql | Family::Mariadb => "SHOW MASTER STATUS",
    };
    let row: Option<mysql_async::Row> = client.query_first(ask).await.map_err(sql(act))?;
    let row = row.ok_or_else(|| rejected(act, "the server has no binary log"))?;
    place(row.get(0), row.get(1)).ok_or_else(|| unavailable(act, "the answer is garbled"))
}

/// A file and a byte in it, as the server answers them.
pub(super) fn place(file: Option<String>, byte: Option<u64>) -> Option<(FileName, LogPlace)> {
    let name = FileName::parse(&file?)?;
    let place = LogPlace {
        file: name.number,
        byte: u32::try_from(byte?).ok()?,
    };
    Some((name, place))
}

/// What a table looks like to `client`.
pub(super) async fn describe(
    client: &mut Conn,
    naming: &Naming,
    charsets: &Charsets,
    name: &TableName,
) -> Result<Found, SourceError> {
    let act = format!("describe table {name}");
    let ask = "SELECT COLUMN_NAME, DATA_TYPE, CHARACTER_SET_NAME FROM information_schema.COLUMNS \
               WHERE TABLE_SCHEMA = ? AND TABLE_NAME = ? ORDER BY ORDINAL_POSITION";
    let rows: Vec<(String, String, Option<String>)> = client
        .exec(ask, (&name.schema, &name.name))
        .await
        .map_err(sql(&act))?;
    let ask = "SELECT COLUMN_NAME FROM information_schema.STATISTICS WHERE TABLE_SCHEMA = ? \
               AND TABLE_NAME = ? AND INDEX_NAME = 'PRIMARY' ORDER BY SEQ_IN_INDEX";
    let key: Vec<String> = client
        .exec(ask, (&name.schema, &name.name))
        .await
        .map_err(sql(&act))?;
    if key.is_empty() {
        let text = "it has no primary key; add one or leave it out";
        return Err(rejected(act, text));
    }
    let mut columns = Vec::new();
    let mut selected = Vec::new();
    let mut orders = HashMap::new();
    for (column, kind, charset) in rows {
        let refused = |what: String| rejected(&act, format!("column {column} has {what}"));
        let (kind, order) = kind_of(&kind)
            .ok_or_else(|| refused(format!("the type {kind}, which is not supported")))?;
        if let Some(charset) = charset {
            let known = charsets.named(&charset);
            known.map_err(|what| refused(format!("{what}, which is not supported")))?;
        }
        if matches!(kind, Kind::Float | Kind::Double) && key.contains(&column) {
            return Err(refused("fractions, and is part of the key".to_owned()));
        }
        orders.insert(column.clone(), order);
        selected.push(selected_as(&column, kind));
        columns.push(Column {
            part: match key.contains(&column) {
                true => Part::Key,
                false => Part::Plain,
            },
            name: column,
            kind,
        });
    }
    let key = key.into_iter().map(|name| KeyColumn {
        order: orders.get(&name).copied().unwrap_or(KeyOrder::Bytes),
        name,
    });
    let topic = naming.topic(name).map_err(|error| rejected(&act, error))?;
    Ok(Found {
        key: key.collect(),
        selected,
        table: Table {
            name: name.clone(),
            topic,
            columns,
        },
    })
}

/// How values of a type are read, and how they are ordered as keys.
fn kind_of(of: &str) -> Option<(Kind, KeyOrder)> {
    Some(match of {
        "tinyint" | "smallint" | "mediumint" | "int" | "bigint" | "year" | "bit" => {
            (Kind::Number, KeyOrder::Integer)
        }
        "decimal" => (Kind::Number, KeyOrder::Bytes),
        "float" => (Kind::Float, KeyOrder::Bytes),
        "double" => (Kind::Double, KeyOrder::Bytes),
        "char" | "varchar" | "tinytext" | "text" | "mediumtext" | "longtext" | "enum" | "set"
        | "date" | "time" | "datetime" | "timestamp" => (Kind::Text, KeyOrder::Bytes),
        "json" => (Kind::Json, KeyOrder::Bytes),
        "binary" | "varbinary" | "tinyblob" | "blob" | "mediumblob" | "longblob" => {
            (Kind::Bytes, KeyOrder::Bytes)
        }
        _ => return None,
    })
}

/// What is selected of a column, so that the text is whole: of numbers of 32 bits the server shows six
/// digits, and of bits their bytes.
fn selected_as(column: &str, kind: Kind) -> String {
    let column = quoted(column);
    match kind {
        Kind::Float => format!("{column} + 0e0"),
        Kind::Number => format!("{column} + 0"),
        Kind::Double | Kind::Text | Kind::Bytes | Kind::Json => column,
    }
}

/// A name as it stands in a statement.
pub(super) fn quoted(name: &str) -> String {
    format!("`{}`", name.replace('`', "``"))
}

/// A table's name as it stands in a statement.
pub(super) fn quoted_table(name: &TableName) -> String {
    format!("{}.{}", quoted(&name.schema), quoted(&name.name))
}
