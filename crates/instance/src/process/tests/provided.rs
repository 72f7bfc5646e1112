//! Bootstraps of the package's own: a script over `curl`-like means would need `curl`, so these
//! speak the Runtime API from Python's standard library, in ways our own runtimes do not.

use super::*;

/// Talks to the Runtime API through `http.client`; `ANSWER` is what it does with an event.
const BOOTSTRAP: &str = r#"#!/usr/bin/env python3
import http.client, os, time
me = time.time_ns()
api = os.environ["AWS_LAMBDA_RUNTIME_API"]
def call(method, path, body=None, headers={}):
    connection = http.client.HTTPConnection(api)
    connection.request(method, "/2018-06-01/runtime/" + path, body, headers)
    response = connection.getresponse()
    return response.status, response.headers, response.read().decode()
while True:
    status, headers, event = call("GET", "invocation/next")
    id = headers["Lambda-Runtime-Aws-Request-Id"]
    ANSWER
"#;

fn provided(bench: &Bench, answer: &str) -> Arc<Spec> {
    let text = BOOTSTRAP.replace("ANSWER", answer);
    Arc::new(bench.spec("provided.al2023", "any", "bootstrap", &text))
}

#[tokio::test]
async fn a_new_connection_for_every_request_is_served() {
    let Some(bench) = Bench::having("python3") else {
        return;
    };
    let spec = provided(&bench, "call('POST', f'invocation/{id}/response', event)");
    for number in 0..3 {
        assert_eq!(bench.answer(&spec, &json!(number)).await, number);
    }
}

#[tokio::test]
async fn a_chunked_answer_is_put_together() {
    let Some(bench) = Bench::having("python3") else {
        return;
    };
    let spec = provided(
        &bench,
        "call('POST', f'invocation/{id}/response', iter([b'[1', b',2]']), {'Lambda-Runtime-Function-Response-Mode': 'streaming'})",
    );
    assert_eq!(bench.answer(&spec, &json!({})).await, json!([1, 2]));
}

#[tokio::test]
async fn an_answer_to_an_unknown_request_is_refused_in_awss_words() {
    let Some(bench) = Bench::having("python3") else {
        return;
    };
    let spec = provided(
        &bench,
        "import json; s, h, b = call('POST', 'invocation/nobody/response', '1'); call('POST', f'invocation/{id}/response', json.dumps([s, json.loads(b)]))",
    );
    assert_eq!(
        bench.answer(&spec, &json!({})).await,
        json!([400, {"errorType": "InvalidRequestID", "errorMessage": "Invalid request ID"}])
    );
}

#[tokio::test]
async fn an_answer_counts_though_the_process_ends_right_after_it() {
    let Some(bench) = Bench::having("python3") else {
        return;
    };
    let spec = provided(
        &bench,
        "call('POST', f'invocation/{id}/response', '5'); os._exit(1)",
    );
    for _ in 0..10 {
        assert_eq!(bench.answer(&spec, &json!({})).await, 5);
    }
}

#[tokio::test]
async fn a_package_without_bootstrap_is_refused_by_its_path() {
    let Some(bench) = Bench::having("python3") else {
        return;
    };
    let mut spec = bench.spec("provided.al2023", "any", "other", "");
    let error = bench
        .launcher
        .launch(&Arc::new(spec.clone()))
        .await
        .err()
        .unwrap();
    assert!(matches!(&error, LaunchError::EntryPoint { path, .. } if path.ends_with("bootstrap")));
    // Present, executable, and not a program.
    spec = bench.spec("provided.al2023", "any", "bootstrap", "\u{7f}ELF nonsense");
    let error = bench.launcher.launch(&Arc::new(spec)).await.err().unwrap();
    assert!(matches!(error, LaunchError::EntryPoint { .. }), "{error:?}");
    assert_eq!(
        bench
            .folder
            .path()
            .join("instances")
            .read_dir()
            .unwrap()
            .count(),
        0,
        "a failed start leaves no folder"
    );
}

#[tokio::test]
async fn a_process_that_does_not_come_back_after_its_answer_is_replaced() {
    let Some(bench) = Bench::having("python3") else {
        return;
    };
    let spec = provided(
        &bench,
        "call('POST', f'invocation/{id}/response', str(me)); time.sleep(12)",
    );
    let first = bench.answer(&spec, &json!({})).await;
    assert_ne!(bench.answer(&spec, &json!({})).await, first);
}

#[tokio::test]
async fn a_process_that_dies_while_idle_is_replaced() {
    let Some(bench) = Bench::plain("python3") else {
        return;
    };
    let spec = provided(
        &bench,
        "call('POST', f'invocation/{id}/response', str(os.getpid()))",
    );
    let first = bench.answer(&spec, &json!({})).await;
    let pid = Pid::from_raw(i32::try_from(first.as_i64().unwrap()).unwrap()).unwrap();
    let handle = rustix::process::pidfd_open(pid, rustix::process::PidfdFlags::empty()).unwrap();
    rustix::process::pidfd_send_signal(&handle, rustix::process::Signal::KILL).unwrap();
    let mut fds = [rustix::event::PollFd::new(
        &handle,
        rustix::event::PollFlags::IN,
    )];
    rustix::event::poll(&mut fds, None).unwrap();
    assert_ne!(bench.answer(&spec, &json!({})).await, first);
}
