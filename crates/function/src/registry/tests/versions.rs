//! Published versions and aliases.

use std::num::NonZeroU64;

use super::*;
use crate::{
    AdditionalVersion, Alias, AliasName, Draw, LayerName, NewAlias, NewLayerVersion, NewVersion,
    QualifiedName, Qualifier, Version, Weight,
};

fn numbered(number: u64) -> NonZeroU64 {
    NonZeroU64::new(number).unwrap()
}

fn number(number: u64) -> Version {
    Version::Published(numbered(number))
}

fn target(text: &str, qualifier: &str) -> QualifiedName {
    QualifiedName {
        name: name(text),
        qualifier: Some(qualifier.parse().unwrap()),
    }
}

fn alias(alias: &str, version: u64) -> NewAlias {
    NewAlias {
        function: name("f"),
        name: AliasName::new(alias).unwrap(),
        version: number(version),
        additional: None,
        description: String::new(),
    }
}

fn second(weight: f64) -> AdditionalVersion {
    AdditionalVersion {
        version: number(2),
        weight: Weight::new(weight).unwrap(),
    }
}

/// With code of its own as the next version of `f`.
async fn publish(registry: &Registry, content: &str) -> Version {
    let f = name("f");
    let updated = registry.update_code(&f, None, zip(content)).await;
    updated.unwrap();
    let version = registry.publish_version(&f, NewVersion::default());
    version.await.unwrap().version
}

async fn archives(place: &Place) -> usize {
    use futures::TryStreamExt as _;
    let folder = object_store::path::Path::from("code");
    let listed = place.store.list(Some(&folder));
    listed.try_collect::<Vec<_>>().await.unwrap().len()
}

#[tokio::test]
async fn versions_and_aliases_are_there_again_after_a_restart() {
    let f = name("f");
    let place = Place::new();
    let before = place.open().await;
    before.create_function(new("f"), zip("0")).await.unwrap();
    publish(&before, "1").await;
    publish(&before, "2").await;
    let mut split = alias("live", 1);
    split.additional = Some(second(0.125));
    let live = before.create_alias(split).await.unwrap();
    let versions = before.versions(&f);
    drop(before);
    let after = place.open().await;
    assert_eq!(after.versions(&f), versions);
    assert_eq!(after.alias(&f, &live.name), Some(live));
    assert_eq!(publish(&after, "3").await, number(3));
}

#[tokio::test]
async fn a_document_from_before_there_were_versions_is_the_head() {
    let f = name("f");
    let place = Place::new();
    let before = place.open().await;
    before.create_function(new("f"), zip("1")).await.unwrap();
    drop(before);
    let path = object_store::path::Path::from("functions/000000000000/f.json");
    let bytes = place.store.get(&path).await.unwrap().bytes().await.unwrap();
    let mut document: serde_json::Value = serde_json::from_slice(&bytes).unwrap();
    for added in ["version", "last_version"] {
        document.as_object_mut().unwrap().remove(added).unwrap();
    }
    let bytes = serde_json::to_vec(&document).unwrap();
    place.store.put(&path, bytes.into()).await.unwrap();
    let after = place.open().await;
    let function = after.function(&f).unwrap();
    assert_eq!(
        (function.version, function.last_version),
        (Version::Latest, 0)
    );
    assert_eq!(publish(&after, "2").await, number(1));
}

