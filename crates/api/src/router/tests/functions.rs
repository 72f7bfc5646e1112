use http::Request;
use serde_json::{Value, json};

use super::door::{Door, ROLE, creation, part, zip};

const FUNCTIONS: &str = "/2015-03-31/functions";
const F: &str = "/2015-03-31/functions/f";

#[tokio::test]
async fn a_function_is_shown_in_the_shape_of_the_service_model() {
    let door = Door::open().await;
    let mut request = creation("f");
    request["Environment"] = json!({"Variables": {"STAGE": "test"}});
    request["Tags"] = json!({"team": "a"});
    let created = door.call("POST", FUNCTIONS, &request).await;
    assert_eq!(created.status, 201);
    assert!(created.header("x-amzn-requestid").is_some());
    let mut shown = created.json();
    let revision = shown["RevisionId"].take();
    assert!(uuid::Uuid::parse_str(revision.as_str().unwrap()).is_ok());
    let (sha256, size) = (shown["CodeSha256"].take(), shown["CodeSize"].take());
    assert_eq!((sha256.as_str().unwrap().len(), size.is_u64()), (44, true));
    let architecture = if cfg!(target_arch = "aarch64") {
        "arm64"
    } else {
        "x86_64"
    };
    let expected = json!({
        "FunctionName": "f",
        "FunctionArn": "arn:aws:lambda:us-east-1:000000000000:function:f",
        "Runtime": "python3.13", "Role": ROLE, "Handler": "main.handler",
        "CodeSize": null, "CodeSha256": null, "RevisionId": null,
        "Description": "", "Timeout": 3, "MemorySize": 128,
        "LastModified": "2026-11-20T23:19:00.123+0000", "Version": "$LATEST",
        "State": "Active", "LastUpdateStatus": "Successful", "PackageType": "Zip",
        "Architectures": [architecture], "TracingConfig": {"Mode": "PassThrough"},
        "EphemeralStorage": {"Size": 512},
        "SnapStart": {"ApplyOn": "None", "OptimizationStatus": "Off"},
        "LoggingConfig": {"LogFormat": "Text", "LogGroup": "/aws/lambda/f"},
        "Environment": {"Variables": {"STAGE": "test"}},
    });
    assert_eq!(shown, expected);

    let got = door.call("GET", F, &Value::Null).await.json();
    assert_eq!(got["Configuration"], created.json());
    assert_eq!(got["Code"]["RepositoryType"], "S3");
    assert_eq!(got["Tags"], json!({"team": "a"}));
    let configuration = door
        .call("GET", &format!("{F}/configuration"), &Value::Null)
        .await;
    assert_eq!(configuration.json(), created.json());
    let versions = door
        .call("GET", &format!("{F}/versions"), &Value::Null)
        .await
        .json();
    assert_eq!(
        versions["Versions"][0]["FunctionArn"],
        "arn:aws:lambda:us-east-1:000000000000:function:f:$LATEST"
    );
}

#[tokio::test]
async fn the_location_of_the_code_leads_to_what_was_uploaded() {
    let door = Door::with_function().await;
    let got = door.call("GET", F, &Value::Null).await.json();
    let location = got["Code"]["Location"].as_str().unwrap();
    let request = |uri: &str| {
        let request = Request::get(uri).header("host", "127.0.0.1:4566");
        request.body(axum::body::Body::empty()).unwrap()
    };
    let code = door.send_as_it_is(request(location)).await;
    assert_eq!(
        (code.status, code.body.as_ref()),
        (200, zip("1").as_slice())
    );
    let other = location.replace("/f/", "/g/");
    assert_eq!(door.send_as_it_is(request(&other)).await.status, 403);
}

