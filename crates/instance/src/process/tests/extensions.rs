//! Programs and parts of programs that run beside a function's runtime.

use super::*;

/// What extensions begin with. `CODE` is what one does.
const EXTENSION: &str = r#"#!/usr/bin/python3
import http.client, json, os, sys, time
def call(method, path, body=None, headers={}):
    connection = http.client.HTTPConnection(os.environ["AWS_LAMBDA_RUNTIME_API"])
    connection.request(method, "/2020-01-01/extension/" + path, body, headers)
    response = connection.getresponse()
    return response.status, response.headers, json.loads(response.read())
def register(events, name="watcher"):
    named = {"Lambda-Extension-Name": name, "Lambda-Extension-Accept-Feature": "accountId"}
    status, headers, body = call("POST", "register", json.dumps({"events": events}), named)
    return {"Lambda-Extension-Identifier": headers["Lambda-Extension-Identifier"]}, status, body
def following(me):
    return call("GET", "event/next", None, me)[2]
CODE
"#;

/// A function with an external extension, whose runtime `text` is.
fn extended(bench: &Bench, text: &str, code: &str) -> Spec {
    let mut spec = bench.spec("python3.11", "app.handler", "app.py", text);
    let opt = TempDir::with_prefix_in("opt-", bench.folder.path())
        .unwrap()
        .keep();
    let folder = opt.join("extensions");
    std::fs::create_dir(&folder).unwrap();
    let file = folder.join("watcher");
    std::fs::write(&file, EXTENSION.replace("CODE", code)).unwrap();
    for readable in [&file, &folder, &opt] {
        let mode = std::fs::Permissions::from_mode(0o755);
        std::fs::set_permissions(readable, mode).unwrap();
    }
    spec.opt = Some(opt);
    spec
}

#[tokio::test]
async fn an_external_extension_hears_of_invocations_and_of_the_end() {
    let Some(mut bench) = Bench::having("python3") else {
        return;
    };
    let text = r#"
import signal, sys
def end(*_):
    print("the runtime was asked to end", flush=True)
    sys.exit(0)
signal.signal(signal.SIGTERM, end)
def handler(event, context):
    return "done"
"#;
    let code = r#"
me, status, told = register(["INVOKE", "SHUTDOWN"])
hidden = [name for name in ("_HANDLER", "LAMBDA_TASK_ROOT") if name in os.environ]
print("registered", status, sorted(told.items()), hidden, flush=True)
while True:
    event = following(me)
    print("heard", event["eventType"], event.get("requestId"), event.get("shutdownReason"), flush=True)
    if event["eventType"] == "SHUTDOWN":
        time.sleep(0.1)
        print("last words", flush=True)
        break
"#;
    let spec = Arc::new(extended(&bench, text, code));
    for _ in 0..2 {
        assert_eq!(bench.answer(&spec, &json!({})).await, "done");
    }
    let log = bench.log();
    let told = "[('accountId', '000000000000'), ('functionName', 'f'), ('functionVersion', '$LATEST'), \
                ('handler', 'app.handler')] []";
    assert!(log.contains(&format!("registered 200 {told}")), "{log}");
    let line = "EXTENSION\tName: watcher\tState: Ready\tEvents: [INVOKE, SHUTDOWN]\n";
    assert!(log.contains(line), "{log}");
    let heard = format!("heard INVOKE {REQUEST} None\n");
    assert_eq!(log.matches(&heard).count(), 2, "{log}");
    bench.pool.shutdown(Duration::from_secs(5)).await;
    let log = bench.log();
    assert!(log.contains("the runtime was asked to end\n"), "{log}");
    assert!(log.contains("heard SHUTDOWN None SPINDOWN\n"), "{log}");
    assert!(log.contains("last words\n"), "{log}");
}

#[tokio::test]
async fn an_invocation_ends_when_its_extensions_have_done_with_it() {
    let Some(bench) = Bench::having("python3") else {
        return;
    };
    let text = "import os\ndef handler(event, context):\n  open('/tmp/begun', 'w').close()\n  \
                return os.path.exists('/tmp/after')\n";
    let code = r#"
me, _, _ = register(["INVOKE"])
while following(me):
    while not os.path.exists("/tmp/begun"):
        time.sleep(0.001)
    time.sleep(0.3)
    open("/tmp/after", "w").close()
"#;
    let spec = Arc::new(extended(&bench, text, code));
    let first = bench.invoke(&spec, &json!({})).await;
    assert_eq!(
        first.outcome,
        Outcome::Success(Bytes::from_static(b"false"))
    );
    assert!(first.metrics.duration >= Duration::from_millis(300));
    assert_eq!(bench.answer(&spec, &json!({})).await, true);
}

