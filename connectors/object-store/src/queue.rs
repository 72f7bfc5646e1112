//! Notifications that a store sends to a queue of Amazon SQS, or of a service that speaks like it.
//!
//! They are hints and no more, as all are. A message is deleted when its hints were taken: if whoever took
//! them ends before it has followed them, the listing that it begins with finds what they were about. One
//! that is no notification of the bucket is left where it is, for whom it may be meant, or for the
//! dead-letter queue that the queue itself may have.

mod sqs;
mod url;

use std::collections::VecDeque;
use std::time::Duration;

use async_trait::async_trait;
use clock::SharedClock;
use connector::SourceError;
use futures::StreamExt as _;
use futures::stream::{self, BoxStream};
use tokio::time::Instant;

pub use sqs::QueuePlace;
pub use url::QueueUrl;

use crate::channel::{Channel, ChannelWatch};
use crate::{Hint, hints_of};

/// How long a queue is left alone in which nothing was found but what is not ours: it may hand out the same
/// again at once.
const PAUSE: Duration = Duration::from_secs(1);

/// What is used of a queue.
#[async_trait]
trait Queue: Send + Sync {
    /// Some messages, none after a while without any. Those that are not deleted come again.
    async fn receive(&self) -> Result<Vec<Message>, SourceError>;

    /// Deletes messages, as many as [`receive`](Self::receive) has handed out at once.
    async fn delete(&self, receipts: Vec<String>) -> Result<(), SourceError>;
}

/// A message.
#[derive(Debug)]
struct Message {
    /// What it is deleted by.
    receipt: String,
    body: String,
}

/// The hints at objects of `bucket` that come to a queue, as long as the stream is read, and how that
/// fares.
#[must_use]
pub fn queue_hints(
    place: QueuePlace,
    bucket: String,
    clock: SharedClock,
) -> (BoxStream<'static, Hint>, ChannelWatch) {
    let name = format!("queue {}", place.url);
    hints_from(sqs::Sqs::new(place), name, bucket, clock)
}

fn hints_from(
    queue: impl Queue + 'static,
    name: String,
    bucket: String,
    clock: SharedClock,
) -> (BoxStream<'static, Hint>, ChannelWatch) {
    let (channel, watch) = Channel::new(name, clock);
    let follower = Follower {
        queue,
        bucket,
        channel,
        hints: VecDeque::new(),
        heard: Vec::new(),
    };
    let hints = stream::unfold(follower, |mut follower| async move {
        let hint = follower.next().await;
        Some((hint, follower))
    });
    (hints.boxed(), watch)
}

struct Follower<Q> {
    queue: Q,
    bucket: String,
    channel: Channel,
    /// What was received and is to be handed out.
    hints: VecDeque<Hint>,
    /// The messages that it was in.
    heard: Vec<String>,
}

impl<Q: Queue> Follower<Q> {
    async fn next(&mut self) -> Hint {
        loop {
            if let Some(hint) = self.hints.pop_front() {
                return hint;
            }
            // Whoever asks for more has taken what there was.
            self.delete().await;
            self.receive().await;
        }
    }

    async fn delete(&mut self) {
        let heard = std::mem::take(&mut self.heard);
        if heard.is_empty() {
            return;
        }
        if let Err(error) = self.queue.delete(heard).await {
            // They come again, and say nothing new.
            tracing::debug!(error = said(&error), "messages are not deleted");
        }
    }

    async fn receive(&mut self) {
        let messages = match self.queue.receive().await {
            Ok(messages) => messages,
            Err(error) => {
                let pause = self.channel.failed(said(&error));
                return wait(pause).await;
            }
        };
        self.channel.well();
        let some = !messages.is_empty();
        for Message { receipt, body } in messages {
            match hints_of(body.as_bytes(), &self.bucket) {
                Ok(hints) => {
                    self.hints.extend(hints);
                    self.heard.push(receipt);
                }
                Err(error) => self.channel.refused(error.to_string()),
            }
        }
        if some && self.heard.is_empty() {
            wait(PAUSE).await;
        }
    }
}

async fn wait(pause: Duration) {
    tokio::time::sleep_until(Instant::now() + pause).await;
}

/// An error with its cause.
fn said(error: &SourceError) -> String {
    match std::error::Error::source(error) {
        Some(cause) => format!("{error}: {cause}"),
        None => error.to_string(),
    }
}

#[cfg(test)]
mod tests;
