use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use event_log::{Offset, TopicName};
use serde_json::{Value, json};

use super::door::{Door, creation};

const INVOKE: &str = "/2015-03-31/functions/f/invocations";

#[tokio::test]
async fn an_answer_comes_back_as_the_function_gave_it() {
    let door = Door::with_function().await;
    let answer = door.call("POST", INVOKE, &json!({"a": 1})).await;
    assert_eq!((answer.status, answer.json()), (200, json!({"a": 1})));
    assert_eq!(answer.header("x-amz-executed-version"), Some("$LATEST"));
    assert_eq!(answer.header("x-amz-function-error"), None);
    assert_eq!(answer.header("x-amz-log-result"), None);
    let nothing = door.call("POST", INVOKE, &Value::Null).await;
    assert_eq!(nothing.json(), json!({}));
}

#[tokio::test]
async fn a_functions_error_is_a_success_of_the_service_that_says_unhandled() {
    let door = Door::with_function().await;
    let headers = [("x-amz-log-type", "Tail")];
    let answer = door
        .send("POST", INVOKE, &headers, Bytes::from_static(b"\"throw\""))
        .await;
    assert_eq!(answer.status, 200);
    assert_eq!(answer.header("x-amz-function-error"), Some("Unhandled"));
    assert_eq!(
        answer.json(),
        json!({"errorMessage": "no", "errorType": "Oops"})
    );
    let tail = STANDARD
        .decode(answer.header("x-amz-log-result").unwrap())
        .unwrap();
    assert_eq!(tail, b"END\n");
}

#[tokio::test]
async fn a_package_without_its_entry_point_is_the_functions_error() {
    let door = Door::open().await;
    let mut request = creation("f");
    request["Handler"] = json!("missing");
    door.call("POST", "/2015-03-31/functions", &request).await;
    let answer = door.call("POST", INVOKE, &json!({})).await;
    assert_eq!(
        (answer.status, answer.header("x-amz-function-error")),
        (200, Some("Unhandled"))
    );
    assert_eq!(answer.json()["errorType"], "Runtime.InvalidEntrypoint");
}

#[tokio::test]
async fn an_event_is_written_down_before_it_is_accepted() {
    let door = Door::with_function().await;
    let headers = [("x-amz-invocation-type", "Event")];
    let answer = door
        .send("POST", INVOKE, &headers, Bytes::from_static(b"{\"n\":1}"))
        .await;
    assert_eq!((answer.status, answer.body.len()), (202, 0));
    let id = answer.header("x-amzn-requestid").unwrap();
    let topic = door
        .state
        .log
        .topic(&TopicName::new("tidemill.async").unwrap())
        .unwrap();
    let mut found = Vec::new();
    for partition in topic.partitions() {
        for batch in door
            .state
            .log
            .read(&partition, Offset::ZERO, 1 << 20)
            .await
            .unwrap()
            .batches
        {
            found.extend(batch.records().unwrap());
        }
    }
    assert_eq!(found.len(), 1);
    assert_eq!(found[0].record.value.as_deref(), Some(&b"{\"n\":1}"[..]));
    assert_eq!(found[0].record.header("ce_id").unwrap(), id);
}

#[tokio::test]
async fn a_dry_run_runs_nothing() {
    let door = Door::with_function().await;
    let headers = [("x-amz-invocation-type", "DryRun")];
    let answer = door.send("POST", INVOKE, &headers, Bytes::new()).await;
    assert_eq!(answer.status, 204);
    let path = INVOKE.replace("/f/", "/g/");
    let answer = door.send("POST", &path, &headers, Bytes::new()).await;
    assert_eq!(answer.status, 404);
}

#[tokio::test]
async fn an_event_that_is_too_large_is_refused_with_its_bound() {
    let door = Door::with_function().await;
    let payload = |bytes: usize| Bytes::from(format!("\"{}\"", "x".repeat(bytes - 2)));
    let largest = door.send("POST", INVOKE, &[], payload(6_291_456)).await;
    assert_eq!(largest.status, 200);
    let larger = door.send("POST", INVOKE, &[], payload(6_291_457)).await;
    assert_eq!(larger.status, 413);
    let refused = "RequestTooLargeException: Request must be smaller than 6291456 bytes for the InvokeFunction operation";
    assert_eq!(larger.refusal(), refused);
    let headers = [("x-amz-invocation-type", "Event")];
    let larger = door
        .send("POST", INVOKE, &headers, payload(1_048_577))
        .await;
    assert_eq!(larger.status, 413);
    assert!(larger.refusal().contains("1048576"));
}

#[tokio::test]
async fn bad_invocations_are_refused_by_what_is_bad() {
    let door = Door::with_function().await;
    let context = STANDARD.encode("x".repeat(3_000));
    for (header, value, expected) in [
        ("x-amz-invocation-type", "Later", "invocationType"),
        ("x-amz-log-type", "All", "logType"),
        ("x-amz-tenant-id", "t", "TenantId is not supported"),
        (
            "x-amz-durable-execution-name",
            "d",
            "DurableExecutionName is not supported",
        ),
        ("x-amz-client-context", "%", "Client context"),
        ("x-amz-client-context", context.as_str(), "3583"),
    ] {
        let answer = door
            .send("POST", INVOKE, &[(header, value)], Bytes::new())
            .await;
        assert_eq!(answer.status, 400);
        assert!(answer.refusal().contains(expected), "{}", answer.refusal());
    }
    let answer = door
        .send("POST", INVOKE, &[], Bytes::from_static(b"{no"))
        .await;
    assert!(
        answer
            .refusal()
            .starts_with("InvalidRequestContentException: Could not parse")
    );
    let path = format!("{INVOKE}?Qualifier=prod");
    let answer = door.call("POST", &path, &Value::Null).await;
    assert_eq!(
        answer.refusal(),
        "ResourceNotFoundException: Function not found: arn:aws:lambda:us-east-1:000000000000:function:f:prod"
    );
}

#[tokio::test]
async fn a_function_sees_the_arn_as_it_was_called() {
    let door = Door::with_function().await;
    let arn = "arn:aws:lambda:us-east-1:000000000000:function:f";
    for (path, seen) in [
        (INVOKE.to_owned(), arn.to_owned()),
        (
            format!("{INVOKE}?Qualifier=%24LATEST"),
            format!("{arn}:$LATEST"),
        ),
        (
            INVOKE.replace("/f/", "/f%3A%24LATEST/"),
            format!("{arn}:$LATEST"),
        ),
    ] {
        let answer = door.call("POST", &path, &json!("arn")).await;
        assert_eq!(answer.json(), seen, "{path}");
    }
}

#[tokio::test]
async fn a_function_that_is_switched_off_is_throttled() {
    let door = Door::with_function().await;
    let off = json!({"ReservedConcurrentExecutions": 0});
    let path = "/2017-10-31/functions/f/concurrency";
    assert_eq!(door.call("PUT", path, &off).await.json(), off);
    let answer = door.call("POST", INVOKE, &json!({})).await;
    assert_eq!(
        (answer.status, answer.header("retry-after")),
        (429, Some("1"))
    );
    assert_eq!(answer.refusal(), "TooManyRequestsException: Rate Exceeded.");
    assert_eq!(
        answer.json()["Reason"],
        "ReservedFunctionConcurrentInvocationLimitExceeded"
    );
    assert_eq!(door.call("DELETE", path, &Value::Null).await.status, 204);
    assert_eq!(door.call("POST", INVOKE, &json!({})).await.status, 200);
}
