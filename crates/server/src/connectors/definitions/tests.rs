use object_store::memory::InMemory;

use super::*;

fn definition(name: &str) -> Definition {
    let settings = serde_json::json!({"name": name, "kind": "postgres",
        "url": "postgres://ada@db/shop", "tables": ["orders"]});
    serde_json::from_value(settings).unwrap()
}

fn standing(definitions: &Definitions, name: &str) -> Standing {
    definitions.get(&name.parse().unwrap()).unwrap().standing
}

#[tokio::test]
async fn what_was_added_and_paused_is_there_after_a_restart() {
    let store: Arc<dyn ObjectStore> = Arc::new(InMemory::new());
    let declared = || vec![definition("declared")];
    let before = Definitions::open(store.clone(), declared()).await.unwrap();
    before.add(definition("added")).await.unwrap();
    for name in ["added", "declared"] {
        let name = name.parse().unwrap();
        before.set_standing(&name, Standing::Paused).await.unwrap();
    }
    let after = Definitions::open(store, declared()).await.unwrap();
    assert_eq!(after.all(), before.all());
    assert_eq!(standing(&after, "added"), Standing::Paused);
    assert_eq!(standing(&after, "declared"), Standing::Paused);
}

#[tokio::test]
async fn a_name_that_is_declared_no_more_can_be_added() {
    let store: Arc<dyn ObjectStore> = Arc::new(InMemory::new());
    let before = Definitions::open(store.clone(), vec![definition("shop")]);
    let name = "shop".parse().unwrap();
    let paused = before.await.unwrap();
    paused.set_standing(&name, Standing::Paused).await.unwrap();
    let after = Definitions::open(store, vec![]).await.unwrap();
    assert_eq!(after.all(), []);
    after.add(definition("shop")).await.unwrap();
    assert_eq!(standing(&after, "shop"), Standing::Running);
}

#[tokio::test]
async fn a_node_hears_of_what_another_one_did_and_overwrites_nothing_unseen() {
    let store: Arc<dyn ObjectStore> = Arc::new(InMemory::new());
    let one = Definitions::open(store.clone(), vec![]).await.unwrap();
    let other = Definitions::open(store, vec![]).await.unwrap();
    one.add(definition("shop")).await.unwrap();
    let added = other.add(definition("shop")).await;
    assert!(
        matches!(added, Err(DefinitionError::Exists { .. })),
        "{added:?}"
    );
    other.reread().await.unwrap();
    assert_eq!(one.all(), other.all());
    let name = "shop".parse().unwrap();
    one.set_standing(&name, Standing::Paused).await.unwrap();
    let stale = other.set_standing(&name, Standing::Running).await;
    assert!(
        matches!(stale, Err(DefinitionError::Conflict { .. })),
        "{stale:?}"
    );
}

#[tokio::test]
async fn a_name_that_was_added_and_is_declared_is_refused_at_the_start() {
    let store: Arc<dyn ObjectStore> = Arc::new(InMemory::new());
    let before = Definitions::open(store.clone(), vec![]).await.unwrap();
    before.add(definition("shop")).await.unwrap();
    let both = Definitions::open(store, vec![definition("shop")]).await;
    let refused = both.unwrap_err().to_string();
    assert!(refused.contains("connector shop was added"), "{refused}");
}

#[tokio::test]
async fn what_is_declared_cannot_be_removed_and_what_is_going_cannot_be_resumed() {
    let store: Arc<dyn ObjectStore> = Arc::new(InMemory::new());
    let definitions = Definitions::open(store, vec![definition("declared")])
        .await
        .unwrap();
    let declared = "declared".parse().unwrap();
    let refused = definitions
        .set_standing(&declared, Standing::Removing)
        .await;
    let refused = refused.unwrap_err().to_string();
    assert!(
        refused.contains("declared in the configuration file"),
        "{refused}"
    );
    definitions.add(definition("added")).await.unwrap();
    let added = "added".parse().unwrap();
    definitions
        .set_standing(&added, Standing::Removing)
        .await
        .unwrap();
    let refused = definitions.set_standing(&added, Standing::Running).await;
    assert!(
        matches!(refused, Err(DefinitionError::Removing { .. })),
        "{refused:?}"
    );
    definitions.forget(&added).await.unwrap();
    let gone = definitions.get(&added);
    assert!(
        matches!(gone, Err(DefinitionError::Unknown { .. })),
        "{gone:?}"
    );
}
