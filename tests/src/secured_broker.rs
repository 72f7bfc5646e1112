//! Apache Kafka that asks who is there, over TLS with certificates of an authority of its own.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result};
use rcgen::{CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rdkafka::admin::{AdminClient, AdminOptions, AlterConfig, ResourceSpecifier};
use rdkafka::client::DefaultClientContext;
use rdkafka::config::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};
use tempfile::TempDir;

use crate::{eventually, free_port};

/// Who may log in by SCRAM-SHA-512, and by SCRAM-SHA-256, with what password.
const USERS: [(&str, &str, &str); 2] = [
    ("SCRAM-SHA-512", "ada", "hush-512"),
    ("SCRAM-SHA-256", "grace", "hush-256"),
];

const SETTINGS: &str = "\
process.roles=broker,controller
node.id=1
controller.listener.names=CONTROLLER
inter.broker.listener.name=OPEN
listener.security.protocol.map=OPEN:PLAINTEXT,CONTROLLER:PLAINTEXT,SCRAM:SASL_SSL,MUTUAL:SSL,MISNAMED:SASL_SSL
sasl.enabled.mechanisms=SCRAM-SHA-256,SCRAM-SHA-512
ssl.keystore.type=PEM
ssl.truststore.type=PEM
listener.name.mutual.ssl.client.auth=required
ssl.allow.dn.changes=true
ssl.allow.san.changes=true
offsets.topic.num.partitions=8
offsets.topic.replication.factor=1
transaction.state.log.num.partitions=8
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
group.initial.rebalance.delay.ms=0
";

/// One node with a listener for each way in. Dropping it ends it and removes its data.
#[derive(Debug)]
pub struct SecuredBroker {
    dir: TempDir,
    process: Child,
    /// For tests: neither TLS nor users.
    open: u16,
    /// TLS and SCRAM; the certificate is for `localhost`.
    scram: u16,
    /// TLS with certificates on both sides.
    mutual: u16,
    /// As `scram`, but the certificate is for another host.
    misnamed: u16,
}

impl SecuredBroker {
    /// Starts one, if this machine has Apache Kafka, and waits until it answers.
    ///
    /// # Errors
    /// It does not start.
    pub async fn find() -> Result<Option<Self>> {
        let Ok(jars) = std::env::var("TIDEMILL_TEST_KAFKA_JARS") else {
            return Ok(None);
        };
        let dir = TempDir::new()?;
        make_certificates(dir.path())?;
        let [open, scram, mutual, misnamed, controller] = {
            let ports: Result<Vec<u16>> = (0..5).map(|_| free_port()).collect();
            ports?.try_into().ok().context("five ports")?
        };
        let at = |name: &str| dir.path().join(name);
        let mut settings = SETTINGS.to_owned();
        for (key, value) in [
            (
                "controller.quorum.voters",
                format!("1@127.0.0.1:{controller}"),
            ),
            (
                "listeners",
                format!(
                    "OPEN://127.0.0.1:{open},SCRAM://127.0.0.1:{scram},MUTUAL://127.0.0.1:{mutual},MISNAMED://127.0.0.1:{misnamed},CONTROLLER://127.0.0.1:{controller}"
                ),
            ),
            (
                "advertised.listeners",
                format!(
                    "OPEN://127.0.0.1:{open},SCRAM://localhost:{scram},MUTUAL://localhost:{mutual},MISNAMED://localhost:{misnamed}"
                ),
            ),
            ("log.dirs", at("data").display().to_string()),
            (
                "ssl.keystore.location",
                at("localhost.pem").display().to_string(),
            ),
            (
                "ssl.truststore.location",
                at("ca.pem").display().to_string(),
            ),
            (
                "listener.name.misnamed.ssl.keystore.location",
                at("elsewhere.pem").display().to_string(),
            ),
        ] {
            settings.push_str(&format!("{key}={value}\n"));
        }
        for listener in ["scram", "misnamed"] {
            for (mechanism, ..) in USERS {
                let mechanism = mechanism.to_lowercase();
                settings.push_str(&format!("listener.name.{listener}.{mechanism}.sasl.jaas.config=org.apache.kafka.common.security.scram.ScramLoginModule required;\n"));
            }
        }
        let properties = at("server.properties");
        std::fs::write(&properties, settings)?;
        let java = |class: &str| {
            let mut java = Command::new("java");
            java.args(["-Xmx256m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1"])
                .args(["-cp", &format!("{jars}/*"), class])
                .stdin(Stdio::null());
            java
        };
        let mut format = java("kafka.tools.StorageTool");
        format.args([
            "format",
            "--cluster-id",
            "AAAAAAAAQACAAAAAAAAAAA",
            "--config",
        ]);
        format.arg(&properties);
        for (mechanism, user, password) in USERS {
            let user = format!("{mechanism}=[name={user},password={password}]");
            format.args(["--add-scram", &user]);
        }
        let formatted = format.output().context("format the broker's folder")?;
        anyhow::ensure!(
            formatted.status.success(),
            "format: {}",
            String::from_utf8_lossy(&formatted.stderr)
        );
        let log = File::create(at("log"))?;
        let process = java("kafka.Kafka")
            .arg(&properties)
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn()
            .context("start the broker")?;
        let broker = Self {
            dir,
            process,
            open,
            scram,
            mutual,
            misnamed,
        };
        let asking: BaseConsumer = ClientConfig::new()
            .set("bootstrap.servers", broker.open())
            .set("reconnect.backoff.max.ms", "500")
            .create()?;
        let up = eventually("the broker answers", async || {
            let asked = asking.fetch_metadata(None, Duration::from_secs(1));
            Ok(asked.ok().filter(|it| !it.brokers().is_empty()).map(drop))
        });
        up.await.with_context(|| {
            let log = std::fs::read_to_string(broker.file("log")).unwrap_or_default();
            log[log.len().saturating_sub(2_000)..].to_owned()
        })?;
        Ok(Some(broker))
    }

