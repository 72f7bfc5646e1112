use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use super::door::{Door, creation, part, zip};

const LAYERS: &str = "/2018-10-31/layers";
const L: &str = "/2018-10-31/layers/l/versions";
const ARN: &str = "arn:aws:lambda:us-east-1:000000000000:layer:l";

fn content(text: &str) -> Value {
    json!({"ZipFile": STANDARD.encode(zip(text))})
}

impl Door {
    async fn publish(&self, path: &str, text: &str) -> Value {
        let body = json!({"Content": content(text)});
        let published = self.call("POST", path, &body).await;
        assert_eq!(published.status, 201, "{}", published.json());
        published.json()
    }
}

#[tokio::test]
async fn a_layer_is_published_shown_listed_and_deleted() {
    let door = Door::open().await;
    let request = json!({
        "Content": content("one"), "Description": "words", "LicenseInfo": "MIT",
        "CompatibleRuntimes": ["python3.11"], "CompatibleArchitectures": ["x86_64"],
    });
    let published = door.call("POST", L, &request).await;
    assert_eq!(published.status, 201);
    let shown = published.json();
    let expected = json!({
        "LayerArn": ARN, "LayerVersionArn": format!("{ARN}:1"), "Version": 1,
        "Description": "words", "LicenseInfo": "MIT",
        "CreatedDate": "2026-11-20T23:19:00.123+0000",
        "CompatibleRuntimes": ["python3.11"], "CompatibleArchitectures": ["x86_64"],
    });
    assert_eq!(part(&shown, &expected), expected);
    assert_eq!(shown["Content"]["CodeSize"], zip("one").len());
    assert_eq!(door.publish(L, "two").await["Version"], 2);
    door.publish("/2018-10-31/layers/other/versions", "three")
        .await;

    let got = door.call("GET", &format!("{L}/1"), &Value::Null).await;
    assert_eq!(part(&got.json(), &expected), expected);
    let arn = format!("{LAYERS}?find=LayerVersion&Arn={ARN}:2").replace(':', "%3A");
    let by_arn = door.call("GET", &arn, &Value::Null).await.json();
    assert_eq!(by_arn["Version"], 2);
    let listed = door.call("GET", L, &Value::Null).await.json();
    let versions = listed["LayerVersions"].as_array().unwrap();
    let numbers: Vec<_> = versions.iter().map(|one| &one["Version"]).collect();
    assert_eq!(numbers, [2, 1], "the latest first");
    let page = format!("{L}?MaxItems=1");
    let page = door.call("GET", &page, &Value::Null).await.json();
    let marker = page["NextMarker"].as_str().unwrap();
    let rest = format!("{L}?Marker={marker}");
    let rest = door.call("GET", &rest, &Value::Null).await.json();
    assert_eq!(rest["LayerVersions"][0]["Version"], 1);
    let all = door.call("GET", LAYERS, &Value::Null).await.json();
    assert_eq!(all["Layers"][0]["LatestMatchingVersion"]["Version"], 2);
    assert_eq!(all["Layers"][1]["LayerName"], "other");
    let some = format!("{LAYERS}?CompatibleRuntime=python3.11");
    let some = door.call("GET", &some, &Value::Null).await.json();
    assert_eq!(some["Layers"].as_array().unwrap().len(), 1);
    assert_eq!(some["Layers"][0]["LatestMatchingVersion"]["Version"], 1);

    for _ in 0..2 {
        let deleted = door.call("DELETE", &format!("{L}/2"), &Value::Null).await;
        assert_eq!(deleted.status, 204);
    }
    let gone = door.refusal("GET", &format!("{L}/2"), &Value::Null).await;
    assert!(gone.starts_with("ResourceNotFoundException"), "{gone}");
    let next = door.publish(L, "four").await;
    assert_eq!(next["Version"], 3, "no number is given twice");
}

#[tokio::test]
async fn a_function_names_layers_that_exist_and_keeps_them_when_they_are_deleted() {
    let door = Door::open().await;
    door.publish(L, "one").await;
    let layer = format!("{ARN}:1");
    let mut request = creation("f");
    request["Layers"] = json!([layer]);
    let created = door.call("POST", "/2015-03-31/functions", &request).await;
    let expected = json!([{"Arn": layer, "CodeSize": zip("one").len()}]);
    assert_eq!(created.json()["Layers"], expected);
    door.call("DELETE", &format!("{L}/1"), &Value::Null).await;
    let configuration = "/2015-03-31/functions/f/configuration";
    let described = json!({"Description": "new", "Layers": [layer]});
    let updated = door.call("PUT", configuration, &described).await;
    assert_eq!(updated.status, 200, "{}", updated.json());
    let mut other = creation("g");
    other["Layers"] = json!([layer]);
    let refused = door.refusal("POST", "/2015-03-31/functions", &other).await;
    let absent = format!("InvalidParameterValueException: Layer version {layer} does not exist.");
    assert_eq!(refused, absent);
    let none = door
        .call("PUT", configuration, &json!({"Layers": []}))
        .await;
    assert!(none.json().get("Layers").is_none());
}

#[tokio::test]
async fn layers_that_cannot_be_are_refused() {
    let door = Door::with_function().await;
    let configuration = "/2015-03-31/functions/f/configuration";
    let six: Vec<_> = (0..6).map(|n| format!("{ARN}{n}:1")).collect();
    for (layers, words) in [
        (json!(six), "more than 5 layers"),
        (
            json!([format!("{ARN}:1"), format!("{ARN}:2")]),
            "Two different versions",
        ),
        (
            json!(["arn:aws:lambda:us-east-1:1:layer:l:1"]),
            "its own account",
        ),
        (json!(["l"]), "failed to satisfy constraint"),
    ] {
        let refused = door
            .refusal("PUT", configuration, &json!({"Layers": layers}))
            .await;
        assert!(refused.contains(words), "{refused}");
    }
    for (body, words) in [
        (json!({}), "Value null at 'content'"),
        (
            json!({"Content": {"ZipFile": STANDARD.encode("no zip")}}),
            "InvalidParameterValue",
        ),
        (
            json!({"Content": content("x"), "CompatibleArchitectures": ["vax"]}),
            "[x86_64, arm64]",
        ),
    ] {
        let refused = door.refusal("POST", L, &body).await;
        assert!(refused.contains(words), "{refused}");
    }
}
