//! The conformance tests that `object_store` ships for implementations, and what they leave out.

use std::num::NonZeroU32;

use clock::SystemClock;
use event_log::MemoryLog;
use object_store::{Attribute, Attributes, ObjectStoreExt, UpdateVersion, integration};
use tempfile::TempDir;

use super::*;
use crate::{Config, REGISTRY_BUCKET};

async fn registry() -> (BucketObjectStore, TempDir) {
    let folder = tempfile::tempdir().unwrap();
    let config = Config {
        folder: folder.path().to_owned(),
        region: "us-east-1".to_owned(),
        account: "000000000000".to_owned(),
        partitions: NonZeroU32::MIN,
    };
    let store = BucketStore::open(config, MemoryLog::new(), Arc::new(SystemClock::new()))
        .await
        .unwrap();
    let bucket = BucketName::new(REGISTRY_BUCKET).unwrap();
    (BucketObjectStore::new(store, bucket), folder)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_suite_for_implementations_passes() {
    let (store, _folder) = registry().await;
    integration::put_get_delete_list(&store).await;
    integration::get_opts(&store).await;
    integration::put_opts(&store, true).await;
    integration::put_get_attributes(&store).await;
    integration::list_uses_directories_correctly(&store).await;
    integration::list_with_delimiter(&store).await;
    integration::list_with_offset_exclusivity(&store).await;
    integration::rename_and_copy(&store).await;
    integration::copy_if_not_exists(&store).await;
    integration::copy_rename_nonexistent_object(&store).await;
    integration::stream_get(&store).await;
    integration::multipart_out_of_order(&store).await;
    integration::multipart_race_condition(&store, true).await;
}

#[tokio::test]
async fn a_document_is_created_once_and_updated_only_from_what_was_read() {
    let (store, _folder) = registry().await;
    let path = Path::from("functions/a.json");
    let first = store
        .put_opts(&path, "1".into(), PutMode::Create.into())
        .await
        .unwrap();
    assert!(matches!(
        store
            .put_opts(&path, "2".into(), PutMode::Create.into())
            .await,
        Err(object_store::Error::AlreadyExists { .. })
    ));
    let from_first = || PutMode::Update(UpdateVersion::from(first.clone()));
    store
        .put_opts(&path, "2".into(), from_first().into())
        .await
        .unwrap();
    assert!(matches!(
        store.put_opts(&path, "3".into(), from_first().into()).await,
        Err(object_store::Error::Precondition { .. })
    ));
    let absent = Path::from("functions/b.json");
    assert!(matches!(
        store
            .put_opts(&absent, "1".into(), from_first().into())
            .await,
        Err(object_store::Error::Precondition { .. })
    ));
    let read = store.get(&path).await.unwrap().bytes().await.unwrap();
    assert_eq!(read, "2");
}

#[tokio::test]
async fn what_buckets_do_not_keep_is_refused() {
    let (store, _folder) = registry().await;
    let path = Path::from("a");
    let options = PutOptions {
        attributes: Attributes::from_iter([(Attribute::StorageClass, "GLACIER")]),
        ..Default::default()
    };
    assert!(matches!(
        store.put_opts(&path, "1".into(), options).await,
        Err(object_store::Error::NotSupported { .. })
    ));
    assert!(matches!(
        store.get(&path).await,
        Err(object_store::Error::NotFound { .. })
    ));
}

#[tokio::test]
async fn a_listing_goes_over_many_pages() {
    let (store, _folder) = registry().await;
    for n in 0..2_050 {
        let path = Path::from(format!("many/{n:05}"));
        store.put(&path, "x".into()).await.unwrap();
    }
    let listed: Vec<ObjectMeta> = store
        .list(Some(&Path::from("many")))
        .try_collect()
        .await
        .unwrap();
    assert_eq!(listed.len(), 2_050);
    assert!(listed.is_sorted_by(|a, b| a.location < b.location));
}
