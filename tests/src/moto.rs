//! A server that speaks DynamoDB and its streams, SQS, and S3.

use std::io::{BufRead as _, BufReader};
use std::process::{Child, Command, Stdio};

use anyhow::{Context, Result};

use crate::program;

/// moto's server, with tables, queues and buckets of its own. Dropping it kills the process.
#[derive(Debug)]
pub struct Moto {
    process: Child,
    endpoint: String,
}

impl Moto {
    /// Starts one, if this machine has it.
    ///
    /// # Errors
    /// It does not start.
    pub fn find() -> Result<Option<Self>> {
        let Some(program) = program("TIDEMILL_TEST_MOTO", "moto_server") else {
            return Ok(None);
        };
        let mut process = Command::new(program)
            .args(["-H", "127.0.0.1", "-p", "0"])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .context("start moto")?;
        let said = process.stderr.take().context("what it says")?;
        let mut lines = BufReader::new(said).lines();
        let endpoint = loop {
            let line = lines.next().context("moto ended before it was ready")??;
            if let Some((_, endpoint)) = line.split_once("Running on ") {
                break endpoint.trim().to_owned();
            }
        };
        // It says each request: somebody has to listen.
        std::thread::spawn(move || lines.for_each(drop));
        Ok(Some(Self { process, endpoint }))
    }

    /// Its address.
    #[must_use]
    pub fn endpoint(&self) -> &str {
        &self.endpoint
    }
}

impl Drop for Moto {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
