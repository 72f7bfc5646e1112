//! Functions that are container images.

use function::{FunctionName, ImageFault, ImageFaultKind};
use serde_json::{Value, json};

use super::door::{Door, ROLE, creation, part};

const FUNCTIONS: &str = "/2015-03-31/functions";
const F: &str = "/2015-03-31/functions/f";
const CODE: &str = "/2015-03-31/functions/f/code";
const CONFIGURATION: &str = "/2015-03-31/functions/f/configuration";

fn image(tag: &str) -> Value {
    json!({
        "FunctionName": "f", "PackageType": "Image", "Role": ROLE,
        "Code": {"ImageUri": format!("r.example/app:{tag}")},
    })
}

impl Door {
    async fn with_image() -> Self {
        let door = Self::open().await;
        let created = door.call("POST", FUNCTIONS, &image("1")).await;
        assert_eq!(created.status, 201, "{}", created.json());
        door
    }

    /// What the server does once it has brought an image in, or failed to.
    async fn arrive(&self, outcome: Result<(), ImageFault>) {
        let registry = &self.state.registry;
        let (name, image) = registry.awaited_images().pop().unwrap();
        assert_eq!(name, FunctionName::new("f").unwrap());
        registry
            .image_arrived(&name, &image, outcome)
            .await
            .unwrap();
    }

    async fn shows(&self, path: &str, expected: &Value) {
        let shown = self.call("GET", path, &Value::Null).await.json();
        assert_eq!(part(&shown, expected), *expected);
    }
}

#[tokio::test]
async fn an_image_is_pending_until_it_has_arrived() {
    let door = Door::with_image().await;
    let pending = json!({
        "PackageType": "Image", "State": "Pending", "StateReasonCode": "Creating",
        "LastUpdateStatus": "InProgress", "CodeSize": 0,
    });
    door.shows(CONFIGURATION, &pending).await;
    let refused = door
        .call("POST", &format!("{F}/invocations"), &json!({}))
        .await;
    assert_eq!(refused.status, 409, "{}", refused.refusal());
    let refused = door
        .call("PUT", CODE, &json!({"ImageUri": "r.example/app:2"}))
        .await;
    assert_eq!(refused.status, 409, "{}", refused.refusal());
    door.arrive(Ok(())).await;
    let active = json!({"State": "Active", "LastUpdateStatus": "Successful"});
    door.shows(CONFIGURATION, &active).await;
    let shown = door.call("GET", F, &Value::Null).await.json();
    let configuration = &shown["Configuration"];
    for absent in [
        "Runtime",
        "Handler",
        "Layers",
        "StateReason",
        "ImageConfigResponse",
    ] {
        assert_eq!(configuration[absent], Value::Null, "{absent}");
    }
    let digest = configuration["CodeSha256"].as_str().unwrap();
    let code = json!({
        "RepositoryType": "OCI", "ImageUri": "r.example/app:1",
        "ResolvedImageUri": format!("r.example/app@sha256:{digest}"),
    });
    assert_eq!(shown["Code"], code);
    let none = door.call("GET", CODE, &Value::Null).await;
    assert_eq!(none.status, 404);
}

#[tokio::test]
async fn an_update_that_fails_says_why_and_the_old_image_runs_on() {
    let door = Door::with_image().await;
    door.arrive(Ok(())).await;
    let before = door.call("GET", CONFIGURATION, &Value::Null).await.json();
    let updated = door
        .call("PUT", CODE, &json!({"ImageUri": "r.example/app:2"}))
        .await;
    assert_eq!(updated.status, 200, "{}", updated.json());
    let changing = json!({"State": "Active", "LastUpdateStatus": "InProgress"});
    assert_eq!(part(&updated.json(), &changing), changing);
    assert_ne!(updated.json()["CodeSha256"], before["CodeSha256"]);
    let gone = ImageFault {
        kind: ImageFaultKind::Gone,
        reason: "a layer is not there".to_owned(),
    };
    door.arrive(Err(gone)).await;
    let failed = json!({
        "State": "Active", "LastUpdateStatus": "Failed",
        "LastUpdateStatusReason": "a layer is not there",
        "LastUpdateStatusReasonCode": "ImageDeleted",
    });
    door.shows(CONFIGURATION, &failed).await;
    let function = door
        .state
        .registry
        .function(&FunctionName::new("f").unwrap());
    let running = function.unwrap().image.clone().unwrap().running.unwrap();
    assert_eq!(running.uri, "r.example/app:1");
    let updated = door
        .call("PUT", CODE, &json!({"ImageUri": "r.example/app:3"}))
        .await;
    assert_eq!(updated.status, 200);
    door.arrive(Ok(())).await;
    let done = json!({"State": "Active", "LastUpdateStatus": "Successful"});
    door.shows(CONFIGURATION, &done).await;
}

#[tokio::test]
async fn a_first_image_that_fails_leaves_a_function_that_says_why() {
    let door = Door::with_image().await;
    let fault = ImageFault {
        kind: ImageFaultKind::Invalid,
        reason: "a bomb".to_owned(),
    };
    door.arrive(Err(fault)).await;
    let failed = json!({
        "State": "Failed", "StateReason": "a bomb", "StateReasonCode": "InvalidImage",
    });
    door.shows(CONFIGURATION, &failed).await;
    let refused = door
        .call("POST", &format!("{F}/invocations"), &json!({}))
        .await;
    assert_eq!(refused.status, 409);
    assert!(refused.refusal().ends_with("state: Failed"));
}

