//! The Kafka port's settings, and what the gateway is told of them.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use access::Keyring;
use anyhow::{Context, bail};
use kafka_gateway::{
    Advertised, GatewayConfig, Login, Replication, Sasl, Security, Tls, TopicCreation,
    TopicDefaults, Users,
};
use serde::{Deserialize, Serialize};

/// Ten years, in minutes.
const MAX_OFFSETS_RETENTION: u64 = 10 * 365 * 24 * 60;

/// The Kafka protocol.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Kafka {
    /// Where it listens. Addresses that other machines reach need both `sasl` and `tls`.
    pub(crate) listen: SocketAddr,
    /// Where clients are told to connect, as `host:port`, when that is not `listen`: in a container,
    /// behind a proxy.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) advertised: Option<String>,
    /// Partitions of topics that are made on first use.
    pub(crate) default_partitions: u32,
    /// Whether topics are made on first use; else only on request.
    pub(crate) auto_create_topics: bool,
    /// Whether a topic asked for with several replicas is made with the one that there can be; else
    /// it is refused. For programs that ask for three and cannot be told.
    pub(crate) any_replication_factor: bool,
    /// Seconds that a member of a group of the consumer protocol may be silent.
    pub(crate) consumer_session_seconds: u64,
    /// Minutes for which the offsets are kept of a group that has no members and commits nothing.
    pub(crate) offsets_retention_minutes: u64,
    /// Whether clients must authenticate: by PLAIN, SCRAM-SHA-256 or SCRAM-SHA-512 with the access
    /// key id and the secret access key of the data folder, or by PLAIN with those of a function whose
    /// role may `kafka-cluster:Connect`. Else they are anonymous.
    pub(crate) sasl: bool,
    /// Connections served at once; one more is closed when it arrives.
    pub(crate) max_connections: usize,
    /// Seconds after which a connection is closed on which nothing is asked and nothing answered.
    pub(crate) max_idle_seconds: u64,
    /// The largest request that is read, in bytes.
    pub(crate) max_request_bytes: usize,
    /// The certificate with which connections are encrypted; without it they are not.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) tls: Option<TlsFiles>,
}

/// A certificate and its key, as PEM files.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct TlsFiles {
    /// The certificate chain, the server's own first.
    pub(crate) certificate: PathBuf,
    /// The private key.
    pub(crate) key: PathBuf,
}

impl Default for Kafka {
    fn default() -> Self {
        let gateway = GatewayConfig::default();
        Self {
            listen: SocketAddr::from(([127, 0, 0, 1], 9092)),
            advertised: None,
            default_partitions: gateway.default_partitions,
            auto_create_topics: true,
            any_replication_factor: false,
            consumer_session_seconds: gateway.member_session.as_secs(),
            offsets_retention_minutes: gateway.offsets_retention.as_secs() / 60,
            sasl: false,
            max_connections: gateway.max_connections,
            max_idle_seconds: gateway.max_idle.as_secs(),
            max_request_bytes: gateway.max_request_bytes,
            tls: None,
        }
    }
}

impl Kafka {
    /// Whether the settings can be applied; what is wrong is said by the settings' names.
    pub(crate) fn check(&self) -> anyhow::Result<()> {
        if !(1..=10_000).contains(&self.default_partitions) {
            bail!("kafka.default_partitions must be 1 to 10000");
        }
        if !(1..=3_600).contains(&self.consumer_session_seconds) {
            bail!("kafka.consumer_session_seconds must be 1 to 3600");
        }
        if !(1..=MAX_OFFSETS_RETENTION).contains(&self.offsets_retention_minutes) {
            bail!("kafka.offsets_retention_minutes must be 1 to {MAX_OFFSETS_RETENTION}");
        }
        if self.max_connections == 0 {
            bail!("kafka.max_connections must not be zero");
        }
        if self.max_idle_seconds == 0 {
            bail!("kafka.max_idle_seconds must not be zero");
        }
        if !(1024..=1 << 30).contains(&self.max_request_bytes) {
            bail!("kafka.max_request_bytes must be 1 KiB to 1 GiB");
        }
        self.advertised()?;
        let (listen, ip) = (self.listen, self.listen.ip());
        let is_protected = self.sasl && self.tls.is_some();
        if !ip.is_loopback() && !is_protected {
            bail!(
                "kafka.listen is {listen}, which other machines can reach: set kafka.sasl = true and \
                 kafka.tls = {{ certificate = \"…\", key = \"…\" }}, or listen on 127.0.0.1"
            );
        }
        if ip.is_unspecified() && self.advertised.is_none() {
            bail!(
                "kafka.listen is {listen}, which no client can connect to: set kafka.advertised = \
                 \"host:port\" as clients reach it"
            );
        }
        Ok(())
    }

    /// The address that clients are told, if it is set.
    pub(crate) fn advertised(&self) -> anyhow::Result<Option<Advertised>> {
        let Some(text) = &self.advertised else {
            return Ok(None);
        };
        let advertised = text.parse().context("kafka.advertised")?;
        Ok(Some(advertised))
    }

