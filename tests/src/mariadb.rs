//! A real MariaDB database.

use anyhow::{Context, Result};
use mysql_async::prelude::Queryable as _;
use mysql_async::{Conn, Opts};

/// A database of its own on the server that `cargo xtask` started.
#[derive(Debug)]
pub struct Mariadb {
    url: String,
    name: String,
    client: Conn,
}

impl Mariadb {
    /// Makes a database, if there is such a server.
    ///
    /// # Errors
    /// The server refuses.
    pub async fn find() -> Result<Option<Self>> {
        let Ok(url) = std::env::var("TIDEMILL_TEST_MARIADB") else {
            return Ok(None);
        };
        let (server, _) = url.rsplit_once('/').context("an address with a database")?;
        let name = format!("t{}", uuid::Uuid::new_v4().simple());
        let mut client = Conn::new(Opts::from_url(&url)?).await?;
        client.query_drop(format!("CREATE DATABASE {name}")).await?;
        client.query_drop(format!("USE {name}")).await?;
        Ok(Some(Self {
            url: format!("{server}/{name}"),
            name,
            client,
        }))
    }

    /// Its name, which nothing else on the server has.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its address; the user needs no password.
    #[must_use]
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Runs a statement.
    ///
    /// # Errors
    /// The server refuses.
    pub async fn run(&mut self, sql: &str) -> Result<()> {
        let done = self.client.query_drop(sql).await;
        done.with_context(|| sql.to_owned())
    }

    /// Leaves nothing behind on a server that others use.
    ///
    /// # Errors
    /// The server refuses.
    pub async fn remove(mut self) -> Result<()> {
        let drop = format!("DROP DATABASE {}", self.name);
        self.run(&drop).await
    }
}
