//! Holding the triggers that are there against the tables there are, in one transaction.
//!
//! What that finds is written into the change table, too, where it keeps its place among the changes:
//! a table that is gone, changes that may have been lost, values of a new column.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use connector::SourceError;
use event::SourceId;
use rusqlite::{Connection, TransactionBehavior, params};

use super::failure::{rejected, sql};
use super::layout::{Described, Found, Layout, quoted, tables};
use super::triggers::{self, TABLES, word};
use crate::change::{TableName, topic};

/// Slots of the change table before its values.
pub(super) const FIXED_COLUMNS: usize = 4;

/// Which tables are to be read.
#[derive(Clone, Debug)]
pub(super) struct Wanted {
    pub(super) source: SourceId,
    pub(super) connection: String,
    /// All, when empty.
    pub(super) tables: Vec<String>,
}

/// What stands in the file.
#[derive(Clone, Debug, Default)]
pub(super) struct Installed {
    /// The schema's version that it stands for.
    pub(super) schema: i64,
    /// Every layout that a change may have been written under.
    pub(super) layouts: HashMap<i64, Arc<Layout>>,
    /// The layout that each table's changes are written under now.
    pub(super) active: BTreeMap<String, i64>,
}

/// A trigger in the file.
struct Standing {
    name: String,
    table: String,
    sql: String,
    created: i64,
}

impl Wanted {
    pub(super) fn is(&self, table: &str) -> bool {
        self.tables.is_empty() || self.tables.iter().any(|it| it.eq_ignore_ascii_case(table))
    }
}

/// The name under which other databases know a table.
pub(super) fn name(table: &str) -> TableName {
    TableName {
        schema: "main".to_owned(),
        name: table.to_owned(),
    }
}

/// Makes the triggers what they must be. The write lock is held meanwhile.
pub(super) fn renew(
    connection: &mut Connection,
    wanted: &Wanted,
) -> Result<Installed, SourceError> {
    const ACT: &str = "look after the triggers";
    let transaction = connection
        .transaction_with_behavior(TransactionBehavior::Immediate)
        .map_err(sql(ACT))?;
    transaction.execute_batch(TABLES).map_err(sql(ACT))?;
    let mut renewal = Renewal {
        transaction: &transaction,
        wanted,
        standing: standing(&transaction).map_err(sql(ACT))?,
        installed: Installed::default(),
    };
    renewal.run()?;
    let mut installed = renewal.installed;
    installed.schema = schema(&transaction).map_err(sql(ACT))?;
    transaction.commit().map_err(sql(ACT))?;
    Ok(installed)
}

/// The number that every change of the schema moves.
pub(super) fn schema(connection: &Connection) -> rusqlite::Result<i64> {
    connection.query_row("PRAGMA schema_version", [], |row| row.get(0))
}

/// Takes everything of ours out of the file.
pub(super) fn remove(connection: &mut Connection) -> rusqlite::Result<()> {
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    for trigger in standing(&transaction)? {
        if trigger.name.starts_with("_tidemill_") {
            drop_trigger(&transaction, &trigger.name)?;
        }
    }
    transaction.execute_batch(
        "DROP TABLE IF EXISTS _tidemill_source; DROP TABLE IF EXISTS _tidemill_layouts;
         DROP TABLE IF EXISTS _tidemill_changes; DROP TABLE IF EXISTS _tidemill_replaced;",
    )?;
    transaction.commit()
}

fn drop_trigger(transaction: &Connection, name: &str) -> rusqlite::Result<()> {
    transaction.execute_batch(&format!("DROP TRIGGER {}", quoted(name)))
}

fn standing(connection: &Connection) -> rusqlite::Result<Vec<Standing>> {
    let sql = "SELECT name, tbl_name, sql, rowid FROM sqlite_schema WHERE type = 'trigger'";
    let mut statement = connection.prepare(sql)?;
    let triggers = statement.query_map([], |row| {
        Ok(Standing {
            name: row.get(0)?,
            table: row.get(1)?,
            sql: row.get(2)?,
            created: row.get(3)?,
        })
    })?;
    triggers.collect()
}

