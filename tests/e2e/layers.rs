//! Layers through the AWS command line: what functions find at `/opt`.

use std::path::Path;

use anyhow::{Context, Result};
use base64::Engine;
use serde_json::{Value, json};
use tests::{Cli, Server, skip, zip_file};

const PYTHON: (&str, &str) = ("python3.11", "app.handler");

const READER: &[u8] = br#"
import os, subprocess, sys
def handler(event, context):
    import shared
    found = {}
    for folder, _, names in os.walk("/opt"):
        for name in names:
            path = os.path.join(folder, name)
            found[path] = open(path).read()
    try:
        open("/opt/new", "w")
        written = True
    except OSError:
        written = False
    said = subprocess.run(["tool"], capture_output=True, text=True).stdout
    return {"found": found, "word": shared.WORD, "written": written, "said": said, "libraries": os.environ["LD_LIBRARY_PATH"]}
"#;

/// An extension as they are written for AWS, which says at each invocation what it has heard of the
/// one before.
const WATCHER: &[u8] = br#"#!/usr/bin/python3
import http.client, http.server, json, os, threading, time
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
def call(method, path, body, headers):
    connection = http.client.HTTPConnection(os.environ["AWS_LAMBDA_RUNTIME_API"])
    connection.request(method, path, body and json.dumps(body), headers)
    response = connection.getresponse()
    return response.headers, response.read()
named = {"Lambda-Extension-Name": os.path.basename(__file__)}
headers, _ = call("POST", "/2020-01-01/extension/register", {"events": ["INVOKE"]}, named)
me = {"Lambda-Extension-Identifier": headers["Lambda-Extension-Identifier"]}
call("PUT", "/2022-07-01/telemetry", {
    "schemaVersion": "2022-12-13", "types": ["platform", "function"], "buffering": {"timeoutMs": 25},
    "destination": {"protocol": "HTTP", "URI": "http://sandbox.localdomain:4243"}}, me)
for count in range(1000):
    call("GET", "/2020-01-01/extension/event/next", None, me)
    reports = lambda: [event for event in heard if event["type"] == "platform.report"]
    while len(reports()) < count:
        time.sleep(0.001)
    printed = [event["record"] for event in heard if event["type"] == "function"]
    print("HEARD", [event["record"]["status"] for event in reports()], printed, flush=True)
"#;

#[test]
fn an_extension_of_a_layer_follows_a_function_by_telemetry() -> Result<()> {
    let server = Server::start()?;
    let Some(aws) = Cli::find(&server) else {
        let test = "an_extension_of_a_layer_follows_a_function_by_telemetry";
        skip(test, "no AWS command line");
        return Ok(());
    };
    let dir = tempfile::tempdir()?;
    let layer = publish(
        &aws,
        dir.path(),
        "watch",
        &[("extensions/watcher", WATCHER)],
    )?;
    let source = b"def handler(event, context):\n    print('event', event)\n    return event / 1\n";
    let code = zip_file(dir.path(), "code.zip", &[("app.py", source)])?;
    let options = ["--timeout", "20", "--layers", &layer];
    aws.create_function("followed", PYTHON, &code, &options)?;
    for payload in ["1", "\"no number\""] {
        aws.invoke("followed", payload)?;
    }
    let (printed, answer) = aws.invoke_with("followed", "3", &["--log-type", "Tail"])?;
    assert_eq!(answer, 3.0);
    let tail = printed["LogResult"].as_str().unwrap_or_default();
    let tail = base64::engine::general_purpose::STANDARD.decode(tail)?;
    let tail = String::from_utf8(tail)?;
    let heard = "HEARD ['success', 'error'] ['event 1', 'event no number'";
    assert!(tail.contains(heard), "{tail}");
    Ok(())
}

/// The ARN of a layer's new version with these files.
fn publish(aws: &Cli<'_>, dir: &Path, name: &str, files: &[(&str, &[u8])]) -> Result<String> {
    let archive = zip_file(dir, &format!("{name}.zip"), files)?;
    let archive = format!("fileb://{}", archive.display());
    let published = aws.run(&[
        "lambda",
        "publish-layer-version",
        "--layer-name",
        name,
        "--zip-file",
        &archive,
        "--compatible-runtimes",
        "python3.11",
    ])?;
    let published: Value = serde_json::from_str(&published)?;
    let arn = published["LayerVersionArn"].as_str();
    arn.map(str::to_owned).context("a layer's ARN")
}

#[test]
fn layers_lie_over_one_another_at_opt() -> Result<()> {
    let server = Server::start()?;
    let Some(aws) = Cli::find(&server) else {
        skip("layers_lie_over_one_another_at_opt", "no AWS command line");
        return Ok(());
    };
    let dir = tempfile::tempdir()?;
    let publish = |name, files| publish(&aws, dir.path(), name, files);
    let base = publish(
        "base",
        &[
            ("python/shared.py", b"WORD = 'base'"),
            ("python/only_base.py", b""),
            ("bin/tool", b"#!/bin/sh\necho from a layer\n"),
        ],
    )?;
    let over = publish("over", &[("python/shared.py", b"WORD = 'over'")])?;
    let code = zip_file(dir.path(), "code.zip", &[("app.py", READER)])?;
    let options = ["--timeout", "20", "--layers", &base, &over];
    aws.create_function("reader", PYTHON, &code, &options)?;
    let answer = aws.invoke("reader", "{}")?;
    let tool = "#!/bin/sh\necho from a layer\n";
    assert_eq!(
        answer["found"],
        json!({
            "/opt/python/shared.py": "WORD = 'over'", "/opt/python/only_base.py": "",
            "/opt/bin/tool": tool,
        })
    );
    assert_eq!(answer["word"], "over", "later layers prevail");
    assert_eq!(answer["written"], false);
    assert_eq!(answer["said"], "from a layer\n");
    let update = |layers: &[&str]| -> Result<String> {
        let mut arguments = vec!["lambda", "update-function-configuration"];
        arguments.extend(["--function-name", "reader", "--layers"]);
        arguments.extend(layers);
        aws.run(&arguments)
    };
    update(&[&over, &base])?;
    assert_eq!(aws.invoke("reader", "{}")?["word"], "base");
    aws.run(&[
        "lambda",
        "delete-layer-version",
        "--layer-name",
        "over",
        "--version-number",
        "1",
    ])?;
    assert_eq!(aws.invoke("reader", "{}")?["word"], "base", "it serves on");
    let listed: Value = serde_json::from_str(&aws.run(&["lambda", "list-layers"])?)?;
    assert_eq!(listed["Layers"][0]["LayerName"], "base");
    assert_eq!(listed["Layers"].as_array().map(Vec::len), Some(1));
    update(&[&base])?;
    let refused = {
        let mut arguments = vec!["lambda", "update-function-configuration"];
        arguments.extend(["--function-name", "reader", "--layers", &over]);
        aws.refused(&arguments)?
    };
    assert!(refused.contains("does not exist"), "{refused}");
    Ok(())
}
