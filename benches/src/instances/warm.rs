//! Invocations of a warm function over HTTP, one caller and many.
//!
//! Everybody runs the same program, and the same load speaks to each by the door that it has: the same
//! path, at ours with a signature, which it checks every time. Requests are made beforehand. Ours answers
//! when the function's usage is durable, and its instances are in sandboxes and stand still in between; the
//! others do none of that. Rounds alternate, and a ratio is the median of the rounds' ratios.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use api::sigv4::Signer;
use bytes::Bytes;
use clock::{Clock, SystemClock};
use futures::future::try_join_all;
use tests::{Cli, Server, zip_file};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use super::brought;
use super::connection::Connection;
use super::emulators::{self, Emulator};
use crate::table::{Table, median, percentile, time};

const SPAN: Duration = Duration::from_secs(3);
const ROUNDS: usize = 3;
const MANY: usize = 16;
/// Each caller's invocations before those that count.
pub(super) const WARM: usize = 50;
const EVENT_BYTES: usize = 256;
const FUNCTION: &str = "noop";

/// Somebody who runs the function for whoever asks by HTTP.
pub(super) struct Door {
    name: &'static str,
    /// What is to be known of it, with one caller and with many.
    notes: [&'static str; 2],
    /// Callers take them in turn.
    pub(super) ports: Vec<u16>,
    pub(super) request: Bytes,
    /// Present where one who comes while another is served is refused: callers wait for each other.
    line: Option<Arc<Semaphore>>,
    _emulators: Vec<Emulator>,
}

/// What one round gave.
struct Round {
    per_second: f64,
    p50: Duration,
}

/// Measures our server and every emulator that is there.
pub(super) async fn run(table: &mut Table) -> Result<()> {
    // Cargo builds every binary of a package beside the one that it runs.
    let bootstrap = std::env::current_exe()?.with_file_name("noop-bootstrap");
    let server = Server::start()?;
    deploy(&server, &bootstrap)?;
    let mut doors = vec![ours(&server)?];
    if let Some(program) = brought(table, "aws-lambda-rie", "TIDEMILL_BENCH_RIE") {
        doors.extend(rie(&program, &bootstrap).await?);
    }
    let folder = tempfile::tempdir()?;
    if let Some(program) = brought(table, "cargo lambda watch", "TIDEMILL_BENCH_CARGO_LAMBDA") {
        doors.push(cargo_lambda(&program, &bootstrap, folder.path()).await?);
    }
    for (which, callers) in [1, MANY].into_iter().enumerate() {
        let mut rounds: Vec<Vec<Round>> = doors.iter().map(|_| Vec::new()).collect();
        for _ in 0..ROUNDS {
            for (door, rounds) in doors.iter().zip(&mut rounds) {
                let round = round(door, callers).await;
                rounds.push(round.with_context(|| format!("{}, {callers} callers", door.name))?);
            }
        }
        for (door, theirs) in doors.iter().zip(&rounds) {
            let (name, note) = (door.name, door.notes[which]);
            report(table, (name, callers, note), &rounds[0], theirs);
        }
    }
    Ok(())
}

pub(super) fn deploy(server: &Server, bootstrap: &Path) -> Result<()> {
    let aws = Cli::find(server).context("the AWS CLI")?;
    let content =
        std::fs::read(bootstrap).with_context(|| format!("read {}", bootstrap.display()))?;
    let work = tempfile::tempdir()?;
    let zip = zip_file(work.path(), "f.zip", &[("bootstrap", &content)])?;
    // One processor's worth: the platform is measured, not a function's share of it.
    let options = ["--memory-size", "1769", "--timeout", "30"];
    aws.create_function(FUNCTION, ("provided.al2023", "app.handler"), &zip, &options)
}

pub(super) fn ours(server: &Server) -> Result<Door> {
    let (id, secret) = server.credentials()?;
    let port = server.endpoint().rsplit(':').next().map(str::parse::<u16>);
    let port = port.context("the server's port")??;
    let note = "in sandboxes, signed, usage durable";
    Ok(Door {
        name: "tidemill",
        notes: [note; 2],
        ports: vec![port],
        request: request(port, FUNCTION, |request, body| {
            let signer = Signer {
                access_key_id: &id,
                secret_access_key: &secret,
                region: "us-east-1",
                service: "lambda",
            };
            signer.sign(request, body, SystemClock::new().now());
        })?,
        line: None,
        _emulators: Vec::new(),
    })
}

/// One emulator, and one for each caller.
async fn rie(program: &Path, bootstrap: &Path) -> Result<[Door; 2]> {
    let start = || emulators::rie(program, bootstrap);
    let alone = start().await?;
    let each = try_join_all((0..MANY).map(|_| start())).await?;
    // It has one function, which has this name.
    let request = |port| request(port, "function", |_, _| {});
    Ok([
        Door {
            name: "aws-lambda-rie",
            notes: [
                "no walls, open to all, no account",
                "it serves one at a time, and two at once end it: callers wait in line",
            ],
            ports: vec![alone.port],
            request: request(alone.port)?,
            line: Some(Arc::new(Semaphore::new(1))),
            _emulators: vec![alone],
        },
        Door {
            name: "16 × aws-lambda-rie",
            notes: [
                "one of them asked; no walls, open to all, no account",
                "each caller has one of its own",
            ],
            ports: each.iter().map(|emulator| emulator.port).collect(),
            request: request(each[0].port)?,
            line: None,
            _emulators: each,
        },
    ])
}

async fn cargo_lambda(program: &Path, bootstrap: &Path, folder: &Path) -> Result<Door> {
    let emulator = emulators::cargo_lambda(program, bootstrap, FUNCTION, MANY, folder).await?;
    Ok(Door {
        name: "cargo lambda watch",
        notes: ["no walls, open to all, no account; 16 runtimes"; 2],
        ports: vec![emulator.port],
        request: request(emulator.port, FUNCTION, |_, _| {})?,
        line: None,
        _emulators: vec![emulator],
    })
}

/// An invocation as it goes over the wire.
fn request(
    port: u16,
    function: &str,
    sign: impl FnOnce(&mut http::Request<()>, &[u8]),
) -> Result<Bytes> {
    let padding = "x".repeat(EVENT_BYTES - r#"{"text":""}"#.len());
    let body = format!(r#"{{"text":"{padding}"}}"#).into_bytes();
    let path = format!("/2015-03-31/functions/{function}/invocations");
    let mut request = http::Request::post(&path)
        .header("host", format!("127.0.0.1:{port}"))
        .header("content-type", "application/json")
        .body(())?;
    sign(&mut request, &body);
    let mut bytes = format!("POST {path} HTTP/1.1\r\n").into_bytes();
    for (name, value) in request.headers() {
        bytes.extend_from_slice(format!("{name}: ").as_bytes());
        bytes.extend_from_slice(value.as_bytes());
        bytes.extend_from_slice(b"\r\n");
    }
    bytes.extend_from_slice(format!("content-length: {}\r\n\r\n", body.len()).as_bytes());
    bytes.extend_from_slice(&body);
    Ok(bytes.into())
}

async fn round(door: &Door, callers: usize) -> Result<Round> {
    let ports = door.ports.iter().cycle().take(callers);
    let mut connections = try_join_all(ports.map(|port| Connection::open(*port))).await?;
    try_join_all(
        connections
            .iter_mut()
            .map(|connection| call(door, connection)),
    )
    .await?;
    let begun = Instant::now();
    let mut lanes = JoinSet::new();
    for mut connection in connections {
        let (request, line) = (door.request.clone(), door.line.clone());
        lanes.spawn(async move {
            let mut times = Vec::new();
            while begun.elapsed() < SPAN {
                let called = Instant::now();
                in_turn(&mut connection, &request, line.as_deref()).await?;
                times.push(called.elapsed());
            }
            anyhow::Ok(times)
        });
    }
    let mut times = Vec::new();
    while let Some(lane) = lanes.join_next().await {
        times.extend(lane.context("a caller ended early")??);
    }
    let per_second = times.len() as f64 / begun.elapsed().as_secs_f64();
    times.sort_unstable();
    Ok(Round {
        per_second,
        p50: percentile(&times, 50),
    })
}

/// Has instances started, and whoever counts what is called often.
async fn call(door: &Door, connection: &mut Connection) -> Result<()> {
    for _ in 0..WARM {
        in_turn(connection, &door.request, door.line.as_deref()).await?;
    }
    Ok(())
}

async fn in_turn(
    connection: &mut Connection,
    request: &[u8],
    line: Option<&Semaphore>,
) -> Result<()> {
    let _turn = match line {
        Some(line) => Some(line.acquire().await?),
        None => None,
    };
    connection.invoke(request).await
}

fn report(
    table: &mut Table,
    (name, callers, note): (&str, usize, &str),
    ours: &[Round],
    theirs: &[Round],
) {
    let rate = median(theirs.iter().map(|round| round.per_second));
    let p50 = median(theirs.iter().map(|round| round.p50.as_secs_f64()));
    let both = || ours.iter().zip(theirs);
    let faster = median(both().map(|(ours, theirs)| ours.per_second / theirs.per_second));
    let quicker =
        median(both().map(|(ours, theirs)| ours.p50.as_secs_f64() / theirs.p50.as_secs_f64()));
    let many = match callers {
        1 => "1 caller".to_owned(),
        many => format!("{many} callers"),
    };
    table.row(
        &format!("warm invocations over HTTP, {name}"),
        &format!("{many}; {note}"),
        format!("{rate:.0}/s, p50 {}", time(Duration::from_secs_f64(p50))),
        format!("ours {faster:.2} × as many, at {quicker:.2} × its p50"),
    );
}
