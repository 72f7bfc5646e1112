//! What the walls around an instance let through, and what they do not.

use std::net::{IpAddr, SocketAddr, TcpListener as StdListener, UdpSocket};

use super::*;
use crate::{EGRESS, Endpoint};

fn python(bench: &Bench, text: &str) -> Arc<Spec> {
    Arc::new(bench.spec("python3.11", "app.handler", "app.py", text))
}

/// Connects to each address of the event and says what came of it.
const CONNECT: &str = r#"
import socket
def attempt(address):
    host, port = address.rsplit(":", 1)
    try:
        with socket.create_connection((host, int(port)), timeout=2) as connection:
            return connection.recv(100).decode()
    except OSError as error:
        return type(error).__name__
def handler(event, context):
    return [attempt(address) for address in event]
"#;

/// A port that greets whoever connects; until it is dropped.
fn greeter(word: &'static str) -> Endpoint {
    Endpoint::at(greeter_at(word, [127, 0, 0, 1].into()))
}

fn greeter_at(word: &'static str, address: IpAddr) -> SocketAddr {
    let listener = StdListener::bind((address, 0)).unwrap();
    let endpoint = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            stream.unwrap().write_all(word.as_bytes()).unwrap();
        }
    });
    endpoint
}

#[tokio::test]
async fn i4_a_function_reaches_nothing_that_it_was_not_granted() {
    let Some(bench) = Bench::having("python3") else {
        return;
    };
    let (own, kafka, other) = (greeter("own"), greeter("kafka"), greeter("other"));
    let bench = bench.granting(Endpoints {
        own: Some(own),
        kafka: Some(kafka),
        permitted: Vec::new(),
    });
    let addresses = [
        own.outside.to_string(),
        kafka.outside.to_string(),
        other.outside.to_string(),
        "169.254.169.254:80".to_owned(),
        "8.8.8.8:53".to_owned(),
        "example.com:80".to_owned(),
    ];
    let mut spec = Spec::clone(&python(&bench, CONNECT));
    let closed = ["OSError", "OSError", "gaierror"];
    let granted = [
        (None, ["own", "ConnectionRefusedError"]),
        (Some("kafka"), ["own", "kafka"]),
        (
            Some("none"),
            ["ConnectionRefusedError", "ConnectionRefusedError"],
        ),
    ];
    for (revision, (asked, expected)) in granted.into_iter().enumerate() {
        spec.revision = revision.to_string();
        spec.environment.remove(EGRESS);
        if let Some(asked) = asked {
            spec.environment.insert(EGRESS.to_owned(), asked.to_owned());
        }
        let answer = bench
            .answer(&Arc::new(spec.clone()), &json!(addresses))
            .await;
        assert_eq!(answer[0], expected[0], "{asked:?}: {answer}");
        assert_eq!(answer[1], expected[1], "{asked:?}: {answer}");
        assert_eq!(answer[2], "ConnectionRefusedError", "{answer}");
        for (index, how) in closed.into_iter().enumerate() {
            assert_eq!(answer[3 + index], how, "{answer}");
        }
    }
}

#[tokio::test]
async fn i4_a_function_reaches_what_it_asked_for_and_was_permitted_and_nothing_beside_it() {
    let Some(bench) = Bench::having("python3") else {
        return;
    };
    // An address that is this machine's, and that it would reach others by.
    let probe = UdpSocket::bind("0.0.0.0:0").unwrap();
    if probe.connect("192.0.2.1:9").is_err() {
        return skip("this machine has no address but its loopback interface's");
    }
    let address = probe.local_addr().unwrap().ip();
    let IpAddr::V4(v4) = address else {
        unreachable!()
    };
    let (one, other) = (greeter_at("one", address), greeter_at("other", address));
    let local = greeter_at("local", [127, 0, 0, 1].into());
    // A name for the address that needs no name service, here; inside it is a number like any other.
    let name = format!("{:#x}", v4.to_bits());
    let asked = format!("none,{one},{local},{name}:{},db.example:80", one.port());
    let bench = bench.granting(Endpoints {
        own: Some(greeter("own")),
        kafka: None,
        permitted: vec!["*:*".parse().unwrap(), local.to_string().parse().unwrap()],
    });
    let mut spec = Spec::clone(&python(&bench, CONNECT));
    spec.environment.insert(EGRESS.to_owned(), asked);
    let by_name = format!("127.100.0.1:{}", one.port());
    let addresses = json!([one, other, local, by_name, "db.example:80", "db.example:81"]);
    let answer = bench.answer(&Arc::new(spec), &addresses).await;
    let refused = "ConnectionRefusedError";
    assert_eq!(answer, json!(["one", refused, "local", "one", "", refused]));
}

