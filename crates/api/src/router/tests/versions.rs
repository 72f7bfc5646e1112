use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::Request;
use serde_json::{Value, json};

use super::door::{Door, creation, part, zip};

const FUNCTIONS: &str = "/2015-03-31/functions";
const F: &str = "/2015-03-31/functions/f";
const VERSIONS: &str = "/2015-03-31/functions/f/versions";
const ALIASES: &str = "/2015-03-31/functions/f/aliases";
const ARN: &str = "arn:aws:lambda:us-east-1:000000000000:function:f";

impl Door {
    /// With code of its own as the next version of `f`.
    async fn publish_code(&self, content: &str) -> Value {
        let code = json!({"ZipFile": STANDARD.encode(zip(content)), "Publish": true});
        let updated = self.call("PUT", &format!("{F}/code"), &code).await;
        assert_eq!(updated.status, 200, "{}", updated.json());
        updated.json()
    }

    async fn point(&self, alias: &Value) -> Value {
        let created = self.call("POST", ALIASES, alias).await;
        assert_eq!(created.status, 201, "{}", created.json());
        created.json()
    }
}

#[tokio::test]
async fn a_version_is_published_once_for_each_change_and_never_changes() {
    let door = Door::with_function().await;
    let described = json!({"Description": "first"});
    let first = door.call("POST", VERSIONS, &described).await;
    assert_eq!(first.status, 201);
    let expected = json!({
        "Version": "1", "FunctionArn": format!("{ARN}:1"), "Description": "first",
        "State": "Active", "LastUpdateStatus": "Successful", "MemorySize": 128,
    });
    assert_eq!(part(&first.json(), &expected), expected);
    let latest = door.call("GET", F, &Value::Null).await.json();
    assert_ne!(
        latest["Configuration"]["RevisionId"],
        first.json()["RevisionId"]
    );
    let again = door.call("POST", VERSIONS, &json!({})).await;
    assert_eq!(again.json(), first.json(), "nothing has changed");

    let larger = json!({"MemorySize": 256});
    let path = format!("{F}/configuration");
    assert_eq!(door.call("PUT", &path, &larger).await.status, 200);
    let second = door.call("POST", VERSIONS, &Value::Null).await.json();
    assert_eq!(
        (&second["Version"], &second["MemorySize"]),
        (&json!("2"), &json!(256))
    );
    assert_eq!(door.publish_code("2").await["Version"], "3");
    let shown = |version: &str| format!("{path}?Qualifier={version}");
    assert_eq!(
        door.call("GET", &shown("1"), &Value::Null).await.json(),
        first.json()
    );
    let listed = door.call("GET", VERSIONS, &Value::Null).await.json();
    let arns = listed["Versions"].as_array().unwrap().iter();
    let arns: Vec<_> = arns.map(|version| version["FunctionArn"].clone()).collect();
    let all = ["$LATEST", "1", "2", "3"].map(|version| json!(format!("{ARN}:{version}")));
    assert_eq!(arns, all);
    let first_page = format!("{VERSIONS}?MaxItems=3");
    let marker = door.call("GET", &first_page, &Value::Null).await.json();
    let marker = marker["NextMarker"].as_str().unwrap().to_owned();
    let rest = format!("{VERSIONS}?Marker={marker}");
    let rest = door.call("GET", &rest, &Value::Null).await;
    assert_eq!(rest.json()["Versions"].as_array().unwrap().len(), 1);
    let every = format!("{FUNCTIONS}?FunctionVersion=ALL");
    let every = door.call("GET", &every, &Value::Null).await.json();
    assert_eq!(every["Functions"].as_array().unwrap().len(), 4);
    for path in [
        format!("{path}?Qualifier=1"),
        format!("{F}%3A1/configuration"),
    ] {
        let refused = door.refusal("PUT", &path, &larger).await;
        assert!(
            refused.starts_with("InvalidParameterValueException"),
            "{refused}"
        );
    }
}

#[tokio::test]
async fn a_version_is_guarded_by_revision_and_code() {
    let door = Door::with_function().await;
    let before = door.call("GET", F, &Value::Null).await.json();
    let before = &before["Configuration"];
    let stale = json!({"RevisionId": "00000000-0000-4000-8000-000000000001"});
    let refused = door.call("POST", VERSIONS, &stale).await;
    assert_eq!(refused.status, 412);
    let other = json!({"CodeSha256": "47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU="});
    let refused = door.refusal("POST", VERSIONS, &other).await;
    assert!(
        refused.starts_with("InvalidParameterValueException: CodeSHA256"),
        "{refused}"
    );
    let fits = json!({"RevisionId": before["RevisionId"], "CodeSha256": before["CodeSha256"]});
    let published = door.call("POST", VERSIONS, &fits).await;
    assert_eq!(
        (published.status, &published.json()["Version"]),
        (201, &json!("1"))
    );
}

