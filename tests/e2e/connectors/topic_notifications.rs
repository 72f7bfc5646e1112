//! Notifications that another store publishes to this server's Kafka port.

use anyhow::{Result, ensure};
use tests::{OwnStore, Server, create_topic, eventually, publish, skip, topic_lines};

use super::until;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_store_that_publishes_to_the_kafka_port_is_heard() -> Result<()> {
    let mut server = Server::start()?;
    let topic = "store-notifications";
    create_topic(&server.bootstrap(), topic, 2, 1).await?;
    let Some(store) = OwnStore::publishing(&server.bootstrap(), topic).await? else {
        skip(
            "connectors",
            "there is no program of an S3-compatible store",
        );
        return Ok(());
    };
    let client = store.client();
    client.create_bucket().bucket("heard").send().await?;
    let put = async |key: &str| -> Result<()> {
        let put = client.put_object().bucket("heard").key(key);
        put.body(b"1".to_vec().into()).send().await?;
        Ok(())
    };
    put("before").await?;
    let work = tempfile::tempdir()?;
    let keys = work.path().join("keys");
    std::fs::write(&keys, store.credentials())?;
    let (endpoint, keys) = (store.endpoint(), keys.display().to_string());
    // Listed once a day, so that nothing but a notification tells of what comes later.
    let add = ["connector", "add", "s3", "--name", "heard", "--bucket"];
    let how = ["heard", "--endpoint", &endpoint, "--credentials", &keys];
    let when = ["--interval-seconds", "86400", "--partitions", "1"];
    let hints = ["--notification-topic", topic];
    server.tidemill(&[&add[..], &how, &when, &hints].concat())?;
    let events = async |server: &Server, wanted: usize| {
        eventually("every event is there", async || {
            let lines = topic_lines(server, "bucket.heard").unwrap_or_default();
            Ok((lines.len() >= wanted).then_some(lines))
        })
        .await
    };
    events(&server, 1).await?;
    // What is no notification holds nothing up.
    let nothing = ("key".to_owned(), "no notification".to_owned());
    publish(&server.bootstrap(), topic, [nothing]).await?;
    put("in/a b.csv").await?;
    events(&server, 2).await?;
    let delete = client.delete_object().bucket("heard").key("before");
    delete.send().await?;
    events(&server, 3).await?;
    server.kill()?;
    server.restart()?;
    until(&server, "heard", "running").await?;
    put("after").await?;
    let lines = events(&server, 4).await?;
    let text = |value: &serde_json::Value| value.as_str().unwrap_or_default().to_owned();
    let told = lines.iter().map(|line| {
        let object = &line.value["s3"]["object"];
        (text(&line.value["eventName"]), text(&object["key"]))
    });
    let told: Vec<_> = told.collect();
    let created = |key: &str| ("ObjectCreated:Put".to_owned(), key.to_owned());
    let removed = ("ObjectRemoved:Delete".to_owned(), "before".to_owned());
    let wanted = [
        created("before"),
        created("in/a+b.csv"),
        removed,
        created("after"),
    ];
    ensure!(told == wanted, "{told:?}");
    Ok(())
}
