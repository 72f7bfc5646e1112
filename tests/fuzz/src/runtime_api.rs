//! The Runtime API, with the Extensions and Telemetry APIs beside it: any bytes on several connections
//! while invocations are under way.
//!
//! Claims: the server never panics; an invocation ends only when a request that names it was sent, and
//! once; what was answered is refused from then on; whatever came before, a well-behaved runtime on a
//! connection of its own can still end what runs; and what the server holds for all this stays within
//! bounds for each connection and for all large bodies.
//!
//! All of it runs on one thread whose time passes only when nothing else happens, so that the same bytes
//! do the same every time.

mod peer;
mod seeds;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use clock::{ManualClock, Timestamp};
use instance::fuzzing::{Answered, Api, Offered};
use instance::{Initialization, Invocation, LogFormat, MAX_RESPONSE_BYTES, Runtime, Spec};
use tokio::task::JoinSet;

use crate::memory::most_held;
use crate::plan::Plan;
use peer::{Peer, status_and_body};

pub(crate) use seeds::seeds;

/// Connections at a time.
const PEERS: usize = 8;
/// Events that are offered, at most.
const INVOCATIONS: usize = 4;
/// Bytes that are sent in one run, at most.
const MOST_SENT: usize = 48 << 20;
/// Bodies beyond a few bytes that the server keeps at a time, whoever sends how many. One is kept in a
/// buffer that doubles, which has both sizes for a moment.
const LARGE_BODIES: usize = 2 * (2 + 1) * MAX_RESPONSE_BYTES;
/// Bytes that a connection may take by itself: the wire, a task, a request's head, a small body.
const PER_CONNECTION: usize = 1 << 20;
const TIMEOUT: Duration = Duration::from_secs(3);
const PREFIX: &str = "/2018-06-01/runtime/invocation/";

pub(crate) fn run(data: &[u8]) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .expect("a runtime");
    let (sent, held) = most_held(|| runtime.block_on(Scene::new().play(&mut Plan::new(data))));
    let most = (PEERS + 1) * PER_CONNECTION + LARGE_BODIES.min(3 * sent);
    assert!(held <= most, "{held} bytes held, after {sent} were sent");
}

/// An instance's API, who is connected to it, and what has happened so far.
struct Scene {
    api: Api,
    clock: Arc<ManualClock>,
    connections: JoinSet<()>,
    peers: [Option<Peer>; PEERS],
    /// The event that is offered or runs.
    offered: Option<Offered>,
    invocations: usize,
    /// Which of them a request has named, at any time and in whatever way: a connection may have one ready
    /// for an event that is still to come.
    named: [bool; INVOCATIONS + 1],
    sent: usize,
}

impl Scene {
    fn new() -> Self {
        let clock = Arc::new(ManualClock::starting_at(Timestamp::from_millis(1_000)));
        let external = vec!["outside".to_owned()];
        Self {
            api: Api::new(clock.clone(), &spec(), external),
            clock,
            connections: JoinSet::new(),
            peers: [const { None }; PEERS],
            offered: None,
            invocations: 0,
            named: [false; INVOCATIONS + 1],
            sent: 0,
        }
    }

    /// Returns how many bytes were sent.
    async fn play(mut self, plan: &mut Plan<'_>) -> usize {
        self.offer();
        while !plan.is_over() {
            let deed = plan.byte();
            let peer = usize::from(deed >> 4) % PEERS;
            match deed & 15 {
                0..=5 => self.send(peer, plan.long(), 1).await,
                6 => {
                    let times = usize::from(plan.number());
                    self.send(peer, plan.long(), times).await;
                }
                7 => self.peers[peer] = None,
                8 => {
                    if let Some(peer) = &mut self.peers[peer] {
                        peer.finish_writing().await;
                    }
                }
                9 => self.offer(),
                10 => self.api.close_registration(),
                11 => self.api.tell(&String::from_utf8_lossy(plan.short())),
                12 => drop(self.api.hand_over()),
                13 => self.api.shut_down(),
                14 => {
                    self.clock
                        .advance(Duration::from_millis(u64::from(plan.byte())));
                }
                _ => {
                    if let Some(peer) = &mut self.peers[peer] {
                        peer.read().await;
                    }
                }
            }
            self.settle().await;
        }
        self.end_well().await;
        self.sent
    }

