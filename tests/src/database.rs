//! A real PostgreSQL database.

use std::time::Duration;

use anyhow::{Context, Result};
use tokio_postgres::{Client, NoTls};

/// A database of its own on the server that `cargo xtask` started.
pub struct Database {
    server: String,
    name: String,
    client: Client,
}

impl std::fmt::Debug for Database {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Database")
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}

impl Database {
    /// Makes a database, if there is such a server.
    ///
    /// # Errors
    /// The server refuses.
    pub async fn find() -> Result<Option<Self>> {
        let Ok(url) = std::env::var("TIDEMILL_TEST_POSTGRES") else {
            return Ok(None);
        };
        let (server, _) = url.rsplit_once('/').context("an address with a database")?;
        let name = format!("t{}", uuid::Uuid::new_v4().simple());
        let admin = connect(&url).await?;
        admin
            .batch_execute(&format!("CREATE DATABASE {name}"))
            .await?;
        Ok(Some(Self {
            client: connect(&format!("{server}/{name}")).await?,
            server: server.to_owned(),
            name,
        }))
    }

    /// Its name, which nothing else on the server has.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its address; the user needs no password.
    #[must_use]
    pub fn url(&self) -> String {
        format!("{}/{}", self.server, self.name)
    }

    /// Runs commands.
    ///
    /// # Errors
    /// The server refuses.
    pub async fn run(&self, sql: &str) -> Result<()> {
        let done = self.client.batch_execute(sql).await;
        done.with_context(|| sql.to_owned())
    }

    /// The one number that a query returns.
    ///
    /// # Errors
    /// The server refuses, or it returns something else.
    pub async fn number(&self, sql: &str) -> Result<i64> {
        let row = self.client.query_one(sql, &[]).await;
        Ok(row.with_context(|| sql.to_owned())?.try_get(0)?)
    }

    /// Leaves nothing behind on a server that others use. Nobody may read from it any more.
    ///
    /// # Errors
    /// The server refuses.
    pub async fn remove(self) -> Result<()> {
        let Self {
            server,
            name,
            client,
        } = self;
        drop(client);
        let admin = connect(&format!("{server}/postgres")).await?;
        let slots = format!(
            "SELECT pg_terminate_backend(active_pid) FROM pg_replication_slots WHERE database = '{name}' AND active; \
             SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots WHERE database = '{name}'"
        );
        // A sender that was just ended needs a moment to let go.
        for _ in 0..100 {
            if admin.batch_execute(&slots).await.is_ok() {
                break;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        Ok(admin
            .batch_execute(&format!("DROP DATABASE {name} WITH (FORCE)"))
            .await?)
    }
}

async fn connect(url: &str) -> Result<Client> {
    let (client, connection) = tokio_postgres::connect(url, NoTls).await?;
    tokio::spawn(connection);
    Ok(client)
}
