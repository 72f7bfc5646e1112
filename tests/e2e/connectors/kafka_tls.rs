//! Apache Kafka that is reached by TLS only, and asks who is there: as a source, and as the log itself.

use std::path::Path;

use anyhow::{Context, Result, ensure};
use serde_json::json;
use tests::{
    Cli, ForeignStore, SecuredBroker, Server, create_topic, eventually, order_total, publish_to,
    skip, topic_lines, until_settled, zip_file,
};

use super::{expect_no_secret, status, until};

const NO_KAFKA: &str = "there is no Apache Kafka";

/// The ids of our copy in partition 0, when they are all and nothing else.
async fn copied(server: &Server, connector: &str, upto: u32) -> Result<()> {
    let expected: Vec<_> = (0..upto).map(|id| json!(id)).collect();
    let topic = format!("kafka.{connector}.readings");
    let what = format!("{upto} records are in {topic}");
    let copied = eventually(&what, async || {
        let lines = topic_lines(server, &topic).unwrap_or_default();
        let found: Vec<_> = lines.iter().map(|line| line.value["id"].clone()).collect();
        ensure!(found.len() <= expected.len(), "{found:?}");
        Ok((found == expected).then_some(()))
    });
    copied
        .await
        .with_context(|| format!("{:?}", status(server, connector)))
}

/// What the connector's status says of its trouble once it says `what`.
async fn named(server: &Server, connector: &str, what: &str) -> Result<()> {
    let whole = format!("{connector} names {what}");
    let named = eventually(&whole, async || {
        let said = server.tidemill(&["connector", "status", connector])?;
        Ok(said.contains(what).then_some(()))
    });
    named
        .await
        .with_context(|| format!("{:?}", status(server, connector)))
}

fn add(server: &Server, name: &str, bootstrap: &str, properties: &[String]) -> Result<()> {
    let add = ["connector", "add", "kafka", "--name", name];
    let what = ["--bootstrap", bootstrap, "--topics", "readings"];
    let mut arguments = [&add[..], &what].concat();
    arguments.extend(properties.iter().map(String::as_str));
    server.tidemill(&arguments).map(drop)
}

