//! Somebody else's files through the door.

use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::ops::Bound;

use aws_sdk_s3::types::{CompletedMultipartUpload, Delete, ObjectIdentifier};

use super::*;
use crate::{BucketInfo, ConnectedBucket, ConnectedFile, ETag, ObjectKey, Walk};

/// While there are files: one bucket, `files`, whose objects they are, and a second that has our bucket's
/// name.
#[derive(Clone, Default)]
pub(super) struct Files(Arc<Mutex<BTreeMap<String, std::path::PathBuf>>>);

impl ConnectedBuckets for Files {
    fn all(&self) -> Vec<BucketInfo> {
        let names: &[&str] = match self.0.lock().is_empty() {
            true => &[],
            false => &[BUCKET, "files"],
        };
        let info = |name: &&str| BucketInfo {
            name: BucketName::new(name).unwrap(),
            created: clock::Timestamp::from_millis(7_000),
        };
        names.iter().map(info).collect()
    }

    fn get(&self, bucket: &BucketName) -> Option<Arc<dyn ConnectedBucket>> {
        let known = self.all().iter().any(|it| it.name == *bucket);
        known.then(|| Arc::new(self.clone()) as Arc<dyn ConnectedBucket>)
    }
}

impl ConnectedBucket for Files {
    fn description(&self) -> String {
        "a folder of the test".to_owned()
    }

    fn state(&self, file: &File) -> io::Result<ConnectedFile> {
        let size = file.metadata()?.len();
        Ok(ConnectedFile {
            etag: ETag::new(format!("size.{size}")),
            size,
            modified: clock::Timestamp::from_millis(1_700_000_000_000),
        })
    }

    fn open(&self, key: &ObjectKey) -> io::Result<Option<File>> {
        match key.as_str() {
            "unreadable" => Err(io::ErrorKind::PermissionDenied.into()),
            key => self.0.lock().get(key).map(File::open).transpose(),
        }
    }

    fn walk(&self) -> io::Result<Box<dyn Walk>> {
        Ok(Box::new(self.clone()))
    }
}

impl Walk for Files {
    fn next(&mut self, from: Bound<&str>) -> io::Result<Option<(String, ConnectedFile)>> {
        let files = self.0.lock();
        let next = files.range::<str, _>((from, Bound::Unbounded)).next();
        let next = next.map(|(key, path)| Ok((key.clone(), self.state(&File::open(path)?)?)));
        next.transpose()
    }
}

impl Fixture {
    fn file(&self, key: &str, bytes: &[u8]) -> std::path::PathBuf {
        let path = self
            .folder
            .path()
            .join(format!("file-{}", key.replace('/', "-")));
        std::fs::write(&path, bytes).unwrap();
        let files = self.files.0.lock().insert(key.to_owned(), path.clone());
        drop(files);
        path
    }
}

#[tokio::test]
async fn files_are_read_as_objects_are() {
    let fixture = Fixture::new().await;
    let client = &fixture.client;
    fixture.file("in/a b", b"0123456789");
    let get = || client.get_object().bucket("files").key("in/a b");
    let whole = get().send().await.unwrap();
    assert_eq!(whole.e_tag(), Some("\"size.10\""));
    assert_eq!(whole.last_modified().unwrap().secs(), 1_700_000_000);
    assert_eq!(whole.body.collect().await.unwrap().to_vec(), b"0123456789");
    let some = get().range("bytes=2-4").send().await.unwrap();
    assert_eq!(some.content_range(), Some("bytes 2-4/10"));
    assert_eq!(some.body.collect().await.unwrap().to_vec(), b"234");
    assert_eq!(code(get().range("bytes=10-").send().await), "InvalidRange");
    assert!(get().if_match("\"size.10\"").send().await.is_ok());
    let changed = get().if_match("\"size.9\"").send().await;
    assert_eq!(code(changed), "PreconditionFailed");
    let known = get().if_none_match("\"size.10\"").send().await;
    assert_eq!(
        known.unwrap_err().raw_response().unwrap().status().as_u16(),
        304
    );
    let head = client.head_object().bucket("files").key("in/a b");
    assert_eq!(head.send().await.unwrap().content_length(), Some(10));
    let none = client.get_object().bucket("files").key("in/b").send().await;
    assert_eq!(code(none), "NoSuchKey");
    let closed = client.get_object().bucket("files").key("unreadable");
    assert_eq!(code(closed.send().await), "AccessDenied");
    let tags = client.get_object_tagging().bucket("files").key("in/a b");
    assert!(tags.send().await.unwrap().tag_set().is_empty());
}

#[tokio::test]
async fn a_tag_is_taken_without_quotes_as_its_event_has_it_and_only_of_who_may_read() {
    let fixture = Fixture::new().await;
    fixture.file("in/a b", b"0123456789");
    let get = |client: &Client| client.get_object().bucket("files").key("in/a b");
    let client = &fixture.client;
    let found = get(client)
        .if_match("size.10")
        .range("bytes=2-4")
        .send()
        .await;
    assert_eq!(
        found.unwrap().body.collect().await.unwrap().to_vec(),
        b"234"
    );
    let changed = get(client).if_match("size.9").send().await;
    assert_eq!(code(changed), "PreconditionFailed");
    let known = get(client).if_none_match("size.10").send().await;
    let known = known.unwrap_err();
    assert_eq!(known.raw_response().unwrap().status().as_u16(), 304);
    let head = client.head_object().bucket("files").key("in/a b");
    assert!(head.if_match("size.10").send().await.is_ok());
    let copy = || {
        client
            .copy_object()
            .bucket(BUCKET)
            .key("copy")
            .copy_source("files/in/a%20b")
    };
    assert!(copy().copy_source_if_match("size.10").send().await.is_ok());
    let copied = copy().copy_source_if_match("size.9").send().await;
    assert_eq!(code(copied), "PreconditionFailed");
    // Objects' own tags are taken so, too.
    let own = client.get_object().bucket(BUCKET).key("copy");
    assert!(
        own.if_match("781e5e245d69b566979b86e28d23f2c7")
            .send()
            .await
            .is_ok()
    );
    // Signatures and policies are held against it all the same.
    let stranger = super::client(fixture.address, "key", "another secret");
    let refused = get(&stranger).if_match("size.10").send().await;
    assert_eq!(code(refused), "SignatureDoesNotMatch");
}

