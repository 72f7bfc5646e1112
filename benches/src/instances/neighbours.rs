//! What a function feels of another one that takes all it can get.
//!
//! A well-behaved function is called by one caller, one call after the other, first alone and then beside each
//! kind of misbehaviour, which has a processor's worth of memory and runs once or twice at a time, until its
//! timeout or until it is out of memory. Twice is all there is on a machine with two processors.

use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use tests::{Cli, Server, zip_file};

use super::connection::Connection;
use super::warm::{Door, WARM, deploy, ours};
use crate::table::{Table, percentile, time};

const SPAN: Duration = Duration::from_secs(5);
/// How long a misbehaviour has to get going.
const BEFORE: Duration = Duration::from_secs(2);
/// How long one invocation of it lasts: longer than what is measured beside it.
const TIMEOUT_SECONDS: &str = "8";
const AT_A_TIME: [usize; 2] = [1, 2];

/// Each for as long as it is let.
const MISBEHAVIOURS: [(&str, &str); 6] = [
    ("calculates without end", "while True: pass"),
    (
        "forks without end",
        "    while True:\n  try:\n   if os.fork() == 0: time.sleep(60)\n  except OSError: pass",
    ),
    (
        "takes memory without end",
        "held = []\n while True: held.append(bytearray(os.urandom(1 << 20)))",
    ),
    (
        "prints without end",
        "while True: os.write(1, b'x' * 65535 + b'\\n')",
    ),
    (
        "fills /tmp without end",
        "while True:\n  try:\n   with open('/tmp/x', 'wb') as file:\n    while True: file.write(b'x' * (1 << 20))\n  except OSError: pass",
    ),
    (
        "opens files without end",
        "files = []\n while True:\n  try: files.append(open('/dev/null'))\n  except OSError: files.clear()",
    ),
];

/// Measures the one alone, and beside each of the others.
pub(crate) async fn run(table: &mut Table) -> Result<()> {
    let server = Server::start()?;
    // Cargo builds every binary of a package beside the one that it runs.
    let bootstrap = std::env::current_exe()?.with_file_name("noop-bootstrap");
    deploy(&server, &bootstrap)?;
    let aws = Cli::find(&server).context("the AWS CLI")?;
    let door = ours(&server)?;
    let alone = p99(&door).await?;
    table.row(
        "warm invocations over HTTP, nobody beside",
        "1 caller",
        format!("p99 {}", time(alone)),
        String::new(),
    );
    for (number, (what, body)) in MISBEHAVIOURS.iter().enumerate() {
        let name = format!("neighbour-{number}");
        let work = tempfile::tempdir()?;
        let code = format!(
            "import os, time\ndef handler(event, context):\n {}\n",
            body.trim_start()
        );
        let zip = zip_file(work.path(), "f.zip", &[("app.py", code.as_bytes())])?;
        for at_a_time in AT_A_TIME {
            let options = ["--memory-size", "1769", "--timeout", TIMEOUT_SECONDS];
            aws.create_function(&name, ("python3.11", "app.handler"), &zip, &options)?;
            for _ in 0..at_a_time {
                aws.invoke_later(&name)?;
            }
            tokio::time::sleep(BEFORE).await;
            let beside = p99(&door).await?;
            table.row(
                &format!("the same beside a function that {what}"),
                &format!("{at_a_time} of it at a time"),
                format!("p99 {}", time(beside)),
                format!(
                    "{:.2} × that of nobody beside",
                    beside.as_secs_f64() / alone.as_secs_f64()
                ),
            );
            aws.run(&["lambda", "delete-function", "--function-name", &name])?;
            // What was accepted ends by its timeout.
            tokio::time::sleep(SPAN).await;
        }
    }
    Ok(())
}

/// The time that 99 of 100 invocations take at most, one after the other.
async fn p99(door: &Door) -> Result<Duration> {
    let port = door.ports.first().context("a port")?;
    let mut connection = Connection::open(*port).await?;
    for _ in 0..WARM {
        connection.invoke(&door.request).await?;
    }
    let mut times = Vec::new();
    let begun = Instant::now();
    while begun.elapsed() < SPAN {
        let called = Instant::now();
        connection.invoke(&door.request).await?;
        times.push(called.elapsed());
    }
    times.sort_unstable();
    Ok(percentile(&times, 99))
}
