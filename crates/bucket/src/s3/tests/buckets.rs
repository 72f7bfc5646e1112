use super::*;
use crate::REGISTRY_BUCKET;

#[tokio::test]
async fn a_bucket_is_made_found_listed_and_removed() {
    let fixture = Fixture::new().await;
    let client = &fixture.client;
    let again = client.create_bucket().bucket(BUCKET).send().await;
    assert_eq!(code(again), "BucketAlreadyOwnedByYou");
    client.create_bucket().bucket("other").send().await.unwrap();
    let listed = client.list_buckets().send().await.unwrap();
    let names: Vec<&str> = listed.buckets().iter().filter_map(|b| b.name()).collect();
    assert_eq!(names, ["data", "other"]);
    let first = client.list_buckets().max_buckets(1).send().await.unwrap();
    let rest = client
        .list_buckets()
        .continuation_token(first.continuation_token().unwrap());
    let rest = rest.send().await.unwrap();
    assert_eq!(rest.buckets()[0].name(), Some("other"));

    fixture.put("a", "1").await;
    let delete = || client.delete_bucket().bucket(BUCKET).send();
    assert_eq!(code(delete().await), "BucketNotEmpty");
    let gone = client.delete_object().bucket(BUCKET).key("a").send();
    gone.await.unwrap();
    delete().await.unwrap();
    let get = client.get_object().bucket(BUCKET).key("a").send().await;
    assert_eq!(code(get), "NoSuchBucket");
}

#[tokio::test]
async fn reserved_buckets_do_not_exist_for_clients() {
    let fixture = Fixture::new().await;
    let client = &fixture.client;
    let registry = crate::BucketName::new(REGISTRY_BUCKET).unwrap();
    assert!(fixture.store.bucket(&registry).is_ok());
    let make = client.create_bucket().bucket("tidemill-mine").send().await;
    assert_eq!(code(make), "InvalidBucketName");
    let put = client.put_object().bucket(REGISTRY_BUCKET).key("a").send();
    assert_eq!(code(put.await), "NoSuchBucket");
    let list = client.list_objects_v2().bucket(REGISTRY_BUCKET).send();
    assert_eq!(code(list.await), "NoSuchBucket");
    let fixture_put = fixture.put("a", "1").await;
    assert!(!fixture_put.is_empty());
    let copy = client
        .copy_object()
        .bucket(BUCKET)
        .key("stolen")
        .copy_source(format!("{REGISTRY_BUCKET}/functions"));
    assert_eq!(code(copy.send().await), "NoSuchBucket");
    let delete = client.delete_bucket().bucket(REGISTRY_BUCKET).send().await;
    assert_eq!(code(delete), "NoSuchBucket");
}

#[tokio::test]
async fn keys_are_listed_in_pages_and_levels() {
    let fixture = Fixture::new().await;
    let client = &fixture.client;
    let keys = ["../x", "a b", "p", "p/", "p/q", "q/1", "ü"];
    for key in keys {
        fixture.put(key, key).await;
    }
    let pages = client.list_objects_v2().bucket(BUCKET).max_keys(2);
    let mut pages = pages.into_paginator().send();
    let mut listed = Vec::new();
    while let Some(page) = pages.next().await {
        let page = page.unwrap();
        assert!(page.contents().len() <= 2);
        listed.extend(page.contents().iter().map(|o| o.key().unwrap().to_owned()));
    }
    assert_eq!(listed, keys);

    let level = client.list_objects_v2().bucket(BUCKET).delimiter("/");
    let level = level.send().await.unwrap();
    let prefixes = level.common_prefixes().iter();
    let prefixes: Vec<_> = prefixes.filter_map(|p| p.prefix()).collect();
    assert_eq!(prefixes, ["../", "p/", "q/"]);
    let list = client.list_objects().bucket(BUCKET).delimiter("/");
    let first = list.max_keys(3).send().await.unwrap();
    assert_eq!(first.next_marker(), Some("p"));
    let encoded = client.list_objects_v2().bucket(BUCKET);
    let encoded = encoded.encoding_type(aws_sdk_s3::types::EncodingType::Url);
    let encoded = encoded.prefix("a").send().await.unwrap();
    assert_eq!(encoded.contents()[0].key(), Some("a%20b"));
    let garbled = client.list_objects_v2().bucket(BUCKET);
    let garbled = garbled.continuation_token("%").send().await;
    assert_eq!(code(garbled), "InvalidArgument");
}
