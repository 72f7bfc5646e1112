//! Produce requests, version 7 (<https://kafka.apache.org/protocol#The_Messages_Produce>).

use anyhow::{Context, Result, ensure};
use clock::Timestamp;
use event::Record;
use event_log::RecordBatch;
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::config::ClientConfig;
use tokio::io::{AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;

use super::RECORD_BYTES;

const TOPIC: &str = "load";
const PARTITIONS: usize = 16;

/// Makes the topic that every client writes to.
pub(super) async fn create_topic(bootstrap: &str) -> Result<()> {
    let admin: AdminClient<DefaultClientContext> = ClientConfig::new()
        .set("bootstrap.servers", bootstrap)
        .create()?;
    let topic = NewTopic::new(TOPIC, PARTITIONS as i32, TopicReplication::Fixed(1));
    for created in admin.create_topics([&topic], &AdminOptions::new()).await? {
        created.map_err(|(topic, code)| anyhow::anyhow!("create {topic}: {code}"))?;
    }
    Ok(())
}

/// A connection that sends one and the same batch again and again.
pub(super) struct Client {
    /// Buffered: an answer is read by one system call, as the other protocols' are.
    stream: BufReader<TcpStream>,
    request: Vec<u8>,
    answer: Vec<u8>,
}

impl Client {
    pub(super) async fn connect(address: &str, index: usize, records: usize) -> Result<Self> {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        let record = Record::new(vec![b'x'; RECORD_BYTES], Timestamp::from_millis(0));
        let batch = RecordBatch::of(&vec![record; records]).context("no records")?;
        let partition = u32::try_from(index % PARTITIONS)?;
        Ok(Self {
            stream: BufReader::with_capacity(1 << 10, stream),
            request: produce(partition, batch.as_bytes()),
            answer: Vec::new(),
        })
    }

    pub(super) async fn append(&mut self) -> Result<()> {
        self.stream.write_all(&self.request).await?;
        let length = self.stream.read_u32().await? as usize;
        ensure!(length < 1 << 16, "an answer of {length} bytes");
        self.answer.resize(length, 0);
        self.stream.read_exact(&mut self.answer).await?;
        // Correlation id, one topic with its name, one partition with its index, the error code.
        let at = 4 + 4 + 2 + TOPIC.len() + 4 + 4;
        let code = self.answer.get(at..at + 2).context("a short answer")?;
        ensure!(code == [0, 0], "refused with error code {code:?}");
        Ok(())
    }
}

fn produce(partition: u32, batch: &[u8]) -> Vec<u8> {
    let mut body = Vec::with_capacity(batch.len() + 64);
    body.extend(0u16.to_be_bytes()); // Produce
    body.extend(7u16.to_be_bytes()); // version
    body.extend(1u32.to_be_bytes()); // correlation id
    string(&mut body, "bench");
    body.extend((-1i16).to_be_bytes()); // no transactional id
    body.extend((-1i16).to_be_bytes()); // acks=all
    body.extend(30_000u32.to_be_bytes()); // timeout in milliseconds
    body.extend(1u32.to_be_bytes()); // topics
    string(&mut body, TOPIC);
    body.extend(1u32.to_be_bytes()); // partitions
    body.extend(partition.to_be_bytes());
    body.extend((batch.len() as u32).to_be_bytes());
    body.extend(batch);
    let mut frame = (body.len() as u32).to_be_bytes().to_vec();
    frame.extend(body);
    frame
}

fn string(body: &mut Vec<u8>, text: &str) {
    body.extend((text.len() as u16).to_be_bytes());
    body.extend(text.as_bytes());
}
