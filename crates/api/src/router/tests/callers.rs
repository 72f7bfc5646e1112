//! What roles may do that have a policy.

use access::{AccessKey, Keyring, Policy, RoleName, Roles};
use bytes::Bytes;
use http::Request;
use serde_json::{Value, json};

use super::door::{Answer, Door, KEY, ROLE, creation};
use crate::sigv4::Signer;

/// What the role `deployer` may do, who hands on the role `r` and no other, and reads one archive.
const DEPLOYER: &str = r#"{"Version": "2012-10-17", "Statement": [
    {"Effect": "Allow",
     "Action": ["lambda:CreateFunction", "lambda:UpdateFunction*", "lambda:GetFunction*"],
     "Resource": "arn:aws:lambda:us-east-1:000000000000:function:*"},
    {"Effect": "Deny", "Action": "lambda:*",
     "Resource": "arn:aws:lambda:us-east-1:000000000000:function:billing*"},
    {"Effect": "Allow", "Action": "iam:PassRole", "Resource": "arn:aws:iam::000000000000:role/r"},
    {"Effect": "Allow", "Action": "s3:GetObject", "Resource": "arn:aws:s3:::packages/f.zip"}]}"#;

pub(super) fn keyring() -> Keyring {
    let deployer = (RoleName::new("deployer"), Policy::parse(DEPLOYER).unwrap());
    let roles = Roles::new([deployer], Policy::ordinary());
    Keyring::new("000000000000", AccessKey::new(KEY.0, KEY.1), roles)
}

impl Door {
    async fn call_as(&self, role: &str, method: &str, path: &str, body: &Value) -> Answer {
        let body: Bytes = match body {
            Value::Null => Bytes::new(),
            body => body.to_string().into(),
        };
        let uri = format!("http://127.0.0.1:4566{path}");
        let request = Request::builder().method(method).uri(uri);
        let mut request = request.body(body.clone().into()).unwrap();
        let key = keyring().of_role(&RoleName::new(role));
        let signer = Signer {
            access_key_id: &key.id,
            secret_access_key: &key.secret,
            region: "us-east-1",
            service: "lambda",
        };
        signer.sign(&mut request, &body, self.state.clock.now());
        self.send_as_it_is(request).await
    }
}

#[tokio::test]
async fn a_role_without_a_policy_invokes_and_changes_nothing() {
    let door = Door::with_function().await;
    let invoked = door
        .call_as(
            "r",
            "POST",
            "/2015-03-31/functions/f/invocations",
            &json!(1),
        )
        .await;
    assert_eq!(invoked.status, 200);
    for (method, path) in [
        ("GET", "/2015-03-31/functions/f"),
        ("GET", "/2015-03-31/functions"),
        ("POST", "/2015-03-31/functions"),
        ("DELETE", "/2015-03-31/functions/f"),
        ("PUT", "/2015-03-31/functions/f/code"),
        ("PUT", "/2015-03-31/functions/f/configuration"),
        ("POST", "/2015-03-31/functions/f/policy"),
        ("POST", "/2015-03-31/event-source-mappings"),
        ("GET", "/2018-10-31/layers/l/versions/1"),
    ] {
        let answer = door.call_as("r", method, path, &creation("g")).await;
        assert_eq!(answer.status, 403, "{method} {path}");
        let told = answer.refusal();
        assert!(
            told.starts_with(
                "AccessDeniedException: User: arn:aws:sts::000000000000:assumed-role/r is not \
                 authorized to perform: lambda:"
            ),
            "{told}"
        );
    }
    let kept = door
        .call("GET", "/2015-03-31/functions/f", &Value::Null)
        .await;
    assert_eq!(kept.status, 200);
}

#[tokio::test]
async fn a_policy_is_applied_to_the_function_its_role_and_its_code() {
    let door = Door::open().await;
    let create = async |body: Value| {
        let path = "/2015-03-31/functions";
        door.call_as("deployer", "POST", path, &body).await
    };
    assert_eq!(create(creation("f")).await.status, 201);
    let named = "arn:aws:lambda:us-east-1:000000000000:function:billing-run";
    for name in ["billing-run", named] {
        let told = create(creation(name)).await.refusal();
        assert!(told.contains("explicit deny"), "{told}");
    }
    let mut other = creation("g");
    other["Role"] = json!("arn:aws:iam::000000000000:role/admin");
    let told = create(other.clone()).await.refusal();
    assert!(
        told.contains("iam:PassRole on resource: arn:aws:iam::000000000000:role/admin"),
        "{told}"
    );
    other.as_object_mut().unwrap().remove("Code");
    let path = "/2015-03-31/functions/f/configuration";
    let told = door
        .call_as("deployer", "PUT", path, &json!({"Role": other["Role"]}))
        .await;
    assert_eq!(told.status, 403);
    let kept = door.call_as("deployer", "GET", path, &Value::Null).await;
    assert_eq!(kept.json()["Role"], json!(ROLE));
    let path = "/2015-03-31/functions/f/code";
    let from = |key: &str| json!({"S3Bucket": "packages", "S3Key": key});
    let updated = door.call_as("deployer", "PUT", path, &from("f.zip")).await;
    assert_eq!(updated.status, 200);
    let told = door
        .call_as("deployer", "PUT", path, &from("secret.zip"))
        .await;
    assert!(
        told.refusal()
            .contains("s3:GetObject on resource: arn:aws:s3:::packages/secret.zip")
    );
}

#[tokio::test]
async fn a_made_up_key_of_a_role_is_refused() {
    let door = Door::with_function().await;
    let mut request = Request::builder()
        .uri("http://127.0.0.1:4566/2015-03-31/functions/f")
        .body(axum::body::Body::empty())
        .unwrap();
    let key = keyring().of_role(&RoleName::new("deployer"));
    let signer = Signer {
        access_key_id: &key.id,
        secret_access_key: KEY.1,
        region: "us-east-1",
        service: "lambda",
    };
    signer.sign(&mut request, b"", door.state.clock.now());
    let answer = door.send_as_it_is(request).await;
    assert!(answer.refusal().starts_with("InvalidSignatureException"));
}
