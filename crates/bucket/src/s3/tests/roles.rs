//! What roles may do that have a policy.

use access::{AccessKey, Policy, RoleName, Roles};
use aws_sdk_s3::types::{Delete, ObjectIdentifier};

use super::*;

/// Reads `in/`, writes `out/` and deletes of it what is not kept.
const WORKER: &str = r#"{"Statement": [
    {"Effect": "Allow", "Action": ["s3:GetObject", "s3:GetObjectTagging"],
     "Resource": "arn:aws:s3:::data/in/*"},
    {"Effect": "Allow", "Action": ["s3:PutObject", "s3:DeleteObject"],
     "Resource": "arn:aws:s3:::data/out/*"},
    {"Effect": "Allow", "Action": "s3:ListBucket", "Resource": "arn:aws:s3:::data"},
    {"Effect": "Deny", "Action": "s3:Delete*", "Resource": "arn:aws:s3:::data/out/kept/*"}]}"#;

/// The key `key` with the secret `secret`, and the roles.
pub(super) fn keyring() -> Keyring {
    let worker = (RoleName::new("worker"), Policy::parse(WORKER).unwrap());
    let roles = Roles::new([worker], Policy::ordinary());
    Keyring::new("000000000000", AccessKey::new("key", "secret"), roles)
}

impl Fixture {
    fn client_of(&self, role: &str) -> Client {
        let key = keyring().of_role(&RoleName::new(role));
        client(self.address, &key.id, &key.secret)
    }
}

/// The error of a call that is refused.
macro_rules! refused {
    ($call:expr) => {{
        let error = $call.send().await.unwrap_err();
        let message = error.message().unwrap_or_default();
        format!("{}: {message}", error.code().unwrap_or_default())
    }};
}

#[tokio::test]
async fn a_role_does_with_objects_what_its_policy_says_and_nothing_else() {
    let fixture = Fixture::new().await;
    for key in ["in/a", "secret/a", "out/kept/a"] {
        fixture.put(key, "content").await;
    }
    let worker = fixture.client_of("worker");
    let get = |key: &str| worker.get_object().bucket(BUCKET).key(key);
    let put = |key: &str| worker.put_object().bucket(BUCKET).key(key);
    let delete = |key: &str| worker.delete_object().bucket(BUCKET).key(key);
    get("in/a").send().await.unwrap();
    put("out/b")
        .body(ByteStream::from_static(b"b"))
        .send()
        .await
        .unwrap();
    delete("out/b").send().await.unwrap();
    assert_eq!(
        refused!(get("secret/a")),
        "AccessDenied: User: arn:aws:sts::000000000000:assumed-role/worker is not authorized to \
         perform: s3:GetObject on resource: arn:aws:s3:::data/secret/a because no identity-based \
         policy allows the s3:GetObject action"
    );
    assert!(refused!(get("out/kept/a")).contains("s3:GetObject"));
    // A tag without quotes, as no object has it here, takes another way to the same judge.
    assert!(refused!(get("secret/a").if_match("a.b")).contains("s3:GetObject on"));
    assert!(refused!(get("in/a").if_match("a.b")).contains("PreconditionFailed"));
    assert!(refused!(get("in/a").version_id("null")).contains("s3:GetObjectVersion"));
    assert!(refused!(put("in/a")).contains("s3:PutObject "));
    assert!(refused!(put("out/b").tagging("a=b")).contains("s3:PutObjectTagging"));
    assert!(refused!(delete("out/kept/a")).contains("explicit deny"));
    let copy = worker.copy_object().bucket(BUCKET).key("out/c");
    copy.clone().copy_source("data/in/a").send().await.unwrap();
    let told = refused!(copy.copy_source("data/secret/a"));
    assert!(
        told.contains("s3:GetObject on resource: arn:aws:s3:::data/secret/a"),
        "{told}"
    );
    assert_eq!(fixture.get("in/a").await, b"content");
}

#[tokio::test]
async fn of_many_deletions_those_that_are_not_allowed_are_refused_by_their_keys() {
    let fixture = Fixture::new().await;
    for key in ["in/a", "out/a", "out/kept/a"] {
        fixture.put(key, "content").await;
    }
    let named = |key: &str| ObjectIdentifier::builder().key(key).build().unwrap();
    let all = ["in/a", "out/a", "out/kept/a"].map(named);
    let all = Delete::builder()
        .set_objects(Some(all.into()))
        .build()
        .unwrap();
    let worker = fixture.client_of("worker");
    let answer = worker
        .delete_objects()
        .bucket(BUCKET)
        .delete(all)
        .send()
        .await
        .unwrap();
    let deleted: Vec<_> = answer.deleted().iter().filter_map(|it| it.key()).collect();
    assert_eq!(deleted, ["out/a"]);
    let errors: Vec<_> = answer
        .errors()
        .iter()
        .map(|it| (it.key(), it.code()))
        .collect();
    let denied = Some("AccessDenied");
    assert_eq!(
        errors,
        [(Some("in/a"), denied), (Some("out/kept/a"), denied)]
    );
    assert_eq!(fixture.get("in/a").await, b"content");
}

#[tokio::test]
async fn a_role_without_a_policy_has_objects_and_not_buckets() {
    let fixture = Fixture::new().await;
    let client = fixture.client_of("any");
    let put = client.put_object().bucket(BUCKET).key("a");
    put.body(ByteStream::from_static(b"a"))
        .send()
        .await
        .unwrap();
    client
        .list_objects_v2()
        .bucket(BUCKET)
        .send()
        .await
        .unwrap();
    client.list_buckets().send().await.unwrap();
    for told in [
        refused!(client.create_bucket().bucket("other")),
        refused!(client.delete_bucket().bucket(BUCKET)),
        refused!(
            client
                .get_bucket_notification_configuration()
                .bucket(BUCKET)
        ),
        refused!(client.delete_bucket_lifecycle().bucket(BUCKET)),
        refused!(client.get_bucket_versioning().bucket(BUCKET)),
    ] {
        assert!(told.starts_with("AccessDenied: User: "), "{told}");
    }
}

#[tokio::test]
async fn a_key_that_a_role_made_up_is_refused() {
    let fixture = Fixture::new().await;
    let key = keyring().of_role(&RoleName::new("worker"));
    let forged = client(fixture.address, &key.id, "secret");
    let told = refused!(forged.get_object().bucket(BUCKET).key("in/a"));
    assert!(told.starts_with("SignatureDoesNotMatch"), "{told}");
}