    /// What the gateway is told; `retention` is the log's, for topics that set none.
    ///
    /// # Errors
    /// Certificate or key cannot be read or used.
    pub(crate) fn gateway(
        &self,
        keys: &Arc<Keyring>,
        retention: Duration,
    ) -> anyhow::Result<GatewayConfig> {
        let sasl = || {
            let own = keys.own();
            Sasl::new(
                Login::new(&own.id, &own.secret),
                Arc::new(RoleLogins(keys.clone())),
            )
        };
        Ok(GatewayConfig {
            advertised: self.advertised()?,
            security: Security {
                tls: self.tls.as_ref().map(TlsFiles::read).transpose()?,
                sasl: self.sasl.then(sasl),
            },
            default_partitions: self.default_partitions,
            member_session: Duration::from_secs(self.consumer_session_seconds),
            offsets_retention: Duration::from_secs(self.offsets_retention_minutes * 60),
            replication: if self.any_replication_factor {
                Replication::One
            } else {
                Replication::AsAsked
            },
            topic_creation: if self.auto_create_topics {
                TopicCreation::OnUse
            } else {
                TopicCreation::OnRequest
            },
            topic_defaults: TopicDefaults {
                retention_age: Some(retention),
                ..TopicDefaults::default()
            },
            max_request_bytes: self.max_request_bytes,
            max_connections: self.max_connections,
            max_idle: Duration::from_secs(self.max_idle_seconds),
            ..GatewayConfig::default()
        })
    }

    /// How clients must speak, in librdkafka's words.
    pub(crate) fn protocol(&self) -> &'static str {
        match (self.sasl, &self.tls) {
            (false, None) => "PLAINTEXT",
            (false, Some(_)) => "SSL",
            (true, None) => "SASL_PLAINTEXT",
            (true, Some(_)) => "SASL_SSL",
        }
    }
}

/// The keys of roles that may connect. Topics are not told apart.
#[derive(Debug)]
struct RoleLogins(Arc<Keyring>);

impl Users for RoleLogins {
    fn secret(&self, user: &str) -> Option<String> {
        let known = self.0.find(user)?;
        known.caller.check("kafka-cluster:Connect", "*").ok()?;
        Some(known.secret)
    }
}

impl TlsFiles {
    fn read(&self) -> anyhow::Result<Tls> {
        let read = |path: &Path, setting: &str| {
            std::fs::read(path).with_context(|| format!("read {setting}, {}", path.display()))
        };
        let certificate = read(&self.certificate, "kafka.tls.certificate")?;
        let key = read(&self.key, "kafka.tls.key")?;
        Tls::from_pem(&certificate, &key).with_context(|| {
            let (certificate, key) = (self.certificate.display(), self.key.display());
            format!("use kafka.tls.certificate, {certificate}, with kafka.tls.key, {key}")
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(text: &str) -> Kafka {
        toml::from_str(text).unwrap()
    }

    #[test]
    fn addresses_that_others_reach_need_sasl_and_tls() {
        let tls = "tls = { certificate = 'a', key = 'b' }";
        let (ip, all) = ("listen = '10.0.0.1:9092'", "listen = '0.0.0.0:9092'");
        for (text, lacking) in [
            (ip.to_owned(), "kafka.sasl = true"),
            (format!("{ip}\nsasl = true"), "kafka.tls = {"),
            (format!("{ip}\n{tls}"), "kafka.sasl = true"),
            (format!("{all}\nsasl = true\n{tls}"), "kafka.advertised"),
        ] {
            let error = settings(&text).check().unwrap_err().to_string();
            assert!(error.contains(lacking), "{text}: {error}");
        }
        for text in [
            format!("{ip}\nsasl = true\n{tls}"),
            format!("{all}\nsasl = true\nadvertised = 'tidemill:9092'\n{tls}"),
            "listen = '127.0.0.1:0'".to_owned(),
            "listen = '[::1]:9092'\nsasl = true".to_owned(),
        ] {
            settings(&text).check().unwrap();
        }
    }

    #[test]
    fn what_cannot_be_applied_is_refused_by_name() {
        for (text, name) in [
            ("advertised = 'tidemill'", "kafka.advertised"),
            ("default_partitions = 0", "kafka.default_partitions"),
            ("max_connections = 0", "kafka.max_connections"),
            ("max_idle_seconds = 0", "kafka.max_idle_seconds"),
            ("max_request_bytes = 100", "kafka.max_request_bytes"),
        ] {
            let error = settings(text).check().unwrap_err();
            assert!(format!("{error:#}").contains(name), "{text}: {error:#}");
        }
        let missing = settings("tls = { certificate = '/nowhere/a.pem', key = 'b' }");
        let own = access::AccessKey::new("id", "secret");
        let keys = Keyring::new("000000000000", own, access::Roles::default());
        let gateway = missing.gateway(&Arc::new(keys), Duration::ZERO);
        let error = gateway.unwrap_err();
        assert!(format!("{error:#}").contains("kafka.tls.certificate"));
    }
}
