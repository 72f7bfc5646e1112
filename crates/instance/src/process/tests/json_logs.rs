//! Logs in JSON: what the platform says, what runtimes print, and what is left out.

use super::*;
use crate::Severity;

const ALL: LogFormat = LogFormat::Json {
    application: Severity::Trace,
    system: Severity::Debug,
};
const WARNINGS: LogFormat = LogFormat::Json {
    application: Severity::Warn,
    system: Severity::Warn,
};

fn in_json(mut spec: Spec, format: LogFormat) -> Arc<Spec> {
    spec.log_format = format;
    Arc::new(spec)
}

/// Every line as JSON.
fn lines(log: &str) -> Vec<Value> {
    let parse = |line| serde_json::from_str(line).unwrap_or_else(|_| panic!("no JSON: {line}"));
    log.lines().map(parse).collect()
}

fn types(lines: &[Value]) -> Vec<&str> {
    let types = lines.iter().map(|line| &line["type"]);
    types.filter_map(Value::as_str).collect()
}

#[tokio::test]
async fn the_platforms_lines_are_events_of_the_telemetry_api() {
    let Some(mut bench) = Bench::having("python3") else {
        return;
    };
    let text = "def handler(event, context):\n  if event: raise ValueError('nö')\n";
    let spec = in_json(bench.spec("python3.11", "app.handler", "app.py", text), ALL);
    assert_eq!(bench.answer(&spec, &json!({})).await, Value::Null);
    let said = lines(&bench.log());
    assert_eq!(
        types(&said),
        [
            "platform.initStart",
            "platform.initRuntimeDone",
            "platform.initReport",
            "platform.start",
            "platform.runtimeDone",
            "platform.report"
        ]
    );
    let record = &said.last().unwrap()["record"];
    assert_eq!(record["requestId"], REQUEST);
    assert_eq!(record["status"], "success");
    assert_eq!(record["metrics"]["memorySizeMB"], 512);
    assert!(record["metrics"]["initDurationMs"].as_f64().unwrap() > 0.0);

    bench.error(&spec, &json!({"a": 1})).await;
    let said = lines(&bench.log());
    let error = said.iter().find(|line| line["level"] == "ERROR").unwrap();
    assert_eq!(error["errorType"], "ValueError");
    assert_eq!(error["errorMessage"], "nö");
    assert_eq!(error["requestId"], REQUEST);
    let report = said.last().unwrap();
    assert_eq!(report["record"]["status"], "error");
    assert_eq!(report["record"]["errorType"], "ValueError");
}

#[tokio::test]
async fn pythons_logging_writes_objects() {
    let Some(mut bench) = Bench::having("python3") else {
        return;
    };
    let text = r#"
import logging
log = logging.getLogger("x")
def handler(event, context):
    log.debug("d")
    log.info("a %s", "b", extra={"order": 7, "at": object})
    log.warning({"nested": True})
    try:
        1 / 0
    except ZeroDivisionError:
        log.exception("failed")
    print("plain")
"#;
    let code = || bench.spec("python3.11", "app.handler", "app.py", text);
    let all = in_json(code(), ALL);
    let mut few = code();
    few.revision = "2".to_owned();
    let few = in_json(few, WARNINGS);
    bench.answer(&all, &json!({})).await;
    let log = bench.log();
    assert!(log.contains("\nplain\n"), "{log}");
    let said = lines(&log.replace("plain\n", ""));
    let printed: Vec<_> = said.iter().filter(|line| line["logger"] == "x").collect();
    let levels: Vec<_> = printed.iter().map(|line| &line["level"]).collect();
    assert_eq!(levels, ["DEBUG", "INFO", "WARNING", "ERROR"]);
    assert_eq!(printed[1]["message"], "a b");
    assert_eq!(printed[1]["order"], 7);
    assert_eq!(printed[1]["at"], "<class 'object'>");
    assert_eq!(printed[1]["requestId"], REQUEST);
    assert_eq!(printed[2]["message"], json!({"nested": true}));
    assert_eq!(printed[3]["errorType"], "ZeroDivisionError");
    assert_eq!(printed[3]["stackTrace"].as_array().unwrap().len(), 1);

    bench.answer(&few, &json!({})).await;
    let said = lines(&bench.log().replace("plain\n", ""));
    let levels: Vec<_> = said.iter().map(|line| &line["level"]).collect();
    assert_eq!(
        levels,
        ["WARNING", "ERROR"],
        "nor any line of the platform's"
    );
}

