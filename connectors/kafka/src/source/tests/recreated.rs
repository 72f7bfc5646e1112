//! Topics that were deleted and made anew under their names.

use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;

use super::*;

impl Cluster {
    fn admin(&self) -> AdminClient<DefaultClientContext> {
        ClientConfig::new()
            .set("bootstrap.servers", &self.bootstrap_servers)
            .create()
            .unwrap()
    }

    async fn delete(&self) {
        let options = AdminOptions::new();
        let deleted = self.admin().delete_topics(&[&self.topic], &options).await;
        deleted.unwrap()[0].as_ref().unwrap();
        self.until_partitions_are(0).await;
    }

    /// Waits until the broker has heard of what the controller did: until then it takes records for the old
    /// topic, which go with it.
    async fn until_partitions_are(&self, count: usize) {
        let admin = self.admin();
        loop {
            // Of all topics: to ask for one by name is to have it made.
            let metadata = admin.inner().fetch_metadata(None, ANSWER).unwrap();
            let topics = metadata.topics().iter();
            let partitions = topics
                .filter(|it| it.name() == self.topic)
                .flat_map(|it| it.partitions());
            if partitions.filter(|it| it.leader() >= 0).count() == count {
                return;
            }
            let again = tokio::time::Instant::now() + Duration::from_millis(20);
            tokio::time::sleep_until(again).await;
        }
    }

    async fn create(&self) {
        let topic = NewTopic::new(&self.topic, 1, TopicReplication::Fixed(1));
        let options = AdminOptions::new();
        let created = self.admin().create_topics([&topic], &options).await;
        created.unwrap()[0].as_ref().unwrap();
        self.until_partitions_are(1).await;
    }

    async fn send_all(&self, records: &[Record]) {
        // One that has not seen the old topic.
        let fresh = Self {
            topic: self.topic.clone(),
            ..Self::at(self.bootstrap_servers.clone())
        };
        for record in records {
            fresh.send(0, record).await;
        }
    }

    /// Deletes the topic, makes it anew, and writes.
    async fn replace_by(&self, records: &[Record]) {
        self.delete().await;
        self.create().await;
        self.send_all(records).await;
    }
}

fn records(from: u32, count: u32) -> Vec<Record> {
    (from..from + count).map(full_record).collect()
}

