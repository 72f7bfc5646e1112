//! What belongs to functions: concurrency, retry rules, permissions, tags, the account.

use function::{
    Backoff, BatchPolicy, Destination, FunctionName, Ordering, RetryPolicy, StartingPosition,
    Trigger, TriggerId, TriggerSource,
};
use serde_json::{Value, json};

use super::door::{Door, part};

const ASYNC: &str = "/2019-09-25/functions/f/event-invoke-config";
const POLICY: &str = "/2015-03-31/functions/f/policy";
const ARN: &str = "arn:aws:lambda:us-east-1:000000000000:function:f";

#[tokio::test]
async fn a_reservation_must_leave_room_for_the_others() {
    let door = Door::with_function().await;
    let (put, get) = (
        "/2017-10-31/functions/f/concurrency",
        "/2019-09-30/functions/f/concurrency",
    );
    assert_eq!(door.call("GET", get, &Value::Null).await.json(), json!({}));
    let reserved = json!({"ReservedConcurrentExecutions": 5});
    assert_eq!(door.call("PUT", put, &reserved).await.json(), reserved);
    assert_eq!(door.call("GET", get, &Value::Null).await.json(), reserved);
    let function = door
        .call("GET", "/2015-03-31/functions/f", &Value::Null)
        .await
        .json();
    assert_eq!(function["Concurrency"], reserved);
    let account = door
        .call("GET", "/2016-08-19/account-settings", &Value::Null)
        .await
        .json();
    let expected = json!({"ConcurrentExecutions": 64, "UnreservedConcurrentExecutions": 59});
    assert_eq!(part(&account["AccountLimit"], &expected), expected);
    assert_eq!(account["AccountUsage"]["FunctionCount"], 1);
    let all = json!({"ReservedConcurrentExecutions": 64});
    let refused = door.refusal("PUT", put, &all).await;
    assert!(
        refused
            .starts_with("InvalidParameterValueException: Specified ReservedConcurrentExecutions"),
        "{refused}"
    );
    for bad in [json!({}), json!({"ReservedConcurrentExecutions": -1})] {
        let refused = door.refusal("PUT", put, &bad).await;
        assert!(refused.starts_with("ValidationException"), "{refused}");
    }
}

#[tokio::test]
async fn retry_rules_are_set_merged_shown_and_reset() {
    let door = Door::with_function().await;
    let missing = door.refusal("GET", ASYNC, &Value::Null).await;
    assert_eq!(
        missing,
        format!(
            "ResourceNotFoundException: The function {ARN}:$LATEST doesn't have an EventInvokeConfig"
        )
    );
    let early = door
        .refusal("POST", ASYNC, &json!({"MaximumRetryAttempts": 1}))
        .await;
    assert!(early.starts_with("ResourceNotFoundException"), "{early}");
    let put = json!({"MaximumRetryAttempts": 0, "DestinationConfig": {"OnFailure": {"Destination": "kafka://failed"}}});
    let shown = door.call("PUT", ASYNC, &put).await.json();
    let expected = json!({
        "LastModified": 1_795_216_740.123, "FunctionArn": format!("{ARN}:$LATEST"),
        "MaximumRetryAttempts": 0, "MaximumEventAgeInSeconds": 21_600,
        "DestinationConfig": {"OnSuccess": {}, "OnFailure": {"Destination": "kafka://failed"}},
    });
    assert_eq!(shown, expected);
    let merged = door
        .call("POST", ASYNC, &json!({"MaximumEventAgeInSeconds": 60}))
        .await
        .json();
    assert_eq!(
        (
            &merged["MaximumRetryAttempts"],
            &merged["MaximumEventAgeInSeconds"]
        ),
        (&json!(0), &json!(60))
    );
    let listed = door
        .call("GET", &format!("{ASYNC}/list"), &Value::Null)
        .await
        .json();
    assert_eq!(listed["FunctionEventInvokeConfigs"], json!([merged]));
    assert_eq!(door.call("DELETE", ASYNC, &Value::Null).await.status, 204);
    assert_eq!(door.call("GET", ASYNC, &Value::Null).await.status, 404);
    for (bad, expected) in [
        (json!({"MaximumRetryAttempts": 3}), "'maximumRetryAttempts'"),
        (
            json!({"MaximumEventAgeInSeconds": 59}),
            "'maximumEventAgeInSeconds'",
        ),
        (
            json!({"DestinationConfig": {"OnSuccess": {"Destination": "kafka://t"}}}),
            "OnSuccess",
        ),
    ] {
        let refused = door.refusal("PUT", ASYNC, &bad).await;
        assert!(refused.contains(expected), "{refused}");
    }
}