#[tokio::test]
async fn files_are_listed_in_pages_and_levels() {
    let fixture = Fixture::new().await;
    let client = &fixture.client;
    for key in ["a", "p/1", "p/2", "q"] {
        fixture.file(key, key.as_bytes());
    }
    let pages = client.list_objects_v2().bucket("files").delimiter("/");
    let mut pages = pages.max_keys(1).into_paginator().send();
    let (mut keys, mut prefixes) = (Vec::new(), Vec::new());
    while let Some(page) = pages.next().await {
        let page = page.unwrap();
        keys.extend(
            page.contents()
                .iter()
                .map(|it| it.key().unwrap().to_owned()),
        );
        let found = page.common_prefixes().iter();
        prefixes.extend(found.map(|it| it.prefix().unwrap().to_owned()));
    }
    assert_eq!(
        (keys, prefixes),
        (vec!["a".to_owned(), "q".to_owned()], vec!["p/".to_owned()])
    );
    let listed = client.list_objects_v2().bucket("files").prefix("p/");
    let listed = listed.send().await.unwrap();
    assert_eq!(listed.contents()[1].e_tag(), Some("\"size.3\""));
    let buckets = client.list_buckets().send().await.unwrap();
    let names: Vec<_> = buckets
        .buckets()
        .iter()
        .filter_map(|it| it.name())
        .collect();
    assert_eq!(names, [BUCKET, "files"]);
    assert!(client.head_bucket().bucket("files").send().await.is_ok());
    // Ours comes first where both have the name.
    let ours = client
        .list_objects_v2()
        .bucket(BUCKET)
        .send()
        .await
        .unwrap();
    assert!(ours.contents().is_empty());
}

#[tokio::test]
async fn whatever_would_change_files_is_refused_and_says_why() {
    let fixture = Fixture::new().await;
    let client = &fixture.client;
    let path = fixture.file("a", b"as it was");
    let put = client.put_object().bucket("files").key("a").send().await;
    let error = put.unwrap_err();
    assert_eq!(error.code(), Some("AccessDenied"));
    assert!(error.message().unwrap().contains("a folder of the test"));
    let delete = client.delete_object().bucket("files").key("a").send().await;
    assert_eq!(code(delete), "AccessDenied");
    let one = ObjectIdentifier::builder().key("a").build().unwrap();
    let both = Delete::builder().objects(one).build().unwrap();
    let delete = client.delete_objects().bucket("files").delete(both);
    assert_eq!(code(delete.send().await), "AccessDenied");
    let copy = client.copy_object().bucket("files").key("b");
    assert_eq!(
        code(copy.copy_source("files/a").send().await),
        "AccessDenied"
    );
    let upload = client.create_multipart_upload().bucket("files").key("a");
    assert_eq!(code(upload.send().await), "AccessDenied");
    let bucket = client.delete_bucket().bucket("files").send().await;
    assert_eq!(code(bucket), "AccessDenied");
    assert_eq!(std::fs::read(path).unwrap(), b"as it was");
}

#[tokio::test]
async fn a_file_is_copied_into_a_bucket_of_ours() {
    let fixture = Fixture::new().await;
    let client = &fixture.client;
    let bytes: Vec<u8> = (0..200_000_u32).map(|n| n as u8).collect();
    fixture.file("large", &bytes);
    let copy = client.copy_object().bucket(BUCKET).key("copy");
    copy.copy_source("files/large").send().await.unwrap();
    assert_eq!(fixture.get("copy").await, bytes);

    let upload = client.create_multipart_upload().bucket(BUCKET).key("part");
    let id = upload.send().await.unwrap().upload_id.unwrap();
    let part = client.upload_part_copy().bucket(BUCKET).key("part");
    let part = part
        .upload_id(&id)
        .part_number(1)
        .copy_source("files/large");
    let part = part.copy_source_range("bytes=0-9").send().await.unwrap();
    let part = aws_sdk_s3::types::CompletedPart::builder()
        .part_number(1)
        .e_tag(part.copy_part_result.unwrap().e_tag.unwrap())
        .build();
    let all = CompletedMultipartUpload::builder().parts(part).build();
    let complete = client.complete_multipart_upload().bucket(BUCKET);
    let complete = complete.key("part").upload_id(id).multipart_upload(all);
    complete.send().await.unwrap();
    assert_eq!(fixture.get("part").await, bytes[..10]);
}

#[tokio::test]
async fn a_file_that_changes_while_it_is_read_is_not_taken_for_whole() {
    let fixture = Fixture::new().await;
    let path = fixture.file("a", &vec![0; 8 << 20]);
    let get = fixture.client.get_object().bucket("files").key("a");
    let mut body = get.send().await.unwrap().body;
    body.next().await.unwrap().unwrap();
    std::fs::write(&path, vec![1; (8 << 20) + 1]).unwrap();
    assert!(body.collect().await.is_err());
}
