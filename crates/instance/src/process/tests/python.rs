use super::*;

const PYTHON: &str = "python3.11";

fn python(bench: &Bench, text: &str) -> Arc<Spec> {
    Arc::new(bench.spec(PYTHON, "app.handler", "app.py", text))
}

#[tokio::test]
async fn an_event_comes_back_with_its_context() {
    let Some(bench) = Bench::having("python3") else {
        return;
    };
    let spec = python(
        &bench,
        r#"
import os
def handler(event, context):
    return {
        "event": event, "greeting": os.environ["GREETING"], "cwd": os.getcwd(),
        "names": [context.function_name, context.function_version, context.memory_limit_in_mb,
                  context.aws_request_id, context.invoked_function_arn, context.log_group_name],
        "custom": context.client_context.custom, "trace": os.environ["_X_AMZN_TRACE_ID"],
        "left": context.get_remaining_time_in_millis(), "temporary": os.environ["TMPDIR"],
        "env": os.environ["AWS_EXECUTION_ENV"],
    }
"#,
    );
    let event = json!({"text": "grüße, 世界 🌊 \u{0} \" \\", "number": 1.5, "none": null});
    let answer = bench.answer(&spec, &event).await;
    assert_eq!(answer["event"], event);
    assert_eq!(answer["greeting"], "hello");
    assert_eq!(answer["cwd"], "/var/task");
    assert_eq!(answer["temporary"], "/tmp");
    assert_eq!(
        answer["names"],
        json!(["f", "$LATEST", "512", REQUEST, spec.arn, "/aws/lambda/f"])
    );
    assert_eq!(answer["custom"], json!({"a": "b"}));
    assert_eq!(answer["trace"], "Root=1-5bef4de7-ad49b0e87f6ef6c87fc2e700");
    assert_eq!(answer["env"], "AWS_Lambda_python3.11");
    let left = answer["left"].as_u64().unwrap();
    assert!((20_000..=30_000).contains(&left), "{left}");
}

#[tokio::test]
async fn a_warm_instance_keeps_its_state_and_is_initialised_once() {
    let Some(mut bench) = Bench::having("python3") else {
        return;
    };
    let text =
        "count = 0\ndef handler(event, context):\n  global count\n  count += 1\n  return count\n";
    let spec = python(&bench, text);
    let first = bench.invoke(&spec, &json!({})).await;
    assert!(first.metrics.init.is_some());
    assert!(first.metrics.max_memory_mib > 1);
    let second = bench.invoke(&spec, &json!({})).await;
    assert_eq!(second.metrics.init, None);
    assert_eq!(second.outcome, Outcome::Success(Bytes::from_static(b"2")));
    let log = bench.log();
    assert_eq!(log.matches("INIT_START").count(), 1);
    assert_eq!(log.matches("START RequestId").count(), 2);
    assert_eq!(log.matches("Init Duration").count(), 1);
}

#[tokio::test]
async fn a_new_revision_gets_a_new_instance() {
    let Some(bench) = Bench::having("python3") else {
        return;
    };
    let text = "import os\nid = os.urandom(9).hex()\ndef handler(event, context): return id\n";
    let old = python(&bench, text);
    let mut new = Spec::clone(&old);
    new.revision = "2".to_owned();
    let new = Arc::new(new);
    let first = bench.answer(&old, &json!({})).await;
    assert_ne!(first, bench.answer(&new, &json!({})).await);
    assert_eq!(first, bench.answer(&old, &json!({})).await);
}

#[tokio::test]
async fn an_exception_has_the_shape_of_awss_and_the_instance_lives_on() {
    let Some(mut bench) = Bench::having("python3") else {
        return;
    };
    let text = "import os\ndef deep(): raise ValueError('nö')\ndef handler(event, context):\n  if event: deep()\n  return os.getpid()\n";
    let spec = python(&bench, text);
    let pid = bench.answer(&spec, &json!({})).await;
    let error = bench.error(&spec, &json!({"a": 1})).await;
    assert_eq!(error["errorType"], "ValueError");
    assert_eq!(error["errorMessage"], "nö");
    assert_eq!(error["requestId"], REQUEST);
    let trace = error["stackTrace"].as_array().unwrap();
    assert_eq!(trace.len(), 2, "the handler and what it called: {trace:?}");
    assert_eq!(pid, bench.answer(&spec, &json!({})).await);
    let log = bench.log();
    assert!(log.contains("[ERROR] ValueError: nö\nTraceback (most recent call last):\n"));
    assert!(log.contains("Status: error\tError Type: ValueError\n"));
}