#[tokio::test]
async fn a_topic_made_anew_while_nobody_reads_is_read_whole_however_long_it_is() {
    let name = "a_topic_made_anew_while_nobody_reads_is_read_whole_however_long_it_is";
    for count in [3, 5, 9] {
        let Some(cluster) = Cluster::apache(name, 1).await else {
            return;
        };
        let log: SharedLog = MemoryLog::new();
        let (old, new) = (records(0, 5), records(100, count));
        cluster.send_all(&old).await;
        let run = cluster.run(&log, 0);
        assert_eq!(copied(&log, &cluster, 0, 5).await, old);
        run.abort();
        let _ = run.await;
        cluster.replace_by(&new).await;
        let run = cluster.run(&log, 0);
        let all = [old, new].concat();
        assert_eq!(copied(&log, &cluster, 0, all.len() as u64).await, all);
        run.abort();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_topic_made_anew_while_it_is_read_is_read_whole_however_long_it_is() {
    let name = "a_topic_made_anew_while_it_is_read_is_read_whole_however_long_it_is";
    for count in [3, 5, 40] {
        let Some(cluster) = Cluster::apache(name, 1).await else {
            return;
        };
        let log: SharedLog = MemoryLog::new();
        let (old, new) = (records(0, 5), records(100, count));
        cluster.send_all(&old).await;
        let run = cluster.run(&log, 0);
        assert_eq!(copied(&log, &cluster, 0, 5).await, old);
        cluster.replace_by(&new).await;
        let all = [old, new].concat();
        assert_eq!(copied(&log, &cluster, 0, all.len() as u64).await, all);
        run.abort();
    }
}

/// What the client says for its developers is what tells topics apart.
#[tokio::test]
async fn the_client_tells_the_id_and_that_it_has_changed() {
    let name = "the_client_tells_the_id_and_that_it_has_changed";
    let Some(cluster) = Cluster::apache(name, 1).await else {
        return;
    };
    cluster.send_all(&records(0, 1)).await;
    let mut source = opened(&cluster, 0).await;
    let (position, _) = one(&mut source).await;
    let before = Reached::read(&position).unwrap().topic.unwrap();
    cluster.replace_by(&records(1, 3)).await;
    let refused = source.next(1).await.unwrap_err();
    assert!(
        matches!(refused, SourceError::Unavailable { .. }),
        "{refused:?}"
    );
    source.open(Some(&position)).await.unwrap();
    let batch = source.next(1).await.unwrap();
    assert_eq!(batch.notices.len(), 1, "{batch:?}");
    let after = Reached::read(&batch.position).unwrap();
    assert_ne!(after.topic.unwrap(), before);
    assert!(source.order(&batch.position, &position).is_gt());
    assert_eq!(one(&mut source).await.1, full_record(1));
}

/// A cluster whose ids nobody knows, as those before 2.8.
#[tokio::test]
async fn without_an_id_the_last_record_tells() {
    let mock = MockCluster::new(1).unwrap();
    let cluster = Cluster::at(mock.bootstrap_servers());
    mock.create_topic(&cluster.topic, 1, 1).unwrap();
    cluster.send_all(&records(0, 5)).await;
    let reached = |last: &Record| Reached {
        next: 3,
        last: Some(Fingerprint::of(2, last)),
        ..Reached::default()
    };
    let mut source = cluster.source(0);
    // The same record: the next one follows.
    let position = reached(&full_record(2)).position();
    source.open(Some(&position)).await.unwrap();
    assert_eq!(one(&mut source).await.1, full_record(3));
    // Another: found, told, and read from the beginning.
    let position = reached(&full_record(9)).position();
    source.open(Some(&position)).await.unwrap();
    source.next(1).await.unwrap_err();
    source.open(Some(&position)).await.unwrap();
    let batch = source.next(1).await.unwrap();
    assert_eq!(batch.notices.len(), 1, "{batch:?}");
    assert!(source.order(&batch.position, &position).is_gt());
    assert_eq!(one(&mut source).await.1, full_record(0));
}

#[tokio::test]
async fn a_position_beyond_the_end_is_of_another_topic() {
    let mock = MockCluster::new(1).unwrap();
    let cluster = Cluster::at(mock.bootstrap_servers());
    mock.create_topic(&cluster.topic, 1, 1).unwrap();
    cluster.send_all(&records(0, 1)).await;
    let mut source = cluster.source(0);
    // As it was written by who knew offsets only.
    let position = SourcePosition::new("2".to_owned());
    source.open(Some(&position)).await.unwrap();
    let batch = source.next(1).await.unwrap();
    assert_eq!(batch.notices.len(), 1, "{batch:?}");
    assert_eq!(one(&mut source).await.1, full_record(0));
}

/// What an unclean election leaves: the same topic, which lacks or has changed what was copied.
#[tokio::test]
async fn a_topic_that_lost_records_goes_on_behind_them_and_is_told() {
    let name = "a_topic_that_lost_records_goes_on_behind_them_and_is_told";
    let Some(cluster) = Cluster::apache(name, 1).await else {
        return;
    };
    cluster.send_all(&records(0, 5)).await;
    let mut source = opened(&cluster, 0).await;
    let (position, _) = one(&mut source).await;
    let reached = Reached::read(&position).unwrap();
    assert!(reached.topic.is_some());
    let went_on = async |reached: Reached, source: &mut KafkaSource| {
        let position = reached.position();
        source.open(Some(&position)).await.unwrap();
        let batch = match source.next(1).await {
            Ok(batch) => batch,
            Err(_) => {
                source.open(Some(&position)).await.unwrap();
                source.next(1).await.unwrap()
            }
        };
        assert_eq!(batch.deliveries, []);
        assert!(source.order(&batch.position, &position).is_gt());
        batch.notices[0].what.clone()
    };
    let rewritten = Reached {
        next: 3,
        last: Some(Fingerprint::of(2, &full_record(9))),
        ..reached.clone()
    };
    let said = went_on(rewritten, &mut source).await;
    assert!(said.contains("written others in their places"), "{said}");
    assert_eq!(one(&mut source).await.1, full_record(3));
    let beyond = Reached { next: 9, ..reached };
    let said = went_on(beyond, &mut source).await;
    assert!(said.contains("the partition ends at 5"), "{said}");
    cluster.send_all(&records(5, 1)).await;
    assert_eq!(one(&mut source).await.1, full_record(5));
}