/// The options of a client that logs in by `mechanism` with the password in a file, and trusts a file.
fn scram(mechanism: &str, password: &Path, authority: &Path) -> Vec<String> {
    let (user, _) = SecuredBroker::user(mechanism);
    let mut options = Vec::new();
    for property in [
        "security.protocol=sasl_ssl".to_owned(),
        format!("sasl.mechanism={mechanism}"),
        format!("sasl.username={user}"),
        format!("ssl.ca.location={}", authority.display()),
    ] {
        options.extend(["--client".to_owned(), property]);
    }
    let secret = format!("sasl.password=file:{}", password.display());
    options.extend(["--secret".to_owned(), secret]);
    options
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cluster_behind_tls_is_read_exactly_once_and_what_is_wrong_is_named() -> Result<()> {
    let Some(broker) = SecuredBroker::find().await? else {
        skip("connectors", NO_KAFKA);
        return Ok(());
    };
    let work = tempfile::tempdir()?;
    let at = |name: &str| work.path().join(name);
    let write = |name: &str, text: &str| std::fs::write(at(name), text);
    let publish = async |ids: std::ops::Range<u32>| -> Result<()> {
        for id in ids {
            let value = json!({"id": id}).to_string();
            publish_to(&broker.open(), "readings", 0, &value).await?;
        }
        Ok(())
    };
    create_topic(&broker.open(), "readings", 1, 1).await?;
    publish(0..3).await?;
    let [(_, first), (_, second)] = ["SCRAM-SHA-512", "SCRAM-SHA-256"].map(SecuredBroker::user);
    write("512", "wrong")?;
    write("right-512", first)?;
    write("256", second)?;
    std::fs::copy(broker.file("other-ca.pem"), at("ca.pem"))?;
    let authority = broker.file("ca.pem");
    let mut server = Server::start()?;

    // A password that is wrong waits for its user; what may be mended elsewhere is tried again.
    let options = scram("SCRAM-SHA-512", &at("512"), &authority);
    add(&server, "plant", &broker.scram(), &options)?;
    let options = scram("SCRAM-SHA-256", &at("256"), &at("ca.pem"));
    add(&server, "trust", &broker.scram(), &options)?;
    let options = scram("SCRAM-SHA-512", &at("right-512"), &authority);
    add(&server, "name", &broker.misnamed(), &options)?;
    let mutual = |more: &[String]| {
        let mut options = Vec::new();
        for property in [
            "security.protocol=ssl".to_owned(),
            format!("ssl.ca.location={}", authority.display()),
        ] {
            options.extend(["--client".to_owned(), property]);
        }
        for property in more {
            options.extend(["--client".to_owned(), property.clone()]);
        }
        add(&server, "mutual", &broker.mutual(), &options)
    };
    mutual(&[])?;
    named(
        &server,
        "plant",
        "see to sasl.username, to what sasl.password is read from",
    )
    .await?;
    named(&server, "trust", "ssl.ca.location names the authority's").await?;
    named(
        &server,
        "name",
        "not for the host name by which it is reached",
    )
    .await?;
    named(
        &server,
        "mutual",
        "ssl.certificate.location and ssl.key.location",
    )
    .await?;

    write("512", first)?;
    server.tidemill(&["connector", "resume", "plant"])?;
    std::fs::copy(&authority, at("ca.pem"))?;
    broker.rename().await?;
    server.tidemill(&["connector", "remove", "mutual"])?;
    let certificate = broker.file("client.pem").display().to_string();
    let key = broker.file("client.key").display().to_string();
    mutual(&[
        format!("ssl.certificate.location={certificate}"),
        format!("ssl.key.location={key}"),
    ])?;
    let all = ["plant", "trust", "name", "mutual"];
    for connector in all {
        copied(&server, connector, 3).await?;
        until(&server, connector, "running").await?;
    }

    publish(3..20).await?;
    server.kill()?;
    publish(20..30).await?;
    server.restart()?;
    publish(30..40).await?;
    for connector in all {
        copied(&server, connector, 40).await?;
    }
    for secret in [first, second] {
        expect_no_secret(&server, secret)?;
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_works_on_a_cluster_behind_tls() -> Result<()> {
    let (Some(broker), Some(store)) = (SecuredBroker::find().await?, ForeignStore::find().await?)
    else {
        skip(
            "connectors",
            "there is no Apache Kafka or no S3-compatible store",
        );
        return Ok(());
    };
    let work = tempfile::tempdir()?;
    let (keys, password) = (work.path().join("keys"), work.path().join("password"));
    let (user, secret) = SecuredBroker::user("SCRAM-SHA-512");
    std::fs::write(&keys, store.credentials())?;
    std::fs::write(&password, secret)?;
    create_topic(&broker.open(), "orders", 2, 1).await?;
    let settings = format!(
        "[functions]\nconcurrency = 4\nreserved_for_direct = 1\n\
         [log]\nkind = \"kafka\"\n[log.kafka]\nbootstrap = [{:?}]\nreplication = 1\nmin_insync = 1\n\
         [log.kafka.client]\n\"security.protocol\" = \"sasl_ssl\"\n\"sasl.mechanism\" = \"SCRAM-SHA-512\"\n\
         \"sasl.username\" = {user:?}\n\"ssl.ca.location\" = {:?}\n\
         [log.kafka.secrets]\n\"sasl.password\" = \"file:{}\"\n{}",
        broker.scram(),
        broker.file("ca.pem"),
        password.display(),
        store.settings(&keys)
    );
    // A password that is wrong is named at the start.
    std::fs::write(&password, "wrong")?;
    let refused = Server::start_node(&broker.open(), &settings).err();
    let said = format!("{:?}", refused.context("a wrong password is taken")?);
    ensure!(said.contains("invalid credentials"), "{said}");
    std::fs::write(&password, secret)?;
    let mut server = Server::start_node(&broker.open(), &settings)?;
    let Some(aws) = Cli::find(&server) else {
        skip("connectors", "the AWS CLI is not installed");
        return Ok(());
    };
    let zip = zip_file(work.path(), "t.zip", &[("bootstrap", order_total()?)])?;
    aws.create_function(
        "totals",
        ("provided.al2023", "bootstrap"),
        &zip,
        &["--timeout", "30"],
    )?;
    let brokers = json!({"Endpoints": {"KAFKA_BOOTSTRAP_SERVERS": [broker.scram()]}}).to_string();
    aws.run(&[
        "lambda",
        "create-event-source-mapping",
        "--function-name",
        "totals",
        "--topics",
        "orders",
        "--starting-position",
        "TRIM_HORIZON",
        "--self-managed-event-source",
        &brokers,
    ])?;
    let publish = async |id: u32| {
        let order = json!({"id": id.to_string(), "items": [{"price": 250, "quantity": 2}]});
        let partition = i32::try_from(id % 2)?;
        publish_to(&broker.open(), "orders", partition, &order.to_string()).await
    };
    for id in 0..10 {
        publish(id).await?;
    }
    let succeeded = async |server: &Server, count: u64| {
        eventually(&format!("{count} records are settled"), async || {
            let triggers = until_settled(server).await?;
            let succeeded = triggers.iter().filter_map(|it| it["succeeded"].as_u64());
            let succeeded: u64 = succeeded.sum();
            ensure!(succeeded <= count, "{succeeded} of {count}");
            Ok((succeeded == count).then_some(()))
        })
        .await
    };
    succeeded(&server, 10).await?;
    server.kill()?;
    for id in 10..15 {
        publish(id).await?;
    }
    server.restart()?;
    succeeded(&server, 15).await?;
    ensure!(!server.log().contains(secret), "a secret is told");
    Ok(())
}