#[tokio::test]
async fn what_cannot_be_granted_is_refused_by_name() {
    let Some(bench) = Bench::having("python3") else {
        return;
    };
    let mut spec = Spec::clone(&python(&bench, CONNECT));
    let wish = "example.com:443".to_owned();
    spec.environment.insert(EGRESS.to_owned(), wish.clone());
    let error = bench.launcher.launch(&Arc::new(spec)).await.err().unwrap();
    assert!(!error.is_transient());
    let body = String::from_utf8(error.body(REQUEST).to_vec()).unwrap();
    assert!(body.contains(&wish), "{body}");
}

#[tokio::test]
async fn i3_nothing_in_a_sandbox_outlives_its_deadline() {
    let Some(bench) = Bench::having("python3") else {
        return;
    };
    let text = r#"
import signal, subprocess
def handler(event, context):
    if event.get("hang"):
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            signal.signal(number, signal.SIG_IGN)
        for _ in range(20):
            subprocess.Popen(["setsid", "sleep", "1000"])
        while True: pass
    return open("/proc/sys/kernel/hostname").read()
"#;
    let mut spec = Spec::clone(&python(&bench, text));
    spec.timeout = Duration::from_secs(1);
    let spec = Arc::new(spec);
    let finished = bench.invoke(&spec, &json!({"hang": true})).await;
    let after = spec.timeout;
    assert_eq!(finished.outcome, Outcome::Timeout { after });
    assert!(finished.instance.is_none());
    // It returned, so everything in it is gone: the kernel ends a namespace whole.
    assert_eq!(bench.answer(&spec, &json!({})).await, "localhost\n");
}

#[tokio::test]
async fn files_are_read_only_but_for_a_temporary_folder_that_is_the_instances_own() {
    let Some(bench) = Bench::having("python3") else {
        return;
    };
    let text = r#"
import os
def attempt(path):
    try:
        with open(path, "w") as file: file.write("x")
        return "written"
    except OSError as error:
        return error.strerror
def handler(event, context):
    before = os.listdir("/tmp")
    return [before] + [attempt(path) for path in event]
"#;
    let spec = python(&bench, text);
    let event = json!([
        "/tmp/a",
        "/var/task/app.py",
        "/var/runtime/x",
        "/usr/x",
        "/x",
        "/etc/passwd",
        "/opt/x"
    ]);
    let first = bench.answer(&spec, &event).await;
    let denied = "Read-only file system";
    assert_eq!(
        first,
        json!([
            [],
            "written",
            denied,
            denied,
            denied,
            denied,
            denied,
            denied
        ])
    );
    assert_eq!(
        bench.answer(&spec, &json!([])).await,
        json!([["a"]]),
        "warm"
    );
    let mut other = Spec::clone(&spec);
    other.revision = "2".to_owned();
    assert_eq!(
        bench.answer(&Arc::new(other), &json!([])).await,
        json!([[]]),
        "another version"
    );
}

#[tokio::test]
async fn an_instance_stands_still_between_invocations() {
    let Some(bench) = Bench::having("python3") else {
        return;
    };
    if let Isolation::Sandboxed(spawner) = &bench.launcher.isolation
        && let sandbox::Limit::NotEnforced(reason) = &spawner.limits().freezing
    {
        return skip(reason);
    }
    let text = r#"
import threading, time
ticks = 0
def tick():
    global ticks
    while True:
        time.sleep(0.001)
        ticks += 1
threading.Thread(target=tick, daemon=True).start()
def handler(event, context):
    return ticks
"#;
    let spec = python(&bench, text);
    let first = bench.answer(&spec, &json!({})).await.as_u64().unwrap();
    tokio::time::sleep_until(tokio::time::Instant::now() + Duration::from_millis(600)).await;
    let second = bench.answer(&spec, &json!({})).await.as_u64().unwrap();
    assert!(second - first < 200, "{first} {second}");
}

#[tokio::test]
async fn ids_that_an_instance_guesses_are_refused_and_change_nothing() {
    let Some(bench) = Bench::having("python3") else {
        return;
    };
    let text = r#"
import http.client, os, uuid
def handler(event, context):
    def accepts(method, path):
        connection = http.client.HTTPConnection(os.environ["AWS_LAMBDA_RUNTIME_API"])
        connection.request(method, "/2018-06-01/runtime/" + path, "{}")
        return connection.getresponse().status < 400
    guesses = [("POST", f"invocation/{uuid.uuid4()}/{what}") for what in ("response", "error") * 500]
    # Nor is there a second event while this one runs, nor an initialisation to fail.
    others = [("GET", "invocation/next"), ("POST", "init/error"), ("GET", "../../etc/passwd")]
    return sum(accepts(*attempt) for attempt in guesses + others)
"#;
    let mut spec = Spec::clone(&python(&bench, text));
    spec.memory_mib = 1769;
    assert_eq!(bench.answer(&Arc::new(spec), &json!({})).await, 0);
}

