//! Nodes of a log on the broker that the environment names.

use std::sync::Arc;
use std::time::Duration;

use clock::SystemClock;
use event_log::conformance::{Layout, Subject};
use event_log::{Error, KafkaConfig, KafkaLog, Share, SharedLog};
use rdkafka::ClientConfig;
use rdkafka::admin::{AdminClient, AdminOptions};
use uuid::Uuid;

/// A log of its own on a cluster that others use, too.
pub(crate) struct OnKafka {
    bootstrap: String,
    name: String,
    /// Whether its topics go with it.
    owned: bool,
}

impl OnKafka {
    /// A new log; `None`, after saying so, where there is no broker.
    pub(crate) fn new() -> Option<Self> {
        let Ok(bootstrap) = std::env::var("TIDEMILL_TEST_KAFKA") else {
            let test = std::thread::current().name().unwrap_or("log").to_owned();
            tests::skip(&test, "TIDEMILL_TEST_KAFKA names no broker");
            return None;
        };
        let name = format!("log-{}", &Uuid::new_v4().simple().to_string()[..8]);
        let owned = true;
        Some(Self {
            bootstrap,
            name,
            owned,
        })
    }

    /// The log of that name.
    pub(crate) fn named(bootstrap: String, name: String) -> Self {
        Self {
            bootstrap,
            name,
            owned: false,
        }
    }

    pub(crate) fn bootstrap(&self) -> &str {
        &self.bootstrap
    }

    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    pub(crate) fn config(&self, node: &str) -> KafkaConfig {
        KafkaConfig {
            cluster: self.name.clone(),
            topic_prefix: format!("{}-", self.name),
            node: Some(node.to_owned()),
            session_timeout: Duration::from_secs(6),
            metadata_interval: Duration::from_millis(500),
            ..KafkaConfig::new(&self.bootstrap)
        }
    }

    /// Opens a node.
    pub(crate) async fn node(&self, node: &str) -> Result<Arc<KafkaLog>, Error> {
        KafkaLog::open(self.config(node), Arc::new(SystemClock::new())).await
    }

    /// Opens a node from where nothing can be awaited, and waits for its work.
    fn open_now(&self, node: &str, wanted: fn(&Share) -> bool) -> SharedLog {
        let config = self.config(node);
        let open = move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build();
            runtime.expect("a runtime").block_on(async {
                let clock = Arc::new(SystemClock::new());
                let log = KafkaLog::open(config, clock).await.expect("the log opens");
                let log: SharedLog = log;
                let mut share = log.share();
                share.wait_for(wanted).await.expect("the log is open");
                log
            })
        };
        let opened = std::thread::spawn(open).join();
        opened.expect("nothing panics while a log opens")
    }
}

impl Drop for OnKafka {
    fn drop(&mut self) {
        if !self.owned {
            return;
        }
        let (bootstrap, name) = (self.bootstrap.clone(), self.name.clone());
        // Brokers that keep hundreds of topics become slow. What is left over harms nobody.
        let removed = std::thread::spawn(move || {
            let client: AdminClient<_> = ClientConfig::new()
                .set("bootstrap.servers", bootstrap)
                .create()
                .ok()?;
            let patience = Duration::from_secs(10);
            let metadata = client.inner().fetch_metadata(None, patience).ok()?;
            let topics = metadata.topics().iter().map(|topic| topic.name());
            let ours: Vec<_> = topics.filter(|topic| topic.starts_with(&name)).collect();
            let deleted = client.delete_topics(&ours, &AdminOptions::new());
            futures::executor::block_on(deleted).ok()
        });
        drop(removed.join());
    }
}

impl Subject for OnKafka {
    fn open(&self) -> SharedLog {
        self.open_now("one", |share| *share == Share::all())
    }

    fn open_beside(&self, _: &SharedLog) -> Option<SharedLog> {
        Some(self.open_now("two", |share| *share != Share::none()))
    }

    fn layout(&self) -> Layout {
        Layout::Records
    }
}