#[tokio::test]
async fn retry_rules_reach_the_functions_bucket_triggers() {
    let door = Door::with_function().await;
    let trigger = Trigger {
        id: TriggerId::random(),
        function: FunctionName::new("f").unwrap(),
        source: TriggerSource::Bucket {
            bucket: "photos".to_owned(),
            configuration_id: "c".to_owned(),
            events: vec!["s3:ObjectCreated:*".to_owned()],
            prefix: None,
            suffix: None,
        },
        filters: Vec::new(),
        batch: BatchPolicy {
            batch_size: 1,
            maximum_batching_window_ms: 0,
        },
        retry: RetryPolicy {
            maximum_retry_attempts: Some(2),
            maximum_record_age_seconds: Some(21_600),
            bisect_batch_on_function_error: false,
            backoff: Backoff::Asynchronous,
            on_failure: Destination::DeadLetters,
        },
        ordering: Ordering::None,
        report_batch_item_failures: false,
        enabled: true,
        problem: None,
        tags: std::collections::BTreeMap::new(),
        qualifier: None,
        starting_position: StartingPosition::TrimHorizon,
        last_modified: clock::Timestamp::default(),
        revision: uuid::Uuid::nil(),
    };
    let id = door
        .state
        .registry
        .create_trigger(trigger)
        .await
        .unwrap()
        .id;
    let rules = json!({"MaximumRetryAttempts": 0, "MaximumEventAgeInSeconds": 90});
    door.call("PUT", ASYNC, &rules).await;
    let retry = door.state.registry.trigger(id).unwrap().retry.clone();
    assert_eq!(retry.maximum_retry_attempts, Some(0));
    assert_eq!(retry.maximum_record_age_seconds, Some(90));
    // A bucket's trigger is no mapping.
    let path = format!("/2015-03-31/event-source-mappings/{id}");
    assert_eq!(door.call("GET", &path, &Value::Null).await.status, 404);
}