#[tokio::test]
async fn a_version_is_published_again_only_after_a_change() {
    let f = name("f");
    let place = Place::new();
    let registry = place.open().await;
    registry.create_function(new("f"), zip("1")).await.unwrap();
    let publish = async |description: &str| {
        let new = NewVersion {
            description: Some(description.to_owned()),
            ..NewVersion::default()
        };
        registry.publish_version(&f, new).await.unwrap()
    };
    let first = publish("one").await;
    assert_eq!(first.description, "one");
    assert_eq!(publish("two").await, first);
    // What instances do not depend on is no change, and neither is what was put back.
    let attributes = registry.update_attributes(&f, None, |function| {
        function.reserved_concurrency = Some(7);
        function.tags.insert("a".to_owned(), "b".to_owned());
    });
    attributes.await.unwrap();
    for timeout in [4, 3] {
        let change = |function: &mut Function| function.timeout_seconds = timeout;
        let changed = registry.update_configuration(&f, None, change);
        changed.await.unwrap();
    }
    assert_eq!(publish("three").await, first);
    let change = |function: &mut Function| function.memory_mib = 256;
    let changed = registry.update_configuration(&f, None, change);
    changed.await.unwrap();
    let again = publish("four").await;
    assert_eq!((again.version, again.memory_mib), (number(2), 256));
    assert_eq!(registry.version(&f, number(1)), Some(first));
    assert_eq!((again.reserved_concurrency, again.tags.len()), (None, 0));
}

#[tokio::test]
async fn a_number_is_never_given_twice() {
    let f = name("f");
    let place = Place::new();
    let registry = place.open().await;
    registry.create_function(new("f"), zip("0")).await.unwrap();
    for content in ["1", "2"] {
        publish(&registry, content).await;
    }
    let deleted = registry.delete_version(&f, numbered(2)).await;
    deleted.unwrap();
    drop(registry);
    let registry = place.open().await;
    assert_eq!(publish(&registry, "2").await, number(3));
}

#[tokio::test]
async fn an_archive_stays_while_a_version_names_it() {
    let f = name("f");
    let place = Place::new();
    let registry = place.open().await;
    registry.create_function(new("f"), zip("0")).await.unwrap();
    publish(&registry, "1").await;
    let updated = registry.update_code(&f, None, zip("2")).await;
    updated.unwrap();
    assert_eq!(archives(&place).await, 2);
    let version = registry.version(&f, number(1)).unwrap();
    assert_eq!(registry.archive(&version).await.unwrap(), zip("1"));
    let deleted = registry.delete_version(&f, numbered(1)).await;
    deleted.unwrap();
    assert_eq!(archives(&place).await, 1);

    publish(&registry, "3").await;
    registry.create_alias(alias("live", 2)).await.unwrap();
    registry.delete_function(&f).await.unwrap();
    assert_eq!(archives(&place).await, 0);
    drop(registry);
    let registry = place.open().await;
    registry.create_function(new("f"), zip("0")).await.unwrap();
    assert!(registry.versions(&f).is_empty());
    assert!(registry.aliases(&f).is_empty());
    assert_eq!(publish(&registry, "1").await, number(1), "another function");
}

#[tokio::test]
async fn a_deleted_layer_stays_while_a_version_names_it() {
    let f = name("f");
    let place = Place::new();
    let registry = place.open().await;
    let layer = NewLayerVersion {
        account: "000000000000".to_owned(),
        name: LayerName::new("l").unwrap(),
        description: String::new(),
        license: String::new(),
        compatible_runtimes: Vec::new(),
        compatible_architectures: Vec::new(),
    };
    let layer = registry.publish_layer(layer, zip("layer")).await.unwrap();
    let mut with_layer = new("f");
    with_layer.layers = vec![layer.id.clone()];
    let created = registry.create_function(with_layer, zip("0")).await;
    created.unwrap();
    let first = registry.publish_version(&f, NewVersion::default());
    let first = first.await.unwrap();
    let change = |function: &mut Function| function.layers.clear();
    let without = registry.update_configuration(&f, None, change);
    without.await.unwrap();
    registry.delete_layer_version(&layer.id).await.unwrap();
    drop(registry);
    let registry = place.open().await;
    assert!(registry.opt_dir(&first).await.unwrap().is_some());
    let deleted = registry.delete_version(&f, numbered(1)).await;
    deleted.unwrap();
    assert_eq!(archives(&place).await, 1, "the function's own");
}

