use std::sync::Arc;

use clock::{ManualClock, Timestamp};
use futures::FutureExt as _;
use parking_lot::Mutex;

use super::*;

/// A queue that hands out what is in it until that is deleted, ten at a time.
#[derive(Clone, Default)]
struct Model(Arc<Mutex<Held>>);

#[derive(Default)]
struct Held {
    messages: Vec<(String, String)>,
    receives: usize,
    failing: bool,
}

impl Model {
    fn send(&self, receipt: &str, body: &str) {
        let message = (receipt.to_owned(), body.to_owned());
        self.0.lock().messages.push(message);
    }

    fn left(&self) -> Vec<String> {
        let held = self.0.lock();
        held.messages.iter().map(|(it, _)| it.clone()).collect()
    }

    fn hints(&self) -> (BoxStream<'static, Hint>, ChannelWatch) {
        let clock = Arc::new(ManualClock::starting_at(Timestamp::default()));
        hints_from(self.clone(), "model".to_owned(), "in".to_owned(), clock)
    }
}

#[async_trait]
impl Queue for Model {
    async fn receive(&self) -> Result<Vec<Message>, SourceError> {
        let (failing, messages) = {
            let mut held = self.0.lock();
            held.receives += 1;
            (held.failing, held.messages.clone())
        };
        if failing {
            return Err(SourceError::Unavailable {
                act: "receive messages".to_owned(),
                source: "no such queue".into(),
            });
        }
        if messages.is_empty() {
            wait(Duration::from_secs(20)).await;
        }
        let messages = messages.into_iter().take(10);
        let message = |(receipt, body)| Message { receipt, body };
        Ok(messages.map(message).collect())
    }

    async fn delete(&self, receipts: Vec<String>) -> Result<(), SourceError> {
        let mut held = self.0.lock();
        held.messages.retain(|(it, _)| !receipts.contains(it));
        Ok(())
    }
}

fn notification(bucket: &str, key: &str) -> String {
    format!(
        r#"{{"Records": [{{"s3": {{"bucket": {{"name": {bucket:?}}}, "object": {{"key": {key:?}}}}}}}]}}"#
    )
}

fn object(key: &str) -> Option<Hint> {
    Some(Hint::Object(key.to_owned()))
}

#[tokio::test(start_paused = true)]
async fn a_message_is_deleted_once_its_hint_was_taken_and_not_before() {
    let queue = Model::default();
    queue.send("1", &notification("in", "a+b"));
    queue.send(
        "2",
        r#"{"Service":"Amazon S3","Event":"s3:TestEvent","Bucket":"in"}"#,
    );
    queue.send("3", &notification("in", "c"));
    let (mut hints, watch) = queue.hints();
    assert_eq!(hints.next().await, object("a b"));
    assert_eq!(queue.left(), ["1", "2", "3"]);
    assert_eq!(hints.next().await, object("c"));
    assert_eq!(queue.left(), ["1", "2", "3"]);
    assert_eq!(hints.next().now_or_never(), None);
    assert_eq!(queue.left(), [""; 0]);
    queue.send("4", &notification("in", "d"));
    assert_eq!(hints.next().await, object("d"));
    assert_eq!(watch.state(), Some(Default::default()));
    // Who ends now has not followed it: it comes again.
    drop(hints);
    assert_eq!(queue.left(), ["4"]);
}

#[tokio::test(start_paused = true)]
async fn what_is_not_of_the_bucket_stays_and_is_told_and_holds_nothing_up() {
    let queue = Model::default();
    queue.send("1", "no JSON");
    queue.send("2", &notification("out", "a"));
    queue.send(
        "3",
        r#"{"Type":"Notification","TopicArn":"a","Message":"{}"}"#,
    );
    let (mut hints, watch) = queue.hints();
    let begun = Instant::now();
    assert_eq!(hints.next().now_or_never(), None);
    let refused = watch.state().unwrap().refused.unwrap();
    assert_eq!(refused.count, 3);
    assert!(refused.why.contains("SNS"), "{}", refused.why);
    queue.send("4", &notification("in", "b"));
    assert_eq!(hints.next().await, object("b"));
    // It is not asked in a circle.
    assert!(begun.elapsed() >= PAUSE);
    assert_eq!(queue.0.lock().receives, 2);
    assert_eq!(hints.next().now_or_never(), None);
    assert_eq!(queue.left(), ["1", "2", "3"]);
}

#[tokio::test(start_paused = true)]
async fn a_queue_that_fails_is_asked_again_and_less_and_less_often() {
    let queue = Model::default();
    queue.0.lock().failing = true;
    let (mut hints, watch) = queue.hints();
    let patience = Duration::from_secs(300);
    let next = tokio::time::timeout(patience, hints.next()).await;
    assert!(next.is_err());
    let broken = watch.state().unwrap().broken.unwrap();
    assert!(broken.why.contains("no such queue"), "{}", broken.why);
    let receives = queue.0.lock().receives;
    assert!((10..30).contains(&receives), "{receives}");
    queue.0.lock().failing = false;
    queue.send("1", &notification("in", "a"));
    assert_eq!(hints.next().await, object("a"));
    assert_eq!(watch.state(), Some(Default::default()));
}
