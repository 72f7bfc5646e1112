//! The example functions: their own tests, and that an instance can load and run them.

use std::path::Path;
use std::process::Command;

use super::*;

fn folder(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../../functions")
        .join(name)
        .canonicalize()
        .unwrap()
}

fn passes(program: &str, arguments: &[&str], folder: &Path) {
    let output = Command::new(program)
        .args(arguments)
        .current_dir(folder)
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{text}\n{errors}");
}

#[test]
fn csv_summary_passes_its_own_tests() {
    if lacks("python3") {
        return;
    }
    passes("python3", &["-B", "-m", "unittest"], &folder("csv-summary"));
}

#[test]
fn enrich_passes_its_own_tests() {
    if lacks("node") {
        return;
    }
    passes("node", &["--test", "test.js"], &folder("enrich"));
}

#[tokio::test]
async fn the_examples_load_and_answer_in_an_instance() {
    let (Some(bench), false) = (Bench::having("python3"), lacks("node")) else {
        return;
    };
    let variables = |pairs: &[(&str, &str)]| {
        let owned = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
        pairs.iter().map(owned).collect::<BTreeMap<_, _>>()
    };
    let mut summary = bench.spec("python3.11", "app.handler", "unused", "");
    copy(&folder("csv-summary"), &summary.code);
    summary.environment = variables(&[
        ("OUTPUT_BUCKET", "out"),
        ("AWS_ENDPOINT_URL", "http://127.0.0.1:1"),
    ]);
    let answer = bench
        .answer(&Arc::new(summary), &json!({"Records": []}))
        .await;
    assert_eq!(answer, json!({"bucket": "out", "written": []}));
    let mut enrich = bench.spec("nodejs20.x", "index.handler", "unused", "");
    enrich.function = "enrich".to_owned();
    copy(&folder("enrich"), &enrich.code);
    enrich.environment = variables(&[("KAFKA_BOOTSTRAP", "127.0.0.1:1"), ("OUTPUT_TOPIC", "out")]);
    let enrich = Arc::new(enrich);
    let answer = bench
        .answer(&enrich, &json!({"records": {"in-0": []}}))
        .await;
    assert_eq!(answer, json!({"published": 0, "skipped": 0}));
    let record = json!({"topic": "in", "partition": 0, "offset": 0, "value": "eyJpZCI6ImEiLCJtYWciOjEsInRpbWUiOjB9"});
    let error = bench
        .error(&enrich, &json!({"records": {"in-0": [record]}}))
        .await;
    let message = error["errorMessage"].as_str().unwrap();
    assert!(
        message.contains("ECONNREFUSED"),
        "a batch that is not published fails: {error}"
    );
}

fn copy(from: &Path, to: &Path) {
    for entry in from.read_dir().unwrap().map(Result::unwrap) {
        if entry.path().is_file() {
            std::fs::copy(entry.path(), to.join(entry.file_name())).unwrap();
        }
    }
}