#[tokio::test]
async fn a_function_is_found_under_every_form_of_its_name() {
    let door = Door::with_function().await;
    let arn = "arn:aws:lambda:us-east-1:000000000000:function:f";
    let found = [
        "f",
        "f:$LATEST",
        "000000000000:function:f",
        arn,
        &format!("{arn}:$LATEST"),
    ];
    for name in found {
        let path = format!(
            "{FUNCTIONS}/{}",
            name.replace(':', "%3A").replace('$', "%24")
        );
        assert_eq!(
            door.call("GET", &path, &Value::Null).await.status,
            200,
            "{name}"
        );
    }
    for name in [
        "g",
        "f:prod",
        "111111111111:function:f",
        &arn.replace("us-east-1", "eu-west-1"),
    ] {
        let path = format!("{FUNCTIONS}/{}", name.replace(':', "%3A"));
        let refused = door.refusal("GET", &path, &Value::Null).await;
        assert!(
            refused.starts_with("ResourceNotFoundException: Function not found: arn:aws"),
            "{refused}"
        );
    }
    let refused = door
        .refusal("GET", &format!("{FUNCTIONS}/a%20b"), &Value::Null)
        .await;
    assert!(refused.starts_with("ValidationException"), "{refused}");
    let two = door
        .refusal(
            "GET",
            &format!("{F}%3A%24LATEST?Qualifier=prod"),
            &Value::Null,
        )
        .await;
    assert!(two.contains("derived qualifier"), "{two}");
}

#[tokio::test]
async fn configuration_and_code_change_and_a_stale_revision_does_not() {
    let door = Door::with_function().await;
    let before = door
        .call("GET", &format!("{F}/configuration"), &Value::Null)
        .await
        .json();
    let change = json!({
        "MemorySize": 512, "Timeout": 30, "Description": "d", "Handler": "main.other",
        "EphemeralStorage": {"Size": 2048},
        "Environment": {"Variables": {"A1": "b"}}, "RevisionId": before["RevisionId"],
    });
    let path = format!("{F}/configuration");
    let after = door.call("PUT", &path, &change).await.json();
    let expected = json!({
        "MemorySize": 512, "Timeout": 30, "Description": "d", "Handler": "main.other",
        "EphemeralStorage": {"Size": 2048},
        "Environment": {"Variables": {"A1": "b"}}, "Runtime": "python3.13",
        "CodeSha256": before["CodeSha256"],
    });
    assert_eq!(part(&after, &expected), expected);
    let stale = door.refusal("PUT", &path, &change).await;
    assert!(stale.starts_with("PreconditionFailedException"), "{stale}");

    let code = json!({"S3Bucket": "packages", "S3Key": "f.zip", "Publish": false});
    let updated = door.call("PUT", &format!("{F}/code"), &code).await;
    assert_eq!(updated.status, 200, "{}", updated.json());
    assert_ne!(updated.json()["CodeSha256"], before["CodeSha256"]);
    let missing = json!({"S3Bucket": "packages", "S3Key": "none.zip"});
    let refused = door.refusal("PUT", &format!("{F}/code"), &missing).await;
    assert!(refused.contains("S3 Error Code: NoSuchKey"), "{refused}");
}

#[tokio::test]
async fn functions_are_listed_page_by_page_and_gone_when_deleted() {
    let door = Door::open().await;
    for name in ["c", "a", "b"] {
        door.call("POST", FUNCTIONS, &creation(name)).await;
    }
    let names = |shown: &Value| {
        let functions = shown["Functions"].as_array().unwrap();
        functions
            .iter()
            .map(|f| f["FunctionName"].as_str().unwrap().to_owned())
            .collect::<Vec<_>>()
    };
    let first = door
        .call("GET", "/2015-03-31/functions/?MaxItems=2", &Value::Null)
        .await
        .json();
    assert_eq!(names(&first), ["a", "b"]);
    let marker = first["NextMarker"].as_str().unwrap();
    let second = format!("{FUNCTIONS}?MaxItems=2&Marker={marker}");
    let second = door.call("GET", &second, &Value::Null).await.json();
    assert_eq!(
        (names(&second), &second["NextMarker"]),
        (vec!["c".to_owned()], &Value::Null)
    );

    let deleted = door
        .call("DELETE", &format!("{FUNCTIONS}/b"), &Value::Null)
        .await;
    assert_eq!((deleted.status, deleted.body.len()), (204, 0));
    let left = door.call("GET", FUNCTIONS, &Value::Null).await.json();
    assert_eq!(names(&left), ["a", "c"]);
    let again = door
        .refusal("DELETE", &format!("{FUNCTIONS}/b"), &Value::Null)
        .await;
    assert!(again.starts_with("ResourceNotFoundException"), "{again}");
}