#[tokio::test]
async fn a_function_is_created_with_its_first_version() {
    let door = Door::open().await;
    let mut new = creation("f");
    new["Publish"] = json!(true);
    let created = door.call("POST", FUNCTIONS, &new).await.json();
    assert_eq!(
        (&created["Version"], &created["FunctionArn"]),
        (&json!("1"), &json!(format!("{ARN}:1")))
    );
    let latest = door.call("GET", F, &Value::Null).await.json();
    assert_eq!(latest["Configuration"]["FunctionArn"], ARN);
}

#[tokio::test]
async fn numbers_are_never_reused_and_the_code_of_a_version_stays_while_it_is_there() {
    let door = Door::with_function().await;
    for content in ["a", "b", "c"] {
        door.publish_code(content).await;
    }
    let got = door
        .call("GET", &format!("{F}?Qualifier=1"), &Value::Null)
        .await
        .json();
    let location = got["Code"]["Location"].as_str().unwrap();
    let request = Request::get(location).header("host", "127.0.0.1:4566");
    let request = request.body(axum::body::Body::empty()).unwrap();
    let code = door.send_as_it_is(request).await;
    assert_eq!(
        (code.status, code.body.as_ref()),
        (200, zip("a").as_slice())
    );

    let third = format!("{F}?Qualifier=3");
    assert_eq!(door.call("DELETE", &third, &Value::Null).await.status, 204);
    assert_eq!(
        door.refusal("DELETE", &third, &Value::Null).await,
        format!("ResourceNotFoundException: Function not found: {ARN}:3")
    );
    let next = door.call("POST", VERSIONS, &json!({})).await.json();
    assert_eq!(next["Version"], "4", "the same code under a new number");
    for (qualifier, expected) in [
        ("%24LATEST", "$LATEST version cannot be deleted"),
        ("live", "Deletion of aliases is not currently supported"),
    ] {
        let path = format!("{F}?Qualifier={qualifier}");
        let refused = door.refusal("DELETE", &path, &Value::Null).await;
        assert!(refused.contains(expected), "{refused}");
    }
    assert_eq!(door.call("DELETE", F, &Value::Null).await.status, 204);
    let gone = door
        .call("GET", &format!("{F}?Qualifier=1"), &Value::Null)
        .await;
    assert_eq!(gone.status, 404);
}

#[tokio::test]
async fn an_alias_is_made_shown_pointed_elsewhere_and_removed() {
    let door = Door::with_function().await;
    door.publish_code("a").await;
    door.publish_code("b").await;
    let live = json!({"Name": "live", "FunctionVersion": "1", "Description": "d"});
    let created = door.point(&live).await;
    let mut expected = live.clone();
    expected["AliasArn"] = json!(format!("{ARN}:live"));
    assert_eq!(part(&created, &expected), expected);
    assert!(created.get("RoutingConfig").is_none());
    let path = format!("{ALIASES}/live");
    assert_eq!(door.call("GET", &path, &Value::Null).await.json(), created);
    let twice = door.refusal("POST", ALIASES, &live).await;
    assert_eq!(
        twice,
        format!("ResourceConflictException: Alias already exists: {ARN}:live")
    );

    let shown = door
        .call("GET", &format!("{F}?Qualifier=live"), &Value::Null)
        .await
        .json();
    let expected = json!({"FunctionArn": format!("{ARN}:live"), "Version": "1"});
    assert_eq!(part(&shown["Configuration"], &expected), expected);
    let routed = json!({
        "FunctionVersion": "2", "RevisionId": created["RevisionId"],
        "RoutingConfig": {"AdditionalVersionWeights": {"1": 0.25}},
    });
    let updated = door.call("PUT", &path, &routed).await.json();
    assert_eq!(updated["RoutingConfig"], routed["RoutingConfig"]);
    assert_eq!(
        (&updated["FunctionVersion"], &updated["Description"]),
        (&json!("2"), &json!("d"))
    );
    assert_eq!(
        door.call("PUT", &path, &routed).await.status,
        412,
        "another revision"
    );
    for version in ["1", "2"] {
        let refused = door
            .call("DELETE", &format!("{F}?Qualifier={version}"), &Value::Null)
            .await;
        assert_eq!(refused.status, 409, "{version}: {}", refused.refusal());
        let of = format!("{ALIASES}?FunctionVersion={version}");
        let of = door.call("GET", &of, &Value::Null).await.json();
        assert_eq!(of["Aliases"], json!([updated]));
    }
    let plain = json!({"RoutingConfig": {}});
    let updated = door.call("PUT", &path, &plain).await.json();
    assert!(updated.get("RoutingConfig").is_none(), "{updated}");
    for _ in 0..2 {
        assert_eq!(door.call("DELETE", &path, &Value::Null).await.status, 204);
    }
    assert_eq!(
        door.refusal("GET", &path, &Value::Null).await,
        format!("ResourceNotFoundException: Cannot find alias arn: {ARN}:live")
    );
}