#[tokio::test]
async fn an_extension_that_ends_or_gives_up_ends_the_invocation() {
    let Some(bench) = Bench::having("python3") else {
        return;
    };
    let text = "import time\ndef handler(event, context): time.sleep(20)\n";
    let crash = "me, _, _ = register(['INVOKE'])\nfollowing(me)\nsys.exit(5)\n";
    let error = bench
        .error(&Arc::new(extended(&bench, text, crash)), &json!({}))
        .await;
    assert_eq!(
        error,
        json!({
            "errorType": "Extension.Crash",
            "errorMessage": format!("RequestId: {REQUEST} Error: exit status 5"),
        })
    );
    let mut gives_up = extended(
        &bench,
        "def handler(event, context): pass\n",
        "me, _, _ = register([])\nme['Lambda-Extension-Function-Error-Type'] = 'Oops'\n\
         call('POST', 'init/error', '{}', me)\ntime.sleep(20)\n",
    );
    gives_up.revision = "2".to_owned();
    let error = bench.error(&Arc::new(gives_up), &json!({})).await;
    assert_eq!(error["errorType"], "Extension.InitError");
}

#[tokio::test]
async fn a_part_of_the_runtime_may_be_an_extension_but_not_hear_of_the_end() {
    let Some(bench) = Bench::having("python3") else {
        return;
    };
    let text = EXTENSION.replace(
        "CODE",
        r#"
import threading
_, refused, _ = register(["SHUTDOWN"], "inner")
_, absent, _ = register(["DANCE"], "inner")
me, taken, _ = register(["INVOKE"], "inner")
_, again, _ = register(["INVOKE"], "inner")
stranger = call("GET", "event/next", None, {"Lambda-Extension-Identifier": "8476a536-e9f4-11e8-9739-2dfe598c3fcd"})
nobody = call("GET", "event/next")
heard = []
def follow():
    while True:
        heard.append(following(me)["eventType"])
threading.Thread(target=follow, daemon=True).start()
def handler(event, context):
    while not heard:
        time.sleep(0.001)
    late = register(["INVOKE"], "late")[1]
    return [refused, absent, taken, again, late, stranger[2]["errorType"], nobody[2]["errorType"], heard]
"#,
    );
    let spec = Arc::new(bench.spec("python3.11", "app.handler", "app.py", &text));
    let answer = bench.answer(&spec, &json!({})).await;
    assert_eq!(
        answer,
        json!([
            403,
            403,
            200,
            403,
            403,
            "Extension.UnknownExtensionIdentifier",
            "Extension.MissingExtensionIdentifier",
            ["INVOKE"]
        ])
    );
}