#[tokio::test]
async fn a_parameter_that_is_not_applied_is_refused_by_name() {
    let door = Door::open().await;
    let other = if cfg!(target_arch = "aarch64") {
        "x86_64"
    } else {
        "arm64"
    };
    for (name, value) in [
        (
            "VpcConfig",
            json!({"SubnetIds": ["s"], "SecurityGroupIds": []}),
        ),
        (
            "FileSystemConfigs",
            json!([{"Arn": "a", "LocalMountPath": "/mnt/a"}]),
        ),
        (
            "DeadLetterConfig",
            json!({"TargetArn": "arn:aws:sqs:us-east-1:1:q"}),
        ),
        ("ImageConfig", json!({"Command": ["x"]})),
        ("PackageType", json!("Image")),
        ("SnapStart", json!({"ApplyOn": "PublishedVersions"})),
        ("Architectures", json!([other])),
        ("TracingConfig", json!({"Mode": "Active"})),
        ("KMSKeyArn", json!("arn:aws:kms:us-east-1:1:key/k")),
        ("PublishTo", json!("LATEST_PUBLISHED")),
        (
            "CodeSigningConfigArn",
            json!("arn:aws:lambda:us-east-1:1:code-signing-config:csc-0"),
        ),
        ("LoggingConfig", json!({"LogGroup": "/mine"})),
        ("LoggingConfig", json!({"ApplicationLogLevel": "DEBUG"})),
        (
            "TenancyConfig",
            json!({"TenantIsolationMode": "PER_TENANT"}),
        ),
        ("DurableConfig", json!({"ExecutionTimeout": 5})),
        (
            "CapacityProviderConfig",
            json!({"LambdaManagedInstancesCapacityProviderConfig": {"CapacityProviderArn": "a"}}),
        ),
        ("Unheard", json!(1)),
    ] {
        let mut request = creation("f");
        request[name] = value;
        let refused = door.refusal("POST", FUNCTIONS, &request).await;
        assert!(
            refused.starts_with("InvalidParameterValueException: "),
            "{refused}"
        );
        assert!(refused.contains(name), "{refused}");
    }
    assert!(door.state.registry.functions().is_empty());
}

#[tokio::test]
async fn the_defaults_that_clients_spell_out_are_accepted() {
    let door = Door::open().await;
    let mut request = creation("f");
    let architecture = if cfg!(target_arch = "aarch64") {
        "arm64"
    } else {
        "x86_64"
    };
    for (name, value) in [
        ("Layers", json!([])),
        (
            "VpcConfig",
            json!({"SubnetIds": [], "SecurityGroupIds": []}),
        ),
        ("DeadLetterConfig", json!({"TargetArn": ""})),
        ("PackageType", json!("Zip")),
        ("SnapStart", json!({"ApplyOn": "None"})),
        ("Architectures", json!([architecture])),
        ("EphemeralStorage", json!({"Size": 512})),
        ("TracingConfig", json!({"Mode": "PassThrough"})),
        ("KMSKeyArn", json!("")),
        ("Publish", json!(false)),
        (
            "LoggingConfig",
            json!({"LogFormat": "Text", "LogGroup": "/aws/lambda/f"}),
        ),
    ] {
        request[name] = value;
    }
    let created = door.call("POST", FUNCTIONS, &request).await;
    assert_eq!(created.status, 201, "{}", created.json());
}