#[tokio::test]
async fn an_alias_that_could_not_be_followed_is_refused() {
    let door = Door::with_function().await;
    door.publish_code("a").await;
    for (alias, expected) in [
        (json!({"Name": "7", "FunctionVersion": "1"}), "'name'"),
        (json!({"Name": "a b", "FunctionVersion": "1"}), "'name'"),
        (
            json!({"Name": "a", "FunctionVersion": "live"}),
            "'functionVersion'",
        ),
        (
            json!({"Name": "a", "FunctionVersion": "9"}),
            "Function not found",
        ),
        (json!({"Name": "a"}), "'functionVersion'"),
        (
            json!({"Name": "a", "FunctionVersion": "1",
                   "RoutingConfig": {"AdditionalVersionWeights": {"1": 0.5}}}),
            "already included",
        ),
        (
            json!({"Name": "a", "FunctionVersion": "1",
                   "RoutingConfig": {"AdditionalVersionWeights": {"9": 0.5}}}),
            "Function not found",
        ),
        (
            json!({"Name": "a", "FunctionVersion": "1",
                   "RoutingConfig": {"AdditionalVersionWeights": {"9": 1.5}}}),
            "between 0.0 and 1.0",
        ),
        (
            json!({"Name": "a", "FunctionVersion": "1",
                   "RoutingConfig": {"AdditionalVersionWeights": {"8": 0.5, "9": 0.5}}}),
            "cannot be greater than 1",
        ),
        (
            json!({"Name": "a", "FunctionVersion": "$LATEST",
                   "RoutingConfig": {"AdditionalVersionWeights": {"1": 0.5}}}),
            "$LATEST is not supported",
        ),
    ] {
        let refused = door.refusal("POST", ALIASES, &alias).await;
        assert!(refused.contains(expected), "{alias}: {refused}");
    }
}

#[tokio::test]
async fn what_is_invoked_is_the_version_that_was_asked_for() {
    let door = Door::with_function().await;
    door.publish_code("a").await;
    door.publish_code("b").await;
    door.point(&json!({"Name": "head", "FunctionVersion": "$LATEST"}))
        .await;
    door.point(&json!({"Name": "live", "FunctionVersion": "1"}))
        .await;
    let split = json!({"Name": "split", "FunctionVersion": "1",
                       "RoutingConfig": {"AdditionalVersionWeights": {"2": 1.0}}});
    door.point(&split).await;
    for (qualifier, version) in [
        ("1", "1"),
        ("2", "2"),
        ("live", "1"),
        ("split", "2"),
        ("head", "$LATEST"),
    ] {
        let arn = format!("{ARN}:{qualifier}").replace(':', "%3A");
        for path in [
            format!("{F}/invocations?Qualifier={qualifier}"),
            format!("{F}%3A{qualifier}/invocations"),
            format!("{FUNCTIONS}/{arn}/invocations"),
        ] {
            let answer = door.call("POST", &path, &json!("arn")).await;
            assert_eq!(answer.json(), format!("{ARN}:{qualifier}"), "{path}");
            assert_eq!(
                answer.header("x-amz-executed-version"),
                Some(version),
                "{path}"
            );
        }
    }
    for qualifier in ["3", "none"] {
        let path = format!("{F}/invocations?Qualifier={qualifier}");
        let refused = door.refusal("POST", &path, &Value::Null).await;
        assert_eq!(
            refused,
            format!("ResourceNotFoundException: Function not found: {ARN}:{qualifier}")
        );
    }
}