#[tokio::test]
async fn what_is_not_json_is_a_marshal_error() {
    let Some(bench) = Bench::having("python3") else {
        return;
    };
    let spec = python(
        &bench,
        "def handler(event, context): return {'x': b'bytes'}\n",
    );
    let error = bench.error(&spec, &json!({})).await;
    assert_eq!(error["errorType"], "Runtime.MarshalError");
    assert_eq!(
        error["errorMessage"],
        "Unable to marshal response: Object of type bytes is not JSON serializable"
    );
}

#[tokio::test]
async fn an_exit_is_an_exit_error_and_the_next_event_runs() {
    let Some(mut bench) = Bench::having("python3") else {
        return;
    };
    let text = "import sys\ndef handler(event, context):\n  if 'status' in event: sys.exit(event['status'])\n  return 'ok'\n";
    let spec = python(&bench, text);
    let error = bench.error(&spec, &json!({"status": 7})).await;
    assert_eq!(error["errorType"], "Runtime.ExitError");
    assert_eq!(
        error["errorMessage"],
        format!("RequestId: {REQUEST} Error: Runtime exited with error: exit status 7")
    );
    let silent = bench.error(&spec, &json!({"status": 0})).await;
    assert_eq!(
        silent["errorMessage"],
        format!("RequestId: {REQUEST} Error: Runtime exited without providing a reason")
    );
    assert_eq!(bench.answer(&spec, &json!({})).await, "ok");
    assert!(
        bench
            .log()
            .contains("Runtime exited with error: exit status 7\nRuntime.ExitError\nEND")
    );
}

#[tokio::test]
async fn i3_nothing_outlives_its_deadline() {
    let Some(mut bench) = Bench::plain("python3") else {
        return;
    };
    let text = r#"
import os, subprocess, time
def handler(event, context):
    child = subprocess.Popen(["sleep", "1000"], start_new_session=True)
    print(os.getpid(), child.pid, flush=True)
    if event.get("hang"):
        while True: pass
    return "ok"
"#;
    let mut spec = Spec::clone(&python(&bench, text));
    spec.timeout = Duration::from_secs(1);
    let spec = Arc::new(spec);
    let finished = bench.invoke(&spec, &json!({"hang": true})).await;
    assert_eq!(
        finished.outcome,
        Outcome::Timeout {
            after: spec.timeout
        }
    );
    let took = finished.metrics.duration;
    assert!(took >= Duration::from_millis(900), "{took:?}");
    let log = bench.log();
    let pids = log
        .lines()
        .find(|line| line.split(' ').all(|word| word.parse::<i32>().is_ok()));
    let pids: Vec<Value> = pids
        .unwrap()
        .split(' ')
        .map(|pid| pid.parse().unwrap())
        .collect();
    assert_eq!(pids.iter().filter(|pid| is_alive(pid)).count(), 0);
    assert!(log.contains(&format!(
        "Z {REQUEST} Task timed out after 1.00 seconds\nEND"
    )));
    assert!(log.contains("\tStatus: timeout\n"));
    assert_eq!(bench.answer(&spec, &json!({})).await, "ok");
}

#[tokio::test]
async fn a_process_left_behind_ends_with_its_instance() {
    let Some(bench) = Bench::plain("python3") else {
        return;
    };
    let text = "import subprocess\ndef handler(event, context): return subprocess.Popen(['sleep', '1000'], start_new_session=True).pid\n";
    let spec = python(&bench, text);
    let pid = bench.answer(&spec, &json!({})).await;
    assert!(is_alive(&pid));
    let instances = bench.folder.path().join("instances");
    assert_eq!(instances.read_dir().unwrap().count(), 1);
    bench.pool.shutdown(Duration::ZERO).await;
    assert!(!is_alive(&pid));
    assert_eq!(
        instances.read_dir().unwrap().count(),
        0,
        "its temporary folder is gone"
    );
}