#[tokio::test]
async fn logs_in_json_have_levels() {
    let door = Door::open().await;
    let mut request = creation("f");
    request["LoggingConfig"] = json!({"LogFormat": "JSON", "SystemLogLevel": "WARN"});
    let created = door.call("POST", FUNCTIONS, &request).await;
    let expected = json!({
        "LogFormat": "JSON",
        "ApplicationLogLevel": "INFO",
        "SystemLogLevel": "WARN",
        "LogGroup": "/aws/lambda/f",
    });
    assert_eq!(created.json()["LoggingConfig"], expected);
    let path = format!("{FUNCTIONS}/f/configuration");
    let other = json!({"Description": "another"});
    let updated = door.call("PUT", &path, &other).await;
    assert_eq!(updated.json()["LoggingConfig"], expected, "it was not told");
    let text = json!({"LoggingConfig": {"LogFormat": "Text"}});
    let updated = door.call("PUT", &path, &text).await;
    assert_eq!(
        updated.json()["LoggingConfig"],
        json!({"LogFormat": "Text", "LogGroup": "/aws/lambda/f"})
    );
    let loud = json!({"LoggingConfig": {"LogFormat": "JSON", "SystemLogLevel": "TRACE"}});
    let refused = door.refusal("PUT", &path, &loud).await;
    assert!(refused.contains("[DEBUG, INFO, WARN]"), "{refused}");
}

#[tokio::test]
async fn bad_values_are_refused_in_the_words_of_aws() {
    let door = Door::open().await;
    for (name, value, expected) in [
        (
            "Timeout",
            json!(0),
            "'timeout' failed to satisfy constraint: Member must have value greater than or equal to 1",
        ),
        ("Timeout", json!(901), "less than or equal to 900"),
        ("MemorySize", json!(127), "'memorySize'"),
        ("MemorySize", json!(10_241), "less than or equal to 10240"),
        (
            "EphemeralStorage",
            json!({"Size": 511}),
            "greater than or equal to 512",
        ),
        (
            "EphemeralStorage",
            json!({"Size": 10_241}),
            "less than or equal to 10240",
        ),
        (
            "Environment",
            json!({"Variables": {"TIDEMILL_EGRESS": "a.example.com:443,example.org:443"}}),
            "example.org:443 is not permitted by this server",
        ),
        (
            "Environment",
            json!({"Variables": {"TIDEMILL_EGRESS": "kafka"}}),
            "this server has no Kafka port of its own",
        ),
        ("Handler", json!("a b"), "'handler'"),
        (
            "Handler",
            json!(""),
            "Runtime and Handler are mandatory parameters",
        ),
        (
            "Description",
            json!("x".repeat(257)),
            "length less than or equal to 256",
        ),
        ("Role", json!("arn:aws:iam::1:role/r"), "'role'"),
        (
            "Runtime",
            json!("java8.al2"),
            "The runtime java8.al2 is not supported by this server: it runs python3.8",
        ),
        (
            "Runtime",
            json!("cobol85"),
            "Value cobol85 at 'runtime' failed to satisfy constraint: Member must satisfy enum value set: [nodejs20.x",
        ),
        (
            "Environment",
            json!({"Variables": {"AWS_REGION": "x"}}),
            "reserved keys that are currently not supported for modification. Reserved keys used in this request: AWS_REGION",
        ),
        (
            "Environment",
            json!({"Variables": {"1a": "x"}}),
            "[a-zA-Z]([a-zA-Z0-9_])+",
        ),
        (
            "Environment",
            json!({"Variables": {"AA": "x".repeat(4096)}}),
            "exceeded the 4KB limit",
        ),
        ("Tags", json!({"aws:x": "y"}), "reserved"),
        (
            "Code",
            json!({"ZipFile": "bm8gemlw"}),
            "Could not unzip uploaded file. Please check your file, then try to upload again.",
        ),
        ("Code", json!({"ZipFile": "%"}), "not base64"),
        (
            "Code",
            json!({}),
            "Please provide a source for function code",
        ),
        ("Code", json!({"ImageUri": "x"}), "packageType Zip"),
        ("FunctionName", json!("f:1"), "leave the qualifier 1 out"),
        (
            "FunctionName",
            json!("x".repeat(65)),
            "'functionName' failed to satisfy constraint",
        ),
        (
            "FunctionName",
            json!(null),
            "'functionName' failed to satisfy constraint: Member must not be null",
        ),
    ] {
        let mut request = creation("f");
        request[name] = value.clone();
        let refused = door.refusal("POST", FUNCTIONS, &request).await;
        assert!(refused.contains(expected), "{name} = {value}: {refused}");
    }
    let twice = door.call("POST", FUNCTIONS, &creation("f")).await;
    assert_eq!(twice.status, 201);
    let twice = door.refusal("POST", FUNCTIONS, &creation("f")).await;
    assert_eq!(
        twice,
        "ResourceConflictException: Function already exist: f"
    );
}