#[tokio::test]
async fn policies_and_retry_rules_belong_to_what_they_were_given_to() {
    let door = Door::with_function().await;
    door.publish_code("a").await;
    door.point(&json!({"Name": "live", "FunctionVersion": "1"}))
        .await;
    let statement = json!({"StatementId": "s", "Action": "lambda:InvokeFunction",
                           "Principal": "s3.amazonaws.com"});
    let policy = format!("{F}/policy?Qualifier=live");
    let added = door.call("POST", &policy, &statement).await;
    assert_eq!(added.status, 201, "{}", added.json());
    let shown = door.call("GET", &policy, &Value::Null).await.json();
    let shown: Value = serde_json::from_str(shown["Policy"].as_str().unwrap()).unwrap();
    assert_eq!(shown["Statement"][0]["Resource"], format!("{ARN}:live"));
    for other in ["", "?Qualifier=1"] {
        let path = format!("{F}/policy{other}");
        assert_eq!(door.call("GET", &path, &Value::Null).await.status, 404);
    }
    let path = format!("{F}/policy/s?Qualifier=live");
    assert_eq!(door.call("DELETE", &path, &Value::Null).await.status, 204);

    let rules = "/2019-09-25/functions/f/event-invoke-config";
    for (qualifier, retries) in [("1", 0), ("live", 1)] {
        let path = format!("{rules}?Qualifier={qualifier}");
        let put = door
            .call("PUT", &path, &json!({"MaximumRetryAttempts": retries}))
            .await;
        assert_eq!(put.json()["FunctionArn"], format!("{ARN}:{qualifier}"));
        assert_eq!(
            door.call("GET", &path, &Value::Null).await.json(),
            put.json()
        );
    }
    let listed = door
        .call("GET", &format!("{rules}/list"), &Value::Null)
        .await
        .json();
    assert_eq!(
        listed["FunctionEventInvokeConfigs"]
            .as_array()
            .unwrap()
            .len(),
        2
    );
    assert_eq!(door.call("GET", rules, &Value::Null).await.status, 404);
}

#[tokio::test]
async fn a_mapping_runs_the_version_or_alias_that_it_names() {
    let door = Door::with_function().await;
    door.publish_code("a").await;
    door.point(&json!({"Name": "live", "FunctionVersion": "1"}))
        .await;
    let mappings = "/2015-03-31/event-source-mappings";
    let mapping = |function: &str| {
        json!({"FunctionName": function, "Topics": ["t"], "StartingPosition": "LATEST",
               "SelfManagedEventSource":
                   {"Endpoints": {"KAFKA_BOOTSTRAP_SERVERS": ["localhost:9092"]}}})
    };
    let mut ids = Vec::new();
    for (function, arn) in [
        ("f", ARN.to_owned()),
        ("f:1", format!("{ARN}:1")),
        (&format!("{ARN}:live"), format!("{ARN}:live")),
    ] {
        let created = door.call("POST", mappings, &mapping(function)).await.json();
        assert_eq!(created["FunctionArn"], arn, "{created}");
        let id = created["UUID"].as_str().unwrap();
        ids.push(format!("{mappings}/{id}"));
    }
    let twice = door.refusal("POST", mappings, &mapping("f:live")).await;
    assert!(twice.starts_with("ResourceConflictException"), "{twice}");
    let none = door.refusal("POST", mappings, &mapping("f:none")).await;
    assert!(none.starts_with("ResourceNotFoundException"), "{none}");
    for (function, count) in [("f", 3), ("f%3Alive", 1), ("f%3A1", 1)] {
        let path = format!("{mappings}?FunctionName={function}");
        let listed = door.call("GET", &path, &Value::Null).await.json();
        assert_eq!(
            listed["EventSourceMappings"].as_array().unwrap().len(),
            count
        );
    }
    let moved = door
        .call("PUT", &ids[1], &json!({"FunctionName": "f:$LATEST"}))
        .await
        .json();
    assert_eq!(moved["FunctionArn"], format!("{ARN}:$LATEST"));

    let path = format!("{ALIASES}/live");
    assert_eq!(door.call("DELETE", &path, &Value::Null).await.status, 204);
    let off = door.call("GET", &ids[2], &Value::Null).await.json();
    let expected = json!({"State": "Disabled", "StateTransitionReason": "Function not found"});
    assert_eq!(part(&off, &expected), expected);
    let on = door.call("GET", &ids[0], &Value::Null).await.json();
    assert_eq!(on["State"], "Enabled");
}