    fn offer(&mut self) {
        if self.offered.is_none() && self.invocations < INVOCATIONS {
            self.invocations += 1;
            let invocation = Invocation {
                request_id: request_id(self.invocations),
                payload: "{}".into(),
                arn: "arn".to_owned(),
                trace_id: None,
                client_context: None,
            };
            self.offered = Some(self.api.offer(invocation, TIMEOUT));
        }
    }

    async fn send(&mut self, peer: usize, template: &[u8], times: usize) {
        if self.peers[peer].is_none() {
            self.peers[peer] = Some(self.connect());
        }
        let Some(peer) = &mut self.peers[peer] else {
            return;
        };
        let bytes = peer.meant(template, self.invocations);
        for _ in 0..times.max(1) {
            if self.sent + bytes.len() > MOST_SENT || !peer.send(&bytes).await {
                break;
            }
            self.sent += bytes.len();
        }
        for (number, named) in self.named.iter_mut().enumerate() {
            *named |= peer.has_named(&request_id(number));
        }
    }

    fn connect(&mut self) -> Peer {
        let (peer, io) = Peer::connect();
        self.connections.spawn(self.api.serve(io));
        peer
    }

    /// Lets everything happen that will, and looks at what has.
    #[expect(
        clippy::disallowed_methods,
        reason = "this time passes when nothing else can happen, which is the signal waited for"
    )]
    async fn settle(&mut self) {
        tokio::time::sleep(Duration::from_millis(1)).await;
        while let Some(ended) = self.connections.try_join_next() {
            ended.expect("a connection's server does not panic");
        }
        let Some(offered) = &mut self.offered else {
            return;
        };
        if let Some(answered) = offered.answered() {
            assert!(
                self.named[self.invocations],
                "answered, and never named: {answered:?}"
            );
            assert!(offered.answered().is_none(), "answered twice");
            if let Answered::Response(body) | Answered::Error(_, body) = &answered {
                assert!(body.len() <= MAX_RESPONSE_BYTES, "{} bytes", body.len());
            }
            self.offered = None;
        }
    }

    /// What has been answered is over, what has not can be.
    async fn end_well(&mut self) {
        self.peers = [const { None }; PEERS];
        self.settle().await;
        let mut peer = self.connect();
        if let Some(mut offered) = self.offered.take() {
            if !self.api.is_taken() {
                let event = self
                    .ask(&mut peer, "GET", &format!("{PREFIX}next"), "")
                    .await;
                assert_eq!(event, (200, "{}".to_owned()), "the event that was offered");
            }
            let path = format!("{PREFIX}{}/response", request_id(self.invocations));
            let (status, said) = self.ask(&mut peer, "POST", &path, "\"well\"").await;
            assert_eq!(status, 202, "{said}");
            let answered = offered.answered();
            assert_eq!(answered, Some(Answered::Response("\"well\"".into())));
        }
        for number in 0..=INVOCATIONS {
            for word in ["response", "error"] {
                let path = format!("{PREFIX}{}/{word}", request_id(number));
                let (status, said) = self.ask(&mut peer, "POST", &path, "{}").await;
                assert_eq!(status, 400, "{said}");
            }
        }
    }

    async fn ask(
        &mut self,
        peer: &mut Peer,
        method: &str,
        path: &str,
        body: &str,
    ) -> (u16, String) {
        let length = body.len();
        let request = format!("{method} {path} HTTP/1.1\r\ncontent-length: {length}\r\n\r\n{body}");
        assert!(
            peer.send(request.as_bytes()).await,
            "a new connection takes a request"
        );
        self.settle().await;
        status_and_body(&peer.read().await)
    }
}

/// Of the invocation of that number, counted from one.
fn request_id(number: usize) -> String {
    format!("{number:08}-0000-4000-8000-000000000000")
}

fn spec() -> Spec {
    Spec {
        account: "000000000000".to_owned(),
        function: "f".to_owned(),
        version: "$LATEST".to_owned(),
        revision: "1".to_owned(),
        arn: "arn:aws:lambda:us-east-1:000000000000:function:f".to_owned(),
        region: "us-east-1".to_owned(),
        runtime: "provided.al2023".parse::<Runtime>().expect("a runtime"),
        handler: "h".to_owned(),
        code: PathBuf::new(),
        image: None,
        opt: None,
        memory_mib: 128,
        temporary_mib: 512,
        timeout: TIMEOUT,
        environment: BTreeMap::new(),
        log_group: "/aws/lambda/f".to_owned(),
        log_format: LogFormat::Text,
        initialization: Initialization::OnDemand,
    }
}