#[tokio::test]
async fn a_megabyte_of_output_is_logged_whole_between_start_and_end() {
    let Some(mut bench) = Bench::having("python3") else {
        return;
    };
    let text = "def handler(event, context):\n  for n in range(16384): print('x' * 63)\n  print('last', end='')\n  return 'ok'\n";
    let spec = python(&bench, text);
    let finished = bench.invoke(&spec, &json!({})).await;
    assert_eq!(finished.log_tail.len(), 4096);
    assert!(finished.log_tail.ends_with(b"\n"));
    let log = bench.log();
    assert_eq!(log.matches(&"x".repeat(63)).count(), 16384);
    let start = log.find("START RequestId").unwrap();
    let end = log
        .find(&format!("last\nEND RequestId: {REQUEST}\nREPORT"))
        .unwrap();
    assert!(end - start > 1 << 20);
}

#[tokio::test]
async fn a_full_log_drops_lines_and_says_how_many() {
    let (sink, logs) = log_queue(1024);
    let Some(mut bench) = Bench::with("python3", 0, sink, logs) else {
        return;
    };
    let spec = python(
        &bench,
        "def handler(event, context):\n  for n in range(16384): print('x' * 63)\n  return 'ok'\n",
    );
    assert_eq!(bench.answer(&spec, &json!({})).await, "ok");
    let log = bench.log();
    let kept = log.matches(&"x".repeat(63)).count();
    let dropped = log
        .split("[PLATFORM] ")
        .nth(1)
        .unwrap()
        .split(' ')
        .next()
        .unwrap();
    assert_eq!(kept + dropped.parse::<usize>().unwrap(), 16384);
    assert!(log.contains("\nEND RequestId") && log.contains("\nREPORT RequestId"));
}

#[tokio::test]
async fn six_megabytes_pass_both_ways_and_more_is_refused() {
    let Some(bench) = Bench::having("python3") else {
        return;
    };
    let text = "def handler(event, context): return event * (2 if event[:1] == 'd' else 1)\n";
    let spec = python(&bench, text);
    let payload = json!("x".repeat(6 * 1024 * 1024 - 2));
    assert_eq!(bench.answer(&spec, &payload).await, payload);
    let payload = json!("d".repeat(4 * 1024 * 1024));
    let error = bench.error(&spec, &payload).await;
    assert_eq!(error["errorType"], "Function.ResponseSizeTooLarge");
    assert_eq!(
        error["errorMessage"],
        "Response payload size (8388610 bytes) exceeded maximum allowed payload size (6291556 bytes)."
    );
    assert_eq!(bench.answer(&spec, &json!("after")).await, "after");
}

#[tokio::test]
async fn a_handler_that_cannot_be_loaded_is_an_error_with_awss_type() {
    let Some(mut bench) = Bench::having("python3") else {
        return;
    };
    let cases = [
        (
            "import nowhere\n",
            "app.handler",
            "Runtime.ImportModuleError",
            "Unable to import module 'app': No module named 'nowhere'",
        ),
        (
            "x = 1\n",
            "app.handler",
            "Runtime.HandlerNotFound",
            "Handler 'handler' missing on module 'app'",
        ),
        (
            "def x(:\n",
            "app.handler",
            "Runtime.UserCodeSyntaxError",
            "Syntax error in module 'app'",
        ),
        (
            "",
            "nodot",
            "Runtime.MalformedHandlerName",
            "Bad handler 'nodot'",
        ),
        ("raise KeyError('k')\n", "app.handler", "KeyError", "'k'"),
    ];
    for (text, handler, error_type, message) in cases {
        let spec = Arc::new(bench.spec(PYTHON, handler, "app.py", text));
        let error = bench.error(&spec, &json!({})).await;
        assert_eq!(error["errorType"], error_type);
        assert!(
            error["errorMessage"].as_str().unwrap().starts_with(message),
            "{error}"
        );
        bench.pool.retire(&spec);
    }
    assert_eq!(bench.pool.count().idle, 0, "none of them can serve again");
    assert!(bench.log().contains("Phase: init\tStatus: error"));
}