#[tokio::test]
async fn who_does_not_sign_is_not_heard() {
    let door = Door::with_function().await;
    let request = Request::get(F)
        .header("host", "localhost")
        .body(axum::body::Body::empty());
    let answer = door.send_as_it_is(request.unwrap()).await;
    assert_eq!(answer.status, 403);
    let refused = "MissingAuthenticationTokenException: Missing Authentication Token";
    assert_eq!(answer.refusal(), refused);
    assert!(answer.header("x-amzn-requestid").is_some());
}

#[tokio::test]
async fn operations_that_are_not_built_are_refused_by_name() {
    let door = Door::with_function().await;
    for (method, path, name) in [
        (
            "POST",
            "/2014-11-13/functions/f/invoke-async",
            "InvokeAsync",
        ),
        (
            "POST",
            "/2021-10-31/functions/f/url",
            "CreateFunctionUrlConfig",
        ),
        (
            "GET",
            "/2018-10-31/layers/l/versions/1/policy",
            "GetLayerVersionPolicy",
        ),
        (
            "POST",
            "/2021-11-15/functions/f/response-streaming-invocations",
            "InvokeWithResponseStream",
        ),
    ] {
        let answer = door.call(method, path, &Value::Null).await;
        assert_eq!(answer.status, 501);
        let refused = format!("NotImplementedException: {name} is not supported yet");
        assert_eq!(answer.refusal(), refused);
    }
    let unknown = door.call("GET", "/2015-03-31/nothing", &Value::Null).await;
    assert_eq!(unknown.status, 404);
    assert!(
        unknown
            .refusal()
            .starts_with("UnknownOperationException: GET /2015-03-31/nothing")
    );
}

#[tokio::test]
async fn a_body_that_is_no_object_is_refused_and_harms_nothing() {
    let door = Door::open().await;
    for body in ["{", "[]", "null", "1", "\u{fffd}"] {
        let answer = door
            .send("POST", FUNCTIONS, &[], body.to_owned().into())
            .await;
        assert_eq!(answer.status, 400, "{body}");
        assert!(
            answer
                .refusal()
                .starts_with("InvalidRequestContentException"),
            "{body}"
        );
    }
    let large = vec![b' '; 2 * 1024 * 1024].into();
    let answer = door
        .send("POST", "/2015-03-31/event-source-mappings", &[], large)
        .await;
    assert_eq!(answer.status, 413);
}

#[tokio::test]
async fn a_module_that_cannot_be_run_is_not_deployed() {
    let door = Door::open().await;
    let mut request = creation("f");
    request["Runtime"] = json!("wasm");
    let refused = |answer: super::door::Answer, why: &str| {
        assert_eq!(answer.status, 400);
        let said = answer.json();
        let message = said["message"].as_str().unwrap_or_default();
        assert!(message.contains(why), "{said}");
    };
    for (member, value, why) in [
        ("Handler", json!("broken"), "it is no module"),
        ("EphemeralStorage", json!({"Size": 1024}), "see no files"),
    ] {
        let mut bad = request.clone();
        bad[member] = value;
        refused(door.call("POST", FUNCTIONS, &bad).await, why);
    }
    let created = door.call("POST", FUNCTIONS, &request).await;
    assert_eq!(created.status, 201, "{}", created.json());
    let configuration = format!("{F}/configuration");
    let change = json!({"Handler": "broken"});
    refused(
        door.call("PUT", &configuration, &change).await,
        "it is no module",
    );
    let change = json!({"EphemeralStorage": {"Size": 1024}});
    refused(
        door.call("PUT", &configuration, &change).await,
        "see no files",
    );
    // Another runtime looks at its code when it is started.
    let change = json!({"Handler": "broken", "Runtime": "provided.al2023"});
    let changed = door.call("PUT", &configuration, &change).await;
    assert_eq!(changed.status, 200, "{}", changed.json());
    let back = json!({"Runtime": "wasm"});
    refused(
        door.call("PUT", &configuration, &back).await,
        "it is no module",
    );
}