    /// `host:port` for tests themselves, which it asks nothing.
    #[must_use]
    pub fn open(&self) -> String {
        format!("127.0.0.1:{}", self.open)
    }

    /// `host:port` for TLS and SCRAM.
    #[must_use]
    pub fn scram(&self) -> String {
        format!("localhost:{}", self.scram)
    }

    /// `host:port` for TLS with a certificate of the client.
    #[must_use]
    pub fn mutual(&self) -> String {
        format!("localhost:{}", self.mutual)
    }

    /// `host:port` for TLS and SCRAM, where the certificate is for another host.
    #[must_use]
    pub fn misnamed(&self) -> String {
        format!("localhost:{}", self.misnamed)
    }

    /// User and password for SCRAM-SHA-512 or SCRAM-SHA-256.
    ///
    /// # Panics
    /// It is another mechanism.
    #[must_use]
    pub fn user(mechanism: &str) -> (&'static str, &'static str) {
        let mut users = USERS.into_iter();
        let found = users.find(|(of, ..)| *of == mechanism);
        let (_, user, password) = found.expect("one of the two mechanisms");
        (user, password)
    }

    /// A file of its folder: `ca.pem` of the authority, `other-ca.pem` of one that has signed nothing here,
    /// and `client.pem` with `client.key` of a client.
    #[must_use]
    pub fn file(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// Renews the certificate that is for another host: it is for `localhost` then.
    ///
    /// # Errors
    /// The broker does not.
    pub async fn rename(&self) -> Result<()> {
        let admin: AdminClient<DefaultClientContext> = ClientConfig::new()
            .set("bootstrap.servers", self.open())
            .create()?;
        let store = self.file("localhost.pem").display().to_string();
        let change = AlterConfig::new(ResourceSpecifier::Broker(1))
            .set("listener.name.misnamed.ssl.keystore.type", "PEM")
            .set("listener.name.misnamed.ssl.keystore.location", &store);
        for altered in admin.alter_configs([&change], &AdminOptions::new()).await? {
            altered.map_err(|(_, error)| anyhow::anyhow!("change the certificate: {error}"))?;
        }
        Ok(())
    }
}

impl Drop for SecuredBroker {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn make_certificates(folder: &Path) -> Result<()> {
    let authority = |name: &str| {
        let mut params = CertificateParams::new(Vec::new())?;
        params.is_ca = IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        let named = rcgen::DnType::CommonName;
        params.distinguished_name.push(named, name);
        CertifiedIssuer::self_signed(params, KeyPair::generate()?)
    };
    let (ours, other) = (authority("ours")?, authority("other")?);
    std::fs::write(folder.join("ca.pem"), ours.pem())?;
    std::fs::write(folder.join("other-ca.pem"), other.pem())?;
    let signed = |host: &str| -> Result<(String, String)> {
        let key = KeyPair::generate()?;
        let params = CertificateParams::new(vec![host.to_owned()])?;
        let certificate = params.signed_by(&key, &ours)?;
        Ok((certificate.pem(), key.serialize_pem()))
    };
    for (file, host) in [
        ("localhost", "localhost"),
        ("elsewhere", "elsewhere.example"),
    ] {
        let (certificate, key) = signed(host)?;
        std::fs::write(folder.join(format!("{file}.pem")), key + &certificate)?;
    }
    let (certificate, key) = signed("client.example")?;
    std::fs::write(folder.join("client.pem"), certificate)?;
    std::fs::write(folder.join("client.key"), key)?;
    Ok(())
}