#[tokio::test]
async fn lines_printed_while_loading_belong_to_no_invocation() {
    let Some(mut bench) = Bench::having("python3") else {
        return;
    };
    let text = "print('loading')\ndef handler(event, context): print('serving')\n";
    let spec = python(&bench, text);
    bench.answer(&spec, &json!({})).await;
    let mut owners = Vec::new();
    while let Some(chunk) = bench.logs.try_next() {
        for line in str::from_utf8(&chunk.text).unwrap().lines() {
            let word = line.split_whitespace().next().unwrap().to_owned();
            owners.push((word, chunk.request_id.is_some(), chunk.kind));
        }
    }
    let (function, platform) = (crate::LogKind::Function, crate::LogKind::Platform);
    let owned = |word: &str, owned, kind| (word.to_owned(), owned, kind);
    assert_eq!(
        owners,
        [
            owned("INIT_START", false, platform),
            owned("loading", false, function),
            owned("START", true, platform),
            owned("serving", true, function),
            owned("END", true, platform),
            owned("REPORT", true, platform),
        ]
    );
}

#[tokio::test]
async fn logging_is_set_up_as_in_lambda() {
    let Some(mut bench) = Bench::having("python3") else {
        return;
    };
    let text = "import logging\ndef handler(event, context):\n  logging.getLogger().setLevel('INFO')\n  logging.getLogger('x').info('a %s', 'b')\n";
    let spec = python(&bench, text);
    assert_eq!(bench.answer(&spec, &json!({})).await, Value::Null);
    let log = bench.log();
    let line = log
        .lines()
        .find(|line| line.starts_with("[INFO]\t"))
        .unwrap();
    assert!(line.ends_with(&format!("Z\t{REQUEST}\ta b")), "{line}");
}

#[tokio::test]
async fn memory_beyond_the_limit_is_told_apart_where_it_is_enforced() {
    let Some(bench) = Bench::having("python3") else {
        return;
    };
    let text = "def handler(event, context): return len(bytearray(300 << 20))\n";
    let mut spec = Spec::clone(&python(&bench, text));
    spec.memory_mib = 128;
    let finished = bench.invoke(&Arc::new(spec), &json!({})).await;
    match bench.memory() {
        sandbox::Limit::Enforced => {
            assert_eq!(finished.outcome, Outcome::OutOfMemory);
            assert_eq!(finished.metrics.max_memory_mib, 128);
        }
        sandbox::Limit::NotEnforced(_) => {
            assert!(matches!(finished.outcome, Outcome::Success(_)));
            assert!(finished.metrics.max_memory_mib > 300);
        }
    }
}

#[tokio::test]
async fn a_missing_interpreter_is_named() {
    let Some(mut bench) = Bench::having("python3") else {
        return;
    };
    let config = ProcessConfig {
        search_path: "/nonexistent".to_owned(),
        ..ProcessConfig::clone(&bench.launcher.config)
    };
    let (sink, logs) = log_queue(1024);
    bench.logs = logs;
    let clock = Arc::new(SystemClock::new());
    let isolation = bench.launcher.isolation.clone();
    let launcher = ProcessLauncher::new(config, isolation, clock, Arc::new(sink)).unwrap();
    for (runtime, program) in [
        ("python3.11", "python3"),
        ("ruby3.4", "ruby"),
        // Our part of it is compiled.
        ("dotnet8", "mcs"),
    ] {
        let mut spec = Spec::clone(&python(&bench, ""));
        spec.runtime = runtime.parse().unwrap();
        let error = launcher.launch(&Arc::new(spec)).await.err().unwrap();
        assert_eq!(
            error.to_string(),
            format!("runtime {runtime} cannot be run: {program} is not installed")
        );
        assert!(!error.is_transient());
    }
}