#[tokio::test]
async fn an_extension_hears_what_it_subscribed_to_and_all_of_it_before_the_end() {
    let Some(mut bench) = Bench::having("python3") else {
        return;
    };
    let text = "print('loaded')\ndef handler(event, context):\n    print('hello', event)\n    return 'done'\n";
    let code = r#"
import http.server, threading
heard = []
class Listener(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        heard.extend(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
        self.send_response(200)
        self.end_headers()
    def log_message(self, *_):
        pass
server = http.server.HTTPServer(("sandbox.localdomain", 4243), Listener)
threading.Thread(target=server.serve_forever, daemon=True).start()
me, _, _ = register(["INVOKE", "SHUTDOWN"])
def subscribe(body, headers=me):
    connection = http.client.HTTPConnection(os.environ["AWS_LAMBDA_RUNTIME_API"])
    connection.request("PUT", "/2022-07-01/telemetry", json.dumps(body), headers)
    response = connection.getresponse()
    return response.status, json.loads(response.read())
wanted = {"schemaVersion": "2022-12-13", "types": ["platform", "function", "extension"], "buffering": {"timeoutMs": 25},
          "destination": {"protocol": "HTTP", "URI": "http://sandbox.localdomain:4243/"}}
answers = [subscribe(wanted, {})[0], subscribe(wanted | {"types": ["audit"]})[0], subscribe(wanted)]
while following(me)["eventType"] != "SHUTDOWN":
    print("about an invocation", flush=True)
late = subscribe(wanted)
print("HEARD " + json.dumps([answers, late, heard]), flush=True)
"#;
    let spec = Arc::new(extended(&bench, text, code));
    for number in 0..3 {
        assert_eq!(bench.answer(&spec, &json!(number)).await, "done");
    }
    bench.pool.shutdown(Duration::from_secs(5)).await;
    let log = bench.log();
    let line =
        "TELEMETRY\tName: watcher\tState: Subscribed\tTypes: [Platform, Function, Extension]\n";
    assert!(log.contains(line), "{log}");
    let told = log.lines().find_map(|line| line.strip_prefix("HEARD "));
    let told: Value = serde_json::from_str(told.unwrap_or_else(|| panic!("{log}"))).unwrap();
    assert_eq!(told[0], json!([403, 400, [200, "OK"]]));
    assert_eq!(told[1][1]["errorType"], "Telemetry.SubscriptionClosed");
    let heard = told[2].as_array().unwrap();
    let of = |kind: &str| -> Vec<&Value> {
        let events = heard.iter().filter(|event| event["type"] == kind);
        events.map(|event| &event["record"]).collect()
    };
    let printed = ["loaded", "hello 0", "hello 1", "hello 2"];
    assert_eq!(of("function"), printed);
    assert_eq!(of("extension"), vec!["about an invocation"; 3]);
    assert_eq!(of("platform.initStart")[0]["phase"], "init");
    assert_eq!(of("platform.initRuntimeDone")[0]["status"], "success");
    assert!(of("platform.initReport")[0]["metrics"]["durationMs"].is_number());
    assert_eq!(of("platform.telemetrySubscription")[0]["name"], "watcher");
    assert_eq!(of("platform.extension")[0]["state"], "Ready");
    for kind in ["platform.start", "platform.runtimeDone", "platform.report"] {
        let ids = of(kind).into_iter().map(|record| &record["requestId"]);
        assert_eq!(ids.collect::<Vec<_>>(), vec![REQUEST; 3], "{kind}");
    }
    for done in of("platform.runtimeDone") {
        assert_eq!(done["status"], "success");
        assert_eq!(done["metrics"]["producedBytes"], "\"done\"".len());
    }
    assert!(of("platform.report")[2]["metrics"]["billedDurationMs"].is_number());
}

#[tokio::test]
async fn an_extension_hears_how_an_invocation_failed_before_it_is_shut_down() {
    let Some(mut bench) = Bench::having("python3") else {
        return;
    };
    let text = "import time\ndef handler(event, context): time.sleep(20)\n";
    let code = r#"
import socketserver, threading
heard = []
class Listener(socketserver.StreamRequestHandler):
    def handle(self):
        size = 0
        while (line := self.rfile.readline().strip()):
            name, _, value = line.partition(b":")
            size = int(value) if name.lower() == b"content-length" else size
        heard.extend(json.loads(self.rfile.read(size)))
        self.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
server = socketserver.ThreadingTCPServer(("0.0.0.0", 8080), Listener)
threading.Thread(target=server.serve_forever, daemon=True).start()
me, _, _ = register(["SHUTDOWN"])
connection = http.client.HTTPConnection(os.environ["AWS_LAMBDA_RUNTIME_API"])
wanted = {"schemaVersion": "2022-07-01", "types": ["platform"], "buffering": {"timeoutMs": 30000},
          "destination": {"protocol": "HTTP", "URI": "http://sandbox:8080/"}}
connection.request("PUT", "/2022-07-01/telemetry", json.dumps(wanted), me)
connection.getresponse().read()
reason = following(me)["shutdownReason"]
ends = [event["record"]["status"] for event in heard if event["type"] in ("platform.runtimeDone", "platform.report")]
print("HEARD", reason, ends, flush=True)
"#;
    let mut spec = extended(&bench, text, code);
    spec.timeout = Duration::from_secs(1);
    let finished = bench.invoke(&Arc::new(spec), &json!({})).await;
    assert!(matches!(finished.outcome, Outcome::Timeout { .. }));
    let log = bench.log();
    let line = "HEARD TIMEOUT ['timeout', 'timeout']\n";
    assert!(log.contains(line), "{log}");
}
