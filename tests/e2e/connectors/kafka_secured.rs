//! A cluster that asks who is there, behind a network that stops carrying. It is another server of ours.

use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use rdkafka::config::ClientConfig;
use rdkafka::producer::{FutureProducer, FutureRecord};
use tests::{Proxy, Server, eventually, topic_lines};

use super::{expect_no_secret, status, until};

/// A cluster of one server, which clients reach through a proxy.
struct Foreign {
    server: Server,
    proxy: Proxy,
}

impl Foreign {
    async fn start() -> Result<Self> {
        let proxy = Proxy::bind().await?;
        let settings = format!("[kafka]\nsasl = true\nadvertised = {:?}\n", proxy.address());
        let server = Server::start_with(&settings)?;
        proxy.forward_to(server.bootstrap());
        Ok(Self { server, proxy })
    }

    /// Publishes over a connection of its own.
    async fn publish(&self, partition: i32, id: u32) -> Result<()> {
        let (key, secret) = self.server.credentials()?;
        let producer: FutureProducer = ClientConfig::new()
            .set("bootstrap.servers", self.proxy.address())
            .set("security.protocol", "sasl_plaintext")
            .set("sasl.mechanism", "PLAIN")
            .set("sasl.username", key)
            .set("sasl.password", secret)
            .create()?;
        let value = format!("{{\"id\": {id}}}");
        let record = FutureRecord::<str, str>::to("readings")
            .partition(partition)
            .payload(&value);
        let sent = producer.send(record, Duration::from_secs(30)).await;
        sent.map_err(|(error, _)| error).context("publish")?;
        Ok(())
    }
}

async fn copied(server: &Server, partition: i32, ids: &[u32]) -> Result<()> {
    eventually(&format!("{ids:?} are copied"), async || {
        let Ok(lines) = topic_lines(server, "kafka.plant.readings") else {
            return Ok(None);
        };
        let lines = lines.iter().filter(|line| line.partition == partition);
        let found: Vec<_> = lines.map(|line| line.value["id"].as_u64()).collect();
        let expected: Vec<_> = ids.iter().map(|id| Some(u64::from(*id))).collect();
        Ok((found == expected).then_some(()))
    })
    .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cluster_that_asks_for_a_password_is_read_also_when_its_connections_go_dead() -> Result<()>
{
    let foreign = Foreign::start().await?;
    foreign.publish(0, 1).await?;
    foreign.publish(1, 2).await?;
    let (key, secret) = foreign.server.credentials()?;
    let work = tempfile::tempdir()?;
    let password = work.path().join("password");
    std::fs::write(&password, "wrong")?;

    let server = Server::start()?;
    let bootstrap = foreign.proxy.address();
    let username = format!("sasl.username={key}");
    let reference = format!("sasl.password=file:{}", password.display());
    let add = [
        "connector",
        "add",
        "kafka",
        "--name",
        "plant",
        "--bootstrap",
    ];
    let what = [
        &bootstrap,
        "--topics",
        "^readings$",
        "--stalled-seconds",
        "1",
    ];
    let client = [
        "--client",
        "security.protocol=sasl_plaintext",
        "--client",
        "sasl.mechanism=PLAIN",
        "--client",
        &username,
        "--secret",
        &reference,
    ];
    server.tidemill(&[&add[..], &what, &client].concat())?;
    let said = eventually("the refused password is told of", async || {
        let report = status(&server, "plant")?;
        Ok(report["last_error"].as_str().map(str::to_owned))
    })
    .await?;
    ensure!(said.contains("uthenticat"), "{said}");
    std::fs::write(&password, &secret)?;
    server.tidemill(&["connector", "resume", "plant"])?;
    copied(&server, 0, &[1]).await?;
    copied(&server, 1, &[2]).await?;
    until(&server, "plant", "running").await?;

    foreign.proxy.swallow();
    foreign.publish(0, 3).await?;
    foreign.publish(1, 4).await?;
    copied(&server, 0, &[1, 3]).await?;
    copied(&server, 1, &[2, 4]).await?;
    let report = status(&server, "plant")?;
    let error = report["last_error"].as_str().context("the last error")?;
    ensure!(error.contains("/kafka/plant/readings/"), "{error}");
    let url = format!("{}/metrics", server.endpoint());
    let metrics = Command::new("curl").args(["-sS", &url]).output()?.stdout;
    ensure!(String::from_utf8(metrics)?.contains("tidemill_connector_stalls_total{"));
    expect_no_secret(&server, &secret)
}
