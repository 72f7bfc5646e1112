//! Functions that misbehave: AWS's words on the invoke, the record in the bill, the next event runs.

use anyhow::Result;
use base64::Engine;
use serde_json::{Value, json};
use tests::{
    Cli, Server, eventually, map_topic, publish, run, skip, topic_lines, until_settled, zip_file,
};

const MISCHIEF: &str = r#"
import os, sys, time

def handler(event, context):
    if "records" in event:
        for records in event["records"].values():
            for record in records:
                import base64
                value = base64.b64decode(record["value"]).decode()
                if "poison" in value:
                    raise ValueError("poison")
        return "ok"
    match event.get("do"):
        case "throw": raise ValueError("no such luck")
        case "exit": os._exit(3)
        case "hang": time.sleep(60)
        case "fill":
            with open("/tmp/much", "wb") as file:
                for _ in range(300):
                    file.write(bytes(1 << 20))
        case "shout": print("x" * 1_000_000)
        case "big": return "x" * (7 * 1024 * 1024)
    return {"did": event.get("do")}
"#;

#[tokio::test]
async fn each_way_to_fail_has_awss_shape_and_the_next_invocation_runs() -> Result<()> {
    each_way_to_fail(&Server::start()?)
}

#[tokio::test]
async fn a_server_that_gave_up_roots_rights_ends_functions_all_the_same() -> Result<()> {
    if !rustix::process::geteuid().is_root() {
        skip("giving up root's rights", "the tests do not run as root");
        return Ok(());
    }
    let mut server = Server::start_with("user = \"nobody\"\n")?;
    each_way_to_fail(&server)?;
    let status = std::fs::read_to_string(format!("/proc/{}/status", server.pid()?))?;
    let says = |what: &str| {
        let mut lines = status.lines();
        let line = lines.find_map(|line| line.strip_prefix(what));
        line.unwrap_or_default()
            .split_whitespace()
            .collect::<Vec<_>>()
    };
    assert!(says("Uid:").iter().all(|id| *id == "65534"), "{status}");
    // CAP_KILL, and nothing else.
    assert_eq!(says("CapEff:"), ["0000000000000020"]);
    assert_eq!(says("CapBnd:"), ["0000000000000000"]);
    // What it keeps is its own: a successor finds everything.
    assert!(server.stop()?.success());
    server.restart()?;
    assert!(!topic_lines(&server, "tidemill.usage")?.is_empty());
    Ok(())
}

#[test]
fn a_server_becomes_nobody_it_cannot_be() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let data = folder.path().join("data").display().to_string();
    let refused = |user: &str| {
        let arguments = ["serve", "--data-dir", &data, "--user", user];
        run(&arguments).unwrap_err().to_string()
    };
    assert!(refused("nobody-of-this-name").contains("no such user"));
    assert!(refused("root").contains("is root"));
    if rustix::process::geteuid().is_root() {
        std::fs::create_dir(&data)?;
        assert!(refused("nobody").contains("chown -R nobody"));
    } else {
        assert!(refused("nobody").contains("started as root"));
    }
    Ok(())
}

