use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use super::door::{Door, part};

const PATH: &str = "/2019-09-30/functions/f/provisioned-concurrency";
const ARN: &str = "arn:aws:lambda:us-east-1:000000000000:function:f";

fn path(qualifier: &str) -> String {
    format!("{PATH}?Qualifier={qualifier}")
}

fn wanted(executions: u32) -> Value {
    json!({"ProvisionedConcurrentExecutions": executions})
}

/// With a function `f`, a version of it, and an alias of that.
async fn door() -> Door {
    let door = Door::with_function().await;
    let versions = "/2015-03-31/functions/f/versions";
    let alias = json!({"Name": "live", "FunctionVersion": "1"});
    for (path, body) in [
        (versions, json!({})),
        ("/2015-03-31/functions/f/aliases", alias),
    ] {
        assert_eq!(door.call("POST", path, &body).await.status, 201);
    }
    door
}

#[tokio::test]
async fn what_is_provisioned_becomes_ready_is_listed_and_goes() {
    let door = door().await;
    let stop = CancellationToken::new();
    let (pool, reaper) = (door.pool.clone(), stop.clone());
    let pool = tokio::spawn(async move { pool.run(reaper).await });
    let keeper = tokio::spawn(door.state.invoker.clone().keep_provisioned(stop.clone()));
    let none = door.refusal("GET", &path("live"), &Value::Null).await;
    assert_eq!(
        none,
        "ProvisionedConcurrencyConfigNotFoundException: No Provisioned Concurrency Config found \
         for this function"
    );
    let put = door.call("PUT", &path("live"), &wanted(3)).await;
    assert_eq!(put.status, 202);
    let expected = json!({
        "RequestedProvisionedConcurrentExecutions": 3, "Status": "IN_PROGRESS",
        "LastModified": "2026-11-20T23:19:00.123+0000",
    });
    assert_eq!(part(&put.json(), &expected), expected);
    while door.pool.count().idle < 3 {
        tokio::task::yield_now().await;
    }
    let ready = json!({
        "RequestedProvisionedConcurrentExecutions": 3,
        "AvailableProvisionedConcurrentExecutions": 3,
        "AllocatedProvisionedConcurrentExecutions": 3, "Status": "READY",
    });
    let got = door.call("GET", &path("live"), &Value::Null).await.json();
    assert_eq!(part(&got, &ready), ready);
    let listed = format!("{PATH}?List=ALL");
    let listed = door.call("GET", &listed, &Value::Null).await.json();
    let listed = &listed["ProvisionedConcurrencyConfigs"];
    assert_eq!(listed.as_array().unwrap().len(), 1);
    assert_eq!(listed[0]["FunctionArn"], format!("{ARN}:live"));
    for _ in 0..2 {
        let deleted = door.call("DELETE", &path("live"), &Value::Null).await;
        assert_eq!(deleted.status, 204);
    }
    while door.pool.count().idle > 0 {
        tokio::task::yield_now().await;
    }
    assert_eq!(
        door.call("GET", &path("live"), &Value::Null).await.status,
        404
    );
    stop.cancel();
    keeper.await.unwrap();
    pool.await.unwrap();
}

#[tokio::test]
async fn what_cannot_be_provisioned_is_refused() {
    let door = door().await;
    let head = json!({"Name": "head", "FunctionVersion": "$LATEST"});
    let head = door.call("POST", "/2015-03-31/functions/f/aliases", &head);
    assert_eq!(head.await.status, 201);
    for (path, body, expected) in [
        (path("head"), wanted(1), "unpublished function versions"),
        (PATH.to_owned(), wanted(1), "unpublished function versions"),
        (
            path("%24LATEST"),
            wanted(1),
            "unpublished function versions",
        ),
        (path("9"), wanted(1), "Function not found"),
        (path("live"), wanted(0), "greater than or equal to 1"),
        (path("live"), json!({}), "must not be null"),
        (path("live"), wanted(60), "unreserved concurrency [56]"),
    ] {
        let refused = door.refusal("PUT", &path, &body).await;
        assert!(refused.contains(expected), "{path} {body}: {refused}");
    }
    assert_eq!(door.call("PUT", &path("1"), &wanted(2)).await.status, 202);
    let twice = door.refusal("PUT", &path("live"), &wanted(1)).await;
    assert!(twice.starts_with("ResourceConflictException"), "{twice}");
    let reserve = |executions: u32| json!({"ReservedConcurrentExecutions": executions});
    let concurrency = "/2017-10-31/functions/f/concurrency";
    let refused = door.refusal("PUT", concurrency, &reserve(1)).await;
    assert!(
        refused.contains("total provisioned concurrency 2"),
        "{refused}"
    );
    let reserved = door.call("PUT", concurrency, &reserve(3)).await;
    assert_eq!(reserved.status, 200);
    let refused = door.refusal("PUT", &path("1"), &wanted(4)).await;
    assert!(refused.contains("reservedConcurrentExecution"), "{refused}");
    assert_eq!(door.call("PUT", &path("1"), &wanted(3)).await.status, 202);
}