struct Renewal<'a> {
    transaction: &'a Connection,
    wanted: &'a Wanted,
    standing: Vec<Standing>,
    installed: Installed,
}

impl Renewal<'_> {
    fn run(&mut self) -> Result<(), SourceError> {
        const ACT: &str = "compare triggers with tables";
        let found = tables(self.transaction).map_err(sql(ACT))?;
        for (id, layout) in self.active_layouts()? {
            self.compare(id, &layout, &found)?;
        }
        for table in &found {
            if self.wanted.is(&table.name)
                && !self.installed.active.contains_key(&table.name)
                && let Some(described) = self.described(table)?
            {
                self.install(&described)?;
            }
        }
        Ok(())
    }

    /// Reads all layouts, and returns those whose triggers should stand.
    fn active_layouts(&mut self) -> Result<Vec<(i64, Arc<Layout>)>, SourceError> {
        const ACT: &str = "read the layouts of changes";
        let query = "SELECT id, active, description FROM _tidemill_layouts ORDER BY id";
        let mut statement = self.transaction.prepare(query).map_err(sql(ACT))?;
        let mut rows = statement.query([]).map_err(sql(ACT))?;
        let mut active = Vec::new();
        while let Some(row) = rows.next().map_err(sql(ACT))? {
            let id: i64 = row.get(0).map_err(sql(ACT))?;
            let text: String = row.get(2).map_err(sql(ACT))?;
            let layout = serde_json::from_str(&text).map_err(|error| rejected(ACT, error))?;
            let layout: Arc<Layout> = Arc::new(layout);
            self.installed.layouts.insert(id, Arc::clone(&layout));
            if row.get(1).map_err(sql(ACT))? {
                active.push((id, layout));
            }
        }
        Ok(active)
    }

    /// Keeps, renews or ends what stands under one layout.
    fn compare(&mut self, id: i64, layout: &Layout, found: &[Found]) -> Result<(), SourceError> {
        let source = &self.wanted.source;
        let table = layout.table.as_str();
        let Some(found) = found.iter().find(|found| found.name == table) else {
            tracing::warn!(%source, table, "a table is gone");
            return self.end(id, Some(word::TRUNCATE), id);
        };
        if !self.wanted.is(table) {
            return self.end(id, None, id);
        }
        let Some(described) = self.described(found)? else {
            return self.end(id, Some(word::TRUNCATE), id);
        };
        let expected = triggers::of(id, &described);
        let ours: Vec<&Standing> = self.ours(id).collect();
        let complete = ours.len() == expected.len()
            && ours.iter().all(|it| it.table.eq_ignore_ascii_case(table));
        if !complete {
            metrics::counter!("tidemill_connector_gaps_total", "source" => source.to_string())
                .increment(1);
            tracing::error!(
                %source,
                table,
                "the table was made anew, or its triggers were removed: changes may have been lost, \
                 and it is read again from its beginning"
            );
            let new = self.install(&described)?;
            return self.end(id, Some(word::GAP), new);
        }
        let oldest = ours.iter().map(|it| it.created).min();
        let newest_other = self.standing.iter().filter(|it| {
            it.table.eq_ignore_ascii_case(table) && !it.name.starts_with("_tidemill_")
        });
        let newest_other = newest_other.map(|it| it.created).max();
        let stands = |sql: &String| ours.iter().any(|it| it.sql == *sql);
        // A renamed column is renamed in triggers, too: their text alone does not tell.
        if described.layout == *layout && expected.iter().all(stands) && newest_other < oldest {
            self.installed.active.insert(table.to_owned(), id);
            return Ok(());
        }
        tracing::info!(%source, table, "a table has changed and gets new triggers");
        self.end(id, None, id)?;
        let new = self.install(&described)?;
        // With the triggers in place no column can have been dropped: new ones are the last.
        match triggers::refresh(new, &described, layout.columns.len()) {
            Some(refresh) => self.execute(&refresh),
            None => Ok(()),
        }
    }

    fn ours(&self, id: i64) -> impl Iterator<Item = &Standing> {
        let prefix = format!("_tidemill_{id}_");
        self.standing
            .iter()
            .filter(move |it| it.name.starts_with(&prefix))
    }

    /// Removes what stands under a layout, and writes down why, under `told`.
    fn end(&self, id: i64, why: Option<&str>, told: i64) -> Result<(), SourceError> {
        const ACT: &str = "remove triggers";
        for trigger in self.ours(id) {
            drop_trigger(self.transaction, &trigger.name).map_err(sql(ACT))?;
        }
        let sql_text = "UPDATE _tidemill_layouts SET active = 0 WHERE id = ?1";
        self.transaction
            .execute(sql_text, params![id])
            .map_err(sql(ACT))?;
        if let Some(op) = why {
            let insert = "INSERT INTO _tidemill_changes (layout, op) VALUES (?1, ?2)";
            self.transaction
                .execute(insert, params![told, op])
                .map_err(sql(ACT))?;
        }
        Ok(())
    }

    fn install(&mut self, described: &Described) -> Result<i64, SourceError> {
        const ACT: &str = "install triggers";
        let layout = &described.layout;
        if !described.unwatched.is_empty() {
            tracing::warn!(
                source = %self.wanted.source,
                table = layout.table,
                indexes = ?described.unwatched,
                "rows that REPLACE removes because of these indexes go unnoticed, unless their \
                 writer sets recursive_triggers"
            );
        }
        self.widen("_tidemill_changes", FIXED_COLUMNS, 2 * layout.columns.len())?;
        self.widen("_tidemill_replaced", 1, layout.columns.len())?;
        let description = serde_json::to_string(layout).expect("a layout has only text as keys");
        let insert = "INSERT INTO _tidemill_layouts (active, description) VALUES (1, ?1)";
        self.transaction
            .execute(insert, params![description])
            .map_err(sql(ACT))?;
        let id = self.transaction.last_insert_rowid();
        for trigger in triggers::of(id, described) {
            self.execute(&trigger)?;
        }
        let installed = &mut self.installed;
        installed.layouts.insert(id, Arc::new(layout.clone()));
        installed.active.insert(layout.table.clone(), id);
        Ok(id)
    }

    /// Gives a table of ours as many slots for values.
    fn widen(&self, table: &str, fixed: usize, width: usize) -> Result<(), SourceError> {
        const ACT: &str = "widen the table of changes";
        let count = "SELECT count(*) FROM pragma_table_xinfo(?1)";
        let columns: u32 = self
            .transaction
            .query_row(count, params![table], |row| row.get(0))
            .map_err(sql(ACT))?;
        let slots = columns as usize - fixed;
        for slot in slots..width {
            self.execute(&format!("ALTER TABLE {table} ADD COLUMN v{slot}"))?;
        }
        Ok(())
    }

    /// What a table is; `None`, and said aloud, when it cannot be read and was not asked for by name.
    fn described(&self, found: &Found) -> Result<Option<Described>, SourceError> {
        let act = format!("read table {}", found.name);
        let refused = match topic(&self.wanted.connection, &name(&found.name)) {
            Err(error) => rejected(act, error),
            Ok(_) => match Described::of(self.transaction, found) {
                Ok(described) => return Ok(Some(described)),
                Err(super::layout::LayoutError::Sql(error)) => return Err(sql(&act)(error)),
                Err(error) => rejected(act, error),
            },
        };
        match self.wanted.tables.is_empty() {
            true => {
                let cause = std::error::Error::source(&refused).map(ToString::to_string);
                let source = &self.wanted.source;
                tracing::error!(%source, table = found.name, cause, "a table is left out");
                Ok(None)
            }
            false => Err(refused),
        }
    }

    fn execute(&self, text: &str) -> Result<(), SourceError> {
        self.transaction
            .execute_batch(text)
            .map_err(sql("change what is installed"))
    }
}