#[tokio::test]
async fn what_an_image_is_run_with_is_kept_shown_and_changed() {
    let door = Door::open().await;
    let mut request = image("1");
    request["ImageConfig"] = json!({"Command": ["app.handler"], "WorkingDirectory": "/srv"});
    let created = door.call("POST", FUNCTIONS, &request).await;
    assert_eq!(created.status, 201, "{}", created.json());
    let stated = &created.json()["ImageConfigResponse"]["ImageConfig"];
    assert_eq!(*stated, request["ImageConfig"]);
    door.arrive(Ok(())).await;
    let change = json!({"ImageConfig": {"EntryPoint": ["/main"]}, "Timeout": 9});
    let changed = door.call("PUT", CONFIGURATION, &change).await.json();
    let expected = json!({
        "ImageConfigResponse": {"ImageConfig": {"EntryPoint": ["/main"]}}, "Timeout": 9,
    });
    assert_eq!(part(&changed, &expected), expected);
    let kept = door
        .call("PUT", CONFIGURATION, &json!({"Timeout": 10}))
        .await
        .json();
    assert_eq!(kept["ImageConfigResponse"], expected["ImageConfigResponse"]);
    let nothing = json!({"ImageConfig": {"EntryPoint": []}});
    let emptied = door.call("PUT", CONFIGURATION, &nothing).await;
    assert_eq!(emptied.json()["ImageConfigResponse"], Value::Null);
    door.shows(
        CONFIGURATION,
        &json!({"State": "Active", "LastUpdateStatus": "Successful"}),
    )
    .await;
}

#[tokio::test]
async fn what_does_not_go_with_an_image_or_a_package_is_refused() {
    let with = |mut request: Value, member: &str, value: Value| {
        request[member] = value;
        request
    };
    let uri = |uri: &str| with(image("1"), "Code", json!({"ImageUri": uri}));
    let config = |config: Value| with(image("1"), "ImageConfig", config);
    let long = "x".repeat(16 * 1024 + 1);
    let refusals = [
        (
            with(image("1"), "Runtime", json!("python3.13")),
            "PackageType is Image",
        ),
        (
            with(image("1"), "Handler", json!("a.b")),
            "PackageType is Image",
        ),
        (
            with(image("1"), "PackageType", json!("Jar")),
            "[Image, Zip]",
        ),
        (
            with(image("1"), "Code", json!({"ZipFile": ""})),
            "Please provide ImageUri",
        ),
        (
            with(creation("f"), "ImageConfig", json!({"Command": ["a"]})),
            "PackageType is Zip",
        ),
        (
            with(
                creation("f"),
                "Code",
                json!({"ImageUri": "r.example/app:1"}),
            ),
            "packageType Zip",
        ),
        (uri("r.example/none:1"), "does not exist"),
        (uri("r.example/app:secret"), "does not have permission"),
        (uri("r.example/app:other"), "it is for another machine"),
        (config(json!({"Command": [long]})), "exceeds the limit"),
        (config(json!({"Command": vec!["x"; 1501]})), "1500 words"),
        (
            config(json!({"WorkingDirectory": "x".repeat(1001)})),
            "1000",
        ),
        (config(json!({"User": "root"})), "User"),
    ];
    let door = Door::open().await;
    for (request, reason) in refusals {
        let refused = door.call("POST", FUNCTIONS, &request).await;
        assert_eq!(refused.status, 400, "{reason}");
        let message = refused.refusal();
        assert!(message.contains(reason), "{message}");
    }
    let door = Door::with_function().await;
    let refused = door
        .call("PUT", CODE, &json!({"ImageUri": "r.example/app:1"}))
        .await;
    assert!(refused.refusal().contains("packageType Zip"));
    let change = json!({"ImageConfig": {"Command": ["a"]}});
    let refused = door.call("PUT", CONFIGURATION, &change).await;
    assert!(refused.refusal().contains("PackageType is Zip"));
    let door = Door::with_image().await;
    door.arrive(Ok(())).await;
    let refused = door.call("PUT", CODE, &json!({"ZipFile": ""})).await;
    assert!(refused.refusal().contains("Please provide ImageUri"));
    let refused = door
        .call("PUT", CONFIGURATION, &json!({"Handler": "a.b"}))
        .await;
    assert!(refused.refusal().contains("PackageType is Image"));
}

#[tokio::test]
async fn a_version_keeps_the_image_that_ran_when_it_was_published() {
    const VERSIONS: &str = "/2015-03-31/functions/f/versions";
    let door = Door::with_image().await;
    let early = door.call("POST", VERSIONS, &json!({})).await;
    assert_eq!(early.status, 409, "{}", early.refusal());
    door.arrive(Ok(())).await;
    let published = door.call("POST", VERSIONS, &json!({})).await;
    assert_eq!(published.status, 201, "{}", published.refusal());
    let published = published.json();
    let same = json!({"CodeSha256": published["CodeSha256"]});
    let again = door.call("POST", VERSIONS, &same).await.json();
    assert_eq!(again["Version"], "1");
    door.call("PUT", CODE, &json!({"ImageUri": "r.example/app:2"}))
        .await;
    door.arrive(Ok(())).await;
    door.shows(&format!("{CONFIGURATION}?Qualifier=1"), &same)
        .await;
    let shown = door
        .call("GET", &format!("{F}?Qualifier=1"), &Value::Null)
        .await;
    assert_eq!(shown.json()["Code"]["ImageUri"], "r.example/app:1");
    let mut request = image("1");
    request["FunctionName"] = json!("g");
    request["Publish"] = json!(true);
    let refused = door.call("POST", FUNCTIONS, &request).await;
    assert!(
        refused.refusal().contains("Publish"),
        "{}",
        refused.refusal()
    );
}