#[tokio::test]
async fn a_version_that_an_alias_points_at_stays() {
    let f = name("f");
    let place = Place::new();
    let registry = place.open().await;
    registry.create_function(new("f"), zip("0")).await.unwrap();
    for content in ["1", "2"] {
        publish(&registry, content).await;
    }
    let live = registry.create_alias(alias("live", 1)).await.unwrap();
    let split = |alias: &mut Alias| alias.additional = Some(second(0.0));
    let updated = registry.update_alias(&f, &live.name, Some(live.revision), split);
    let updated = updated.await.unwrap();
    for version in [1, 2] {
        let refused = registry.delete_version(&f, numbered(version)).await;
        assert!(matches!(refused, Err(Error::VersionInUse { .. })));
    }
    let stale = registry.update_alias(&f, &live.name, Some(live.revision), |_| {});
    assert!(matches!(stale.await, Err(Error::RevisionMismatch { .. })));
    let nowhere = |alias: &mut Alias| alias.version = number(9);
    let nowhere = registry.update_alias(&f, &live.name, Some(updated.revision), nowhere);
    assert!(matches!(nowhere.await, Err(Error::UnknownQualifier { .. })));
    let draw = Draw::of("e", 1);
    let found = registry.resolve(&target("f", "live"), draw).unwrap();
    assert_eq!(found.version, number(1));
    let deleted = registry.delete_alias(&f, &live.name).await;
    deleted.unwrap();
    assert_eq!(registry.resolve(&target("f", "live"), draw), None);
}

#[tokio::test]
async fn bucket_triggers_of_an_alias_go_off_and_on_with_it() {
    let f = name("f");
    let place = Place::new();
    let registry = place.open().await;
    registry.create_function(new("f"), zip("0")).await.unwrap();
    publish(&registry, "1").await;
    let live = registry.create_alias(alias("live", 1)).await.unwrap();
    let of_alias = Trigger {
        qualifier: Some(Qualifier::Alias(live.name.clone())),
        ..trigger("f", bucket("c"))
    };
    let missing = Trigger {
        qualifier: Some("none".parse().unwrap()),
        ..trigger("f", bucket("c"))
    };
    let refused = registry.create_trigger(missing).await;
    assert!(matches!(refused, Err(Error::UnknownQualifier { .. })));
    let of_head = trigger("f", bucket("d"));
    let wanted = vec![of_alias.clone(), of_head.clone()];
    let replace = || registry.replace_bucket_triggers("photos", wanted.clone());
    replace().await.unwrap();
    // The same events to another version are another trigger.
    replace().await.unwrap();
    assert_eq!(registry.triggers().len(), 2);
    let on = || {
        let live = registry.trigger(of_alias.id).unwrap().enabled;
        (live, registry.trigger(of_head.id).unwrap().enabled)
    };
    let deleted = registry.delete_alias(&f, &live.name).await;
    deleted.unwrap();
    assert_eq!(on(), (false, true));
    registry.create_alias(alias("live", 1)).await.unwrap();
    assert_eq!(on(), (true, true));
}

#[tokio::test]
async fn another_node_hears_of_versions_and_aliases() {
    let f = name("f");
    let place = Place::new();
    let (here, there) = (place.open().await, place.open().await);
    here.create_function(new("f"), zip("0")).await.unwrap();
    assert!(there.reread().await.unwrap());
    let first = here.publish_version(&f, NewVersion::default());
    let first = first.await.unwrap();
    // Not heard of yet: the function's document has changed meanwhile.
    let late = there.publish_version(&f, NewVersion::default());
    assert!(matches!(late.await, Err(Error::Conflict { .. })));
    let again = there.publish_version(&f, NewVersion::default());
    assert_eq!(again.await.unwrap(), first);
    let live = here.create_alias(alias("live", 1)).await.unwrap();
    assert!(there.reread().await.unwrap());
    assert_eq!(there.alias(&f, &live.name), Some(live.clone()));
    let deleted = here.delete_alias(&f, &live.name).await;
    deleted.unwrap();
    assert!(there.reread().await.unwrap());
    assert_eq!(there.alias(&f, &live.name), None);
}