fn each_way_to_fail(server: &Server) -> Result<()> {
    let Some(aws) = Cli::find(server) else {
        skip("failures", "the AWS CLI is not installed");
        return Ok(());
    };
    deploy(&aws, "2")?;
    let error = invoke(&aws, "throw")?;
    assert_eq!(error["errorType"], "ValueError");
    assert_eq!(error["errorMessage"], "no such luck");
    assert!(error["stackTrace"].is_array());
    let error = invoke(&aws, "exit")?;
    assert_eq!(error["errorType"], "Runtime.ExitError");
    assert!(
        text(&error, "errorMessage").contains("exit status 3"),
        "{error}"
    );
    let error = invoke(&aws, "hang")?;
    assert!(
        text(&error, "errorMessage").contains("Task timed out after 2.00 seconds"),
        "{error}"
    );
    let error = invoke(&aws, "big")?;
    assert_eq!(
        error["errorType"], "Function.ResponseSizeTooLarge",
        "{error}"
    );
    for quiet in ["shout", "nothing"] {
        assert_eq!(invoke(&aws, quiet)?, json!({"did": quiet}));
    }
    // More than its memory, in a /tmp of the size that it asked for.
    aws.run(&[
        "lambda",
        "update-function-configuration",
        "--function-name",
        "mischief",
        "--ephemeral-storage",
        "Size=1024",
        "--timeout",
        "60",
    ])?;
    assert_eq!(invoke(&aws, "fill")?, json!({"did": "fill"}));

    let outcomes: Vec<_> = topic_lines(server, "tidemill.usage")?
        .into_iter()
        .map(|line| text(&line.value, "outcome"))
        .collect();
    for (outcome, times) in [("success", 3), ("error", 2), ("crashed", 1), ("timeout", 1)] {
        let found = outcomes.iter().filter(|found| *found == outcome).count();
        assert_eq!(found, times, "{outcome} in {outcomes:?}");
    }
    let logs = server.tidemill(&["logs", "mischief"])?;
    assert_eq!(
        logs.matches("REPORT RequestId").count(),
        7,
        "every invocation has its REPORT line"
    );
    Ok(())
}

#[tokio::test]
async fn the_tail_of_the_log_comes_with_the_answer() -> Result<()> {
    let server = Server::start()?;
    let Some(aws) = Cli::find(&server) else {
        skip("log tail", "the AWS CLI is not installed");
        return Ok(());
    };
    deploy(&aws, "5")?;
    let (answer, _) = aws.invoke_with("mischief", "{}", &["--log-type", "Tail"])?;
    let tail = base64::engine::general_purpose::STANDARD.decode(text(&answer, "LogResult"))?;
    let tail = String::from_utf8(tail)?;
    assert!(
        tail.contains("START RequestId") && tail.contains("REPORT RequestId"),
        "{tail}"
    );
    Ok(())
}

#[tokio::test]
async fn a_poison_record_lands_in_dead_letters_once_and_its_neighbours_succeed() -> Result<()> {
    let server = Server::start()?;
    let Some(aws) = Cli::find(&server) else {
        skip("poison", "the AWS CLI is not installed");
        return Ok(());
    };
    deploy(&aws, "5")?;
    let mapping: Value = serde_json::from_str(&map_topic(&aws, "mischief", "orders")?)?;
    aws.run(&[
        "lambda",
        "update-event-source-mapping",
        "--uuid",
        &text(&mapping, "UUID"),
        "--maximum-retry-attempts",
        "1",
        "--bisect-batch-on-function-error",
    ])?;
    let records = (0..20).map(|n| {
        let value = if n == 7 {
            "poison".to_owned()
        } else {
            format!("fine {n}")
        };
        ("one key".to_owned(), value)
    });
    publish(&server.bootstrap(), "orders", records).await?;
    let triggers = eventually("the poison is given up", async || {
        let triggers = until_settled(&server).await?;
        let failed = triggers.iter().any(|trigger| trigger["failed"] == 1);
        Ok(failed.then_some(triggers))
    })
    .await?;
    let sum = |state: &str| {
        triggers
            .iter()
            .filter_map(|t| t[state].as_u64())
            .sum::<u64>()
    };
    assert_eq!((sum("succeeded"), sum("failed")), (19, 1), "{triggers:#?}");
    assert_eq!(topic_lines(&server, "tidemill.dead-letters")?.len(), 1);
    Ok(())
}

fn deploy(aws: &Cli<'_>, timeout: &str) -> Result<()> {
    let work = tempfile::tempdir()?;
    let zip = zip_file(work.path(), "m.zip", &[("app.py", MISCHIEF.as_bytes())])?;
    aws.create_function(
        "mischief",
        ("python3.11", "app.handler"),
        &zip,
        &["--timeout", timeout],
    )?;
    Ok(())
}

fn invoke(aws: &Cli<'_>, what: &str) -> Result<Value> {
    aws.invoke("mischief", &json!({"do": what}).to_string())
}

fn text(value: &Value, key: &str) -> String {
    value[key].as_str().unwrap_or_default().to_owned()
}