#[tokio::test]
async fn nodes_console_writes_objects() {
    let Some(mut bench) = Bench::having("node") else {
        return;
    };
    let text = "exports.handler = async (event) => {
        const loop = {}; loop.self = loop;
        console.debug('d'); console.log('a %d', 1); console.warn({ nested: true });
        console.error('failed', new RangeError('far')); console.info(loop);
        if (event.fail) throw new TypeError('bad');
    };";
    let code = || bench.spec("nodejs20.x", "index.handler", "index.js", text);
    let all = in_json(code(), ALL);
    let mut few = code();
    few.revision = "2".to_owned();
    let few = in_json(few, WARNINGS);
    bench.answer(&all, &json!({})).await;
    let said = lines(&bench.log());
    let printed: Vec<_> = said
        .iter()
        .filter(|line| line["level"].is_string())
        .collect();
    let levels: Vec<_> = printed.iter().map(|line| &line["level"]).collect();
    assert_eq!(levels, ["DEBUG", "INFO", "WARN", "ERROR", "INFO"]);
    assert_eq!(printed[1]["message"], "a 1");
    assert_eq!(printed[1]["requestId"], REQUEST);
    assert_eq!(printed[2]["message"], json!({"nested": true}));
    assert_eq!(printed[3]["errorType"], "RangeError");
    assert_eq!(printed[3]["errorMessage"], "far");

    bench.error(&few, &json!({"fail": true})).await;
    let said = lines(&bench.log());
    let levels: Vec<_> = said.iter().map(|line| &line["level"]).collect();
    assert_eq!(levels[..3], ["WARN", "ERROR", "ERROR"]);
    assert_eq!(said[2]["message"]["errorType"], "TypeError");
    let types = types(&said);
    assert_eq!(types, ["platform.runtimeDone", "platform.report"]);
}

#[tokio::test]
async fn lines_of_other_runtimes_go_by_what_they_say_of_themselves() {
    let Some(mut bench) = Bench::having("python3") else {
        return;
    };
    let text = r#"#!/usr/bin/env python3
import http.client, os, sys
api = os.environ["AWS_LAMBDA_RUNTIME_API"]
def call(method, path, body=None):
    connection = http.client.HTTPConnection(api)
    connection.request(method, "/2018-06-01/runtime/" + path, body)
    response = connection.getresponse()
    response.body = response.read()
    return response
while True:
    id = call("GET", "invocation/next").headers["Lambda-Runtime-Aws-Request-Id"]
    for line in ['{"level":"info"}', '{"level":"error"}', 'text', '{"no":"level"}']:
        print(line, flush=True)
    said = os.environ["AWS_LAMBDA_LOG_FORMAT"] + os.environ["AWS_LAMBDA_LOG_LEVEL"]
    call("POST", f"invocation/{id}/response", '"' + said + '"')
"#;
    let spec = bench.spec("provided.al2023", "any", "bootstrap", text);
    let spec = in_json(spec, WARNINGS);
    assert_eq!(bench.answer(&spec, &json!({})).await, "JSONWARN");
    assert_eq!(bench.log(), "{\"level\":\"error\"}\ntext\n");
}

#[tokio::test]
async fn what_ends_an_instance_is_told_in_json() {
    let Some(mut bench) = Bench::having("python3") else {
        return;
    };
    let text = "import os\ndef handler(event, context): os._exit(3)\n";
    let spec = bench.spec("python3.11", "app.handler", "app.py", text);
    let spec = in_json(spec, WARNINGS);
    bench.error(&spec, &json!({})).await;
    let said = lines(&bench.log());
    assert_eq!(said[0]["level"], "ERROR");
    let message = said[0]["message"].as_str().unwrap();
    assert!(message.ends_with("exit status 3"), "{message}");
    assert_eq!(
        said.last().unwrap()["record"]["errorType"],
        "Runtime.ExitError"
    );
}
