use aws_sdk_s3::operation::list_object_versions::ListObjectVersionsOutput;
use aws_sdk_s3::types::{
    BucketVersioningStatus, Delete, MfaDelete, ObjectIdentifier, VersioningConfiguration,
};

use super::*;

impl Fixture {
    async fn versioned() -> Self {
        let fixture = Self::new().await;
        fixture.versioning(BucketVersioningStatus::Enabled).await;
        fixture
    }

    async fn versioning(&self, status: BucketVersioningStatus) {
        let wanted = VersioningConfiguration::builder().status(status).build();
        let put = self.client.put_bucket_versioning().bucket(BUCKET);
        put.versioning_configuration(wanted).send().await.unwrap();
    }

    async fn status(&self) -> Option<BucketVersioningStatus> {
        let get = self.client.get_bucket_versioning().bucket(BUCKET).send();
        get.await.unwrap().status
    }

    async fn put_version(&self, key: &str, bytes: &str) -> Option<String> {
        let put = self.client.put_object().bucket(BUCKET).key(key);
        let put = put.body(ByteStream::from(bytes.as_bytes().to_vec())).send();
        put.await.unwrap().version_id
    }

    async fn versions(&self) -> ListObjectVersionsOutput {
        let list = self.client.list_object_versions().bucket(BUCKET).send();
        list.await.unwrap()
    }
}

#[tokio::test]
async fn versioning_is_switched_on_and_off_and_the_rest_is_refused() {
    let fixture = Fixture::new().await;
    assert_eq!(fixture.status().await, None);
    assert_eq!(fixture.put_version("a", "1").await, None);
    for status in [
        BucketVersioningStatus::Suspended,
        BucketVersioningStatus::Enabled,
    ] {
        fixture.versioning(status.clone()).await;
        assert_eq!(fixture.status().await, Some(status));
    }
    let put = |wanted| {
        let put = fixture.client.put_bucket_versioning().bucket(BUCKET);
        put.versioning_configuration(wanted).send()
    };
    let wanted = VersioningConfiguration::builder();
    let mfa = wanted.clone().mfa_delete(MfaDelete::Enabled);
    let mfa = mfa.status(BucketVersioningStatus::Enabled).build();
    assert_eq!(code(put(mfa).await), "NotImplemented");
    assert_eq!(
        code(put(wanted.build()).await),
        "IllegalVersioningConfigurationException"
    );
}

#[tokio::test]
async fn a_version_is_read_by_its_id_and_a_marker_is_not() {
    let fixture = Fixture::new().await;
    fixture.put("a", "null").await;
    fixture.versioning(BucketVersioningStatus::Enabled).await;
    let client = &fixture.client;
    let first = fixture.put_version("a", "first").await.unwrap();
    let second = fixture.put_version("a", "second").await.unwrap();
    for (id, bytes) in [
        (&first, "first"),
        (&second, "second"),
        (&"null".to_owned(), "null"),
    ] {
        let get = client.get_object().bucket(BUCKET).key("a").version_id(id);
        let got = get.send().await.unwrap();
        assert_eq!(got.version_id(), Some(id.as_str()));
        assert_eq!(got.body.collect().await.unwrap().to_vec(), bytes.as_bytes());
    }
    let head = client.head_object().bucket(BUCKET).key("a").send().await;
    assert_eq!(head.unwrap().version_id, Some(second));
    let attributes = |names: &[&str]| {
        let attributes = client.get_object_attributes().bucket(BUCKET).key("a");
        let names = names.iter().map(|name| (*name).into()).collect();
        let attributes = attributes.set_object_attributes(Some(names));
        attributes.version_id(&first).send()
    };
    let size = attributes(&["ObjectSize", "StorageClass"]).await.unwrap();
    assert_eq!((size.object_size(), size.e_tag()), (Some(5), None));
    assert_eq!(size.version_id(), Some(first.as_str()));
    assert_eq!(code(attributes(&["Colour"]).await), "InvalidArgument");
    assert_eq!(code(attributes(&[""]).await), "InvalidRequest");

    let gone = client.delete_object().bucket(BUCKET).key("a").send().await;
    let gone = gone.unwrap();
    assert_eq!(gone.delete_marker(), Some(true));
    let marker = gone.version_id.unwrap();
    let get = |id: Option<&str>| {
        let get = client.get_object().bucket(BUCKET).key("a");
        get.set_version_id(id.map(str::to_owned)).send()
    };
    for (id, wanted, status) in [
        (None, "NoSuchKey", 404),
        (Some(&marker[..]), "MethodNotAllowed", 405),
        (
            Some("0123456789abcdef0123456789abcdef"),
            "NoSuchVersion",
            404,
        ),
        (Some("garbage"), "InvalidArgument", 400),
    ] {
        let error = get(id).await.unwrap_err();
        let raw = error.raw_response().unwrap();
        assert_eq!(raw.status().as_u16(), status, "{id:?}");
        let deleted = raw.headers().get("x-amz-delete-marker");
        assert_eq!(deleted.is_some(), matches!(status, 405) || id.is_none());
        assert_eq!(error.code(), Some(wanted), "{id:?}");
    }
    let copy = client.copy_object().bucket(BUCKET).key("b");
    let copy = copy.copy_source(format!("{BUCKET}/a?versionId={marker}"));
    assert_eq!(code(copy.send().await), "InvalidRequest");
    let copy = client.copy_object().bucket(BUCKET).key("a");
    let copy = copy.copy_source(format!("{BUCKET}/a?versionId={first}"));
    let copied = copy.send().await.unwrap();
    assert_eq!(copied.copy_source_version_id(), Some(first.as_str()));
    assert!(copied.version_id().is_some_and(|id| id != first));
    assert_eq!(fixture.get("a").await, b"first");
}