#[tokio::test]
async fn an_initialisation_that_is_too_slow_is_tried_again_within_the_first_invocation() {
    let Some(mut bench) = Bench::having("python3") else {
        return;
    };
    let text = "import time\ntime.sleep(10.5)\ndef handler(event, context): return 'ready'\n";
    let spec = python(&bench, text);
    let finished = bench.invoke(&spec, &json!({})).await;
    let ready = Bytes::from_static(b"\"ready\"");
    assert_eq!(finished.outcome, Outcome::Success(ready));
    assert!(finished.metrics.duration >= Duration::from_secs(10));
    let log = bench.log();
    assert_eq!(log.matches("INIT_START").count(), 2, "{log}");
    assert!(log.contains("Phase: init\tStatus: timeout"), "{log}");
    let mut short = Spec::clone(&spec);
    short.revision = "2".to_owned();
    short.timeout = Duration::from_secs(1);
    let after = short.timeout;
    let finished = bench.invoke(&Arc::new(short), &json!({})).await;
    assert_eq!(finished.outcome, Outcome::Timeout { after });
    assert!(bench.log().contains("Phase: invoke\tStatus: timeout"));
}

/// Writes a file that everyone may execute, and the folders above it that everyone may read.
pub(super) fn program(path: &std::path::Path, text: &str) {
    let folder = path.parent().unwrap();
    std::fs::create_dir_all(folder).unwrap();
    std::fs::write(path, text).unwrap();
    for readable in [path, folder, folder.parent().unwrap()] {
        let mode = std::fs::Permissions::from_mode(0o755);
        std::fs::set_permissions(readable, mode).unwrap();
    }
}

#[tokio::test]
async fn a_wrapper_script_starts_the_runtime_in_its_place() {
    let Some(bench) = Bench::having("python3") else {
        return;
    };
    let text = "import os\ndef handler(event, context): return os.environ['ADDED']\n";
    let mut spec = Spec::clone(&python(&bench, text));
    program(
        &spec.code.join("wrapper"),
        "#!/bin/sh\nADDED=yes exec \"$@\"\n",
    );
    let wrap = |spec: &mut Spec, by: &str| {
        let name = "AWS_LAMBDA_EXEC_WRAPPER".to_owned();
        spec.environment.insert(name, by.to_owned());
    };
    wrap(&mut spec, "/var/task/wrapper");
    assert_eq!(
        bench.answer(&Arc::new(spec.clone()), &json!({})).await,
        "yes"
    );
    spec.revision = "2".to_owned();
    wrap(&mut spec, "/var/task/absent");
    let error = bench.launcher.launch(&Arc::new(spec)).await.err().unwrap();
    assert!(!error.is_transient());
    assert!(error.to_string().contains("/var/task/absent"), "{error}");
}

#[tokio::test]
async fn layers_are_shown_at_opt_and_nowhere_else() {
    let Some(bench) = Bench::having("python3") else {
        return;
    };
    let text = "import shared, subprocess\ndef handler(event, context):\n    \
                return [shared.WORD, subprocess.run(['tool'], capture_output=True, text=True).stdout]\n";
    let mut spec = Spec::clone(&python(&bench, text));
    let opt = bench.folder.path().join("opt");
    program(&opt.join("python/shared.py"), "WORD = 'of a layer'");
    program(&opt.join("bin/tool"), "#!/bin/sh\nprintf found");
    spec.opt = Some(opt);
    let answer = bench.answer(&Arc::new(spec.clone()), &json!({})).await;
    assert_eq!(answer, json!(["of a layer", "found"]));
    let Some(plain) = Bench::plain("python3") else {
        return;
    };
    let refused = plain.launcher.launch(&Arc::new(spec)).await.err().unwrap();
    assert!(!refused.is_transient());
    assert!(refused.to_string().contains("/opt"), "{refused}");
}

#[tokio::test]
async fn an_initialisation_that_fails_is_tried_again_within_the_first_invocation() {
    let Some(mut bench) = Bench::having("python3") else {
        return;
    };
    let text = "raise RuntimeError('no database')\n";
    let spec = python(&bench, text);
    let error = bench.error(&spec, &json!({})).await;
    assert_eq!(error["errorType"], "RuntimeError");
    let log = bench.log();
    assert_eq!(log.matches("INIT_START").count(), 2, "{log}");
    for phase in ["init", "invoke"] {
        let words = format!("Phase: {phase}\tStatus: error\tError Type: RuntimeError\n");
        assert!(log.contains(&words), "{log}");
    }
}