#[tokio::test]
async fn permissions_are_kept_and_shown_as_iam_writes_them() {
    let door = Door::with_function().await;
    assert_eq!(door.call("GET", POLICY, &Value::Null).await.status, 404);
    let statement = json!({
        "StatementId": "s3", "Action": "lambda:InvokeFunction", "Principal": "s3.amazonaws.com",
        "SourceArn": "arn:aws:s3:::photos", "SourceAccount": "000000000000",
    });
    let added = door.call("POST", POLICY, &statement).await;
    assert_eq!(added.status, 201);
    let expected = json!({
        "Sid": "s3", "Effect": "Allow", "Principal": {"Service": "s3.amazonaws.com"},
        "Action": "lambda:InvokeFunction", "Resource": ARN,
        "Condition": {
            "ArnLike": {"AWS:SourceArn": "arn:aws:s3:::photos"},
            "StringEquals": {"AWS:SourceAccount": "000000000000"},
        },
    });
    let parse = |text: &Value| serde_json::from_str::<Value>(text.as_str().unwrap()).unwrap();
    assert_eq!(parse(&added.json()["Statement"]), expected);
    let account = json!({"StatementId": "all", "Action": "lambda:*", "Principal": "111111111111"});
    door.call("POST", POLICY, &account).await;
    let policy = door.call("GET", POLICY, &Value::Null).await.json();
    let document = parse(&policy["Policy"]);
    assert_eq!(
        document["Statement"][0]["Principal"],
        json!({"AWS": "arn:aws:iam::111111111111:root"})
    );
    assert_eq!(document["Statement"][1], expected);
    let again = door.refusal("POST", POLICY, &statement).await;
    assert!(
        again.starts_with(
            "ResourceConflictException: The statement id (s3) provided already exists"
        ),
        "{again}"
    );
    let mut url = statement.clone();
    url["StatementId"] = json!("url");
    url["FunctionUrlAuthType"] = json!("NONE");
    assert!(
        door.refusal("POST", POLICY, &url)
            .await
            .contains("FunctionUrlAuthType")
    );
    let mut long = statement;
    (long["StatementId"], long["SourceArn"]) = (json!("long"), json!("a".repeat(21_000)));
    let refused = door.refusal("POST", POLICY, &long).await;
    assert!(
        refused.starts_with("PolicyLengthExceededException"),
        "{refused}"
    );

    let removed = door
        .call("DELETE", &format!("{POLICY}/s3"), &Value::Null)
        .await;
    assert_eq!(removed.status, 204);
    let refused = door
        .refusal("DELETE", &format!("{POLICY}/s3"), &Value::Null)
        .await;
    assert!(refused.contains("Statement s3 is not found"), "{refused}");
}

#[tokio::test]
async fn tags_are_set_and_removed_on_functions_and_mappings() {
    let door = Door::with_function().await;
    let mapping = json!({
        "FunctionName": "f", "Topics": ["t"], "StartingPosition": "LATEST",
        "SelfManagedEventSource": {"Endpoints": {"KAFKA_BOOTSTRAP_SERVERS": ["localhost:9092"]}},
    });
    let mapping = door
        .call("POST", "/2015-03-31/event-source-mappings", &mapping)
        .await
        .json();
    for arn in [ARN, mapping["EventSourceMappingArn"].as_str().unwrap()] {
        let path = format!("/2017-03-31/tags/{}", arn.replace(':', "%3A"));
        let added = door
            .call("POST", &path, &json!({"Tags": {"a": "1", "b c": "2"}}))
            .await;
        assert_eq!(added.status, 204);
        let removed = door
            .call("DELETE", &format!("{path}?tagKeys=b%20c"), &Value::Null)
            .await;
        assert_eq!(removed.status, 204);
        let listed = door.call("GET", &path, &Value::Null).await.json();
        assert_eq!(listed, json!({"Tags": {"a": "1"}}));
        let many: std::collections::BTreeMap<_, _> =
            (0..51).map(|n| (format!("k{n}"), "v")).collect();
        let refused = door.refusal("POST", &path, &json!({"Tags": many})).await;
        assert!(refused.contains("limit of 50"), "{refused}");
    }
    let unknown = format!("/2017-03-31/tags/{}x", ARN.replace(':', "%3A"));
    assert_eq!(door.call("GET", &unknown, &Value::Null).await.status, 404);
    let layer = door
        .refusal(
            "GET",
            "/2017-03-31/tags/arn%3Aaws%3Alambda%3Aus-east-1%3A1%3Alayer%3Al",
            &Value::Null,
        )
        .await;
    assert!(
        layer.starts_with("InvalidParameterValueException"),
        "{layer}"
    );
}

#[tokio::test]
async fn what_terraform_asks_of_every_function_is_answered() {
    let door = Door::with_function().await;
    let signing = door
        .call(
            "GET",
            "/2020-06-30/functions/f/code-signing-config",
            &Value::Null,
        )
        .await;
    assert_eq!(
        signing.json(),
        json!({"CodeSigningConfigArn": "", "FunctionName": "f"})
    );
    let recursion = door
        .call(
            "GET",
            "/2024-08-31/functions/f/recursion-config",
            &Value::Null,
        )
        .await;
    assert_eq!(recursion.json(), json!({"RecursiveLoop": "Allow"}));
}