#[tokio::test]
async fn versions_are_deleted_one_by_one_and_many_at_once() {
    let fixture = Fixture::versioned().await;
    let client = &fixture.client;
    let mut ids = Vec::new();
    for bytes in ["1", "2", "3"] {
        ids.push(fixture.put_version("a", bytes).await.unwrap());
    }
    let identifier = |key: &str, id: Option<&str>| {
        let identifier = ObjectIdentifier::builder().key(key);
        identifier
            .set_version_id(id.map(str::to_owned))
            .build()
            .unwrap()
    };
    let delete_all = |objects: Vec<ObjectIdentifier>| {
        let delete = Delete::builder()
            .set_objects(Some(objects))
            .build()
            .unwrap();
        client.delete_objects().bucket(BUCKET).delete(delete).send()
    };
    let deleted = delete_all(vec![
        identifier("a", None),
        identifier("a", Some(&ids[0])),
        identifier("a", Some("garbage")),
        identifier("a", Some("0123456789abcdef0123456789abcdef")),
    ]);
    let deleted = deleted.await.unwrap();
    assert_eq!(deleted.errors().len(), 1);
    assert_eq!(deleted.errors()[0].code(), Some("InvalidArgument"));
    assert_eq!(deleted.errors()[0].version_id(), Some("garbage"));
    let [marked, removed, nothing] = deleted.deleted() else {
        panic!("{deleted:?}");
    };
    assert_eq!(marked.delete_marker(), Some(true));
    let marker = marked.delete_marker_version_id().unwrap();
    assert_eq!(marked.version_id(), None);
    assert_eq!(removed.version_id(), Some(ids[0].as_str()));
    assert_eq!(removed.delete_marker(), None);
    assert!(nothing.version_id().is_some());

    let one = client.delete_object().bucket(BUCKET).key("a");
    let one = one.version_id(marker).send().await.unwrap();
    assert_eq!(one.delete_marker(), Some(true));
    assert_eq!(one.version_id(), Some(marker));
    assert_eq!(fixture.get("a").await, b"3");
    let one = client.delete_object().bucket(BUCKET).key("a");
    let one = one.version_id(&ids[2]).send().await.unwrap();
    assert_eq!(one.delete_marker(), None);
    assert_eq!(one.version_id(), Some(ids[2].as_str()));
    assert_eq!(fixture.get("a").await, b"2");

    let bucket = client.delete_bucket().bucket(BUCKET);
    assert_eq!(code(bucket.send().await), "BucketNotEmpty");
    let deleted = delete_all(vec![identifier("a", Some(&ids[1]))]);
    deleted.await.unwrap();
    let versions = fixture.versions().await;
    assert!(versions.versions().is_empty() && versions.delete_markers().is_empty());
    client.delete_bucket().bucket(BUCKET).send().await.unwrap();
}

#[tokio::test]
async fn versions_are_listed_by_key_from_the_newest_of_each_in_pages() {
    let fixture = Fixture::versioned().await;
    let client = &fixture.client;
    for key in ["a b", "d/1", "d/2", "e"] {
        for bytes in ["1", "2"] {
            fixture.put_version(key, bytes).await;
        }
    }
    let gone = client.delete_object().bucket(BUCKET).key("e");
    gone.send().await.unwrap();
    let all = fixture.versions().await;
    assert_eq!(all.versions().len(), 8);
    let latest: Vec<_> = all.versions().iter().map(|it| it.is_latest()).collect();
    let (new, old) = (Some(true), Some(false));
    assert_eq!(latest, [new, old, new, old, new, old, old, old]);
    assert_eq!(all.delete_markers()[0].is_latest(), Some(true));

    let mut pages = client
        .list_object_versions()
        .bucket(BUCKET)
        .delimiter("/")
        .encoding_type(aws_sdk_s3::types::EncodingType::Url)
        .max_keys(1);
    let (mut seen, mut prefixes) = (Vec::new(), Vec::new());
    loop {
        let page = pages.clone().send().await.unwrap();
        let versions = page.versions().iter();
        seen.extend(versions.map(|it| (it.key().unwrap().to_owned(), it.is_latest())));
        let markers = page.delete_markers().iter();
        seen.extend(markers.map(|it| (it.key().unwrap().to_owned(), it.is_latest())));
        let common = page.common_prefixes().iter();
        prefixes.extend(common.map(|it| it.prefix().unwrap().to_owned()));
        if page.is_truncated() != Some(true) {
            break;
        }
        let next = page.next_key_marker().unwrap().replace("%20", " ");
        pages = pages
            .key_marker(next)
            .set_version_id_marker(page.next_version_id_marker().map(str::to_owned));
    }
    let entry = |key: &str, latest| (key.to_owned(), latest);
    assert_eq!(
        seen,
        [
            entry("a%20b", new),
            entry("a%20b", old),
            entry("e", new),
            entry("e", old),
            entry("e", old),
        ]
    );
    assert_eq!(prefixes, ["d/"]);
    let objects = client
        .list_objects_v2()
        .bucket(BUCKET)
        .send()
        .await
        .unwrap();
    let keys: Vec<_> = objects
        .contents()
        .iter()
        .filter_map(|it| it.key())
        .collect();
    assert_eq!(keys, ["a b", "d/1", "d/2"]);
    let alone = client.list_object_versions().bucket(BUCKET);
    let alone = alone.version_id_marker("null").send().await;
    assert_eq!(code(alone), "InvalidArgument");
}
