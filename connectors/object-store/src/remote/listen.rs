//! The listen API of MinIO-compatible stores: a request whose answer never ends, and has a line of JSON for
//! each change.
//!
//! What changes while there is no connection is never said. So everything is looked at whenever there is
//! one again; how soon that may be grows while connections do not last.
//!
//! MinIO as of October 2025 (its commit 52eee5a2f) does not send what it writes, not even the answer's head,
//! so that nothing comes but a timeout.

use std::collections::VecDeque;
use std::time::Duration;

use bytes::Bytes;
use clock::SharedClock;
use futures::StreamExt as _;
use futures::stream::{self, BoxStream};
use object_store::client::{HttpClient, HttpConnector as _, HttpError, ReqwestConnector};
use object_store::{ClientOptions, Result};
use tokio::time::{Instant, timeout};

use super::s3::{S3Place, S3Words};
use super::{Refusal, Words as _, failed, query, refused};
use crate::Hint;
use crate::channel::{Channel, ChannelWatch};
use crate::notification::hints_of_either;

/// How often the store is asked to say that it is still there. MinIO answers at all when it says so for the
/// first time, and only then it is certain that it tells of changes.
const PING_SECONDS: &str = "2";

/// How long nothing at all may come before the connection counts as lost.
const SILENCE: Duration = Duration::from_secs(30);

/// The longest line that is read: a record with a key of 1,024 bytes and metadata has some thousand.
const LONGEST_LINE: usize = 1 << 20;

/// The hints at objects of a bucket, with keys that begin with `prefix`, that its store sends on a
/// connection, as long as the stream is read, and how that fares.
///
/// # Errors
/// TLS cannot be set up.
pub fn listen_hints(
    place: S3Place,
    prefix: Option<&str>,
    clock: SharedClock,
) -> Result<(BoxStream<'static, Hint>, ChannelWatch)> {
    listening(place, prefix, clock, SILENCE)
}

fn listening(
    place: S3Place,
    prefix: Option<&str>,
    clock: SharedClock,
    silence: Duration,
) -> Result<(BoxStream<'static, Hint>, ChannelWatch)> {
    let bucket = place.bucket.clone();
    let words = S3Words::new(place);
    let plain = words.address().starts_with("http://");
    let options = ClientOptions::new()
        .with_allow_http(plain)
        .with_timeout_disabled();
    let client = ReqwestConnector::default().connect(&options)?;
    let url = query(
        words.address(),
        &[
            ("events", Some("s3:ObjectCreated:*")),
            ("events", Some("s3:ObjectRemoved:*")),
            ("ping", Some(PING_SECONDS)),
            ("prefix", prefix),
        ],
    );
    let (channel, watch) = Channel::new(format!("connection to {}", words.address()), clock);
    let listener = Listener {
        client,
        words,
        url,
        bucket,
        silence,
        channel,
        connection: None,
        hints: VecDeque::new(),
    };
    let hints = stream::unfold(listener, |mut listener| async move {
        let hint = listener.next().await;
        Some((hint, listener))
    });
    Ok((hints.boxed(), watch))
}

struct Listener {
    client: HttpClient,
    words: S3Words,
    /// What is asked for.
    url: String,
    bucket: String,
    silence: Duration,
    channel: Channel,
    connection: Option<Connection>,
    hints: VecDeque<Hint>,
}

struct Connection {
    body: BoxStream<'static, Result<Bytes, HttpError>>,
    /// The beginning of a line.
    line: Vec<u8>,
}

impl Listener {
    async fn next(&mut self) -> Hint {
        loop {
            if let Some(hint) = self.hints.pop_front() {
                return hint;
            }
            let gone_on = match &mut self.connection {
                Some(_) => self.read().await,
                None => self.connect().await,
            };
            if let Err(error) = gone_on {
                self.connection = None;
                let pause = self.channel.failed(error.to_string());
                tokio::time::sleep_until(Instant::now() + pause).await;
            }
        }
    }

    async fn connect(&mut self) -> Result<()> {
        let request = self.words.signed(&self.url)?;
        let answer = timeout(self.silence, self.client.execute(request)).await;
        let answer = answer.map_err(|_| failed("the store does not answer"))?;
        let answer = answer.map_err(failed)?;
        let status = answer.status().as_u16();
        let kind = answer.headers().get("content-type");
        let kind = kind.and_then(|kind| kind.to_str().ok()).unwrap_or_default();
        match status {
            // AWS and others do not know the parameters, and list the bucket.
            200 if kind.contains("xml") => {
                return Err(failed(
                    "the store has no listen API: it has answered with a listing",
                ));
            }
            200 => {}
            status => {
                let body = timeout(self.silence, answer.into_body().bytes()).await;
                let body = body.map_err(failed)?.map_err(failed)?;
                let refusal = std::str::from_utf8(&body).ok();
                let refusal = refusal.and_then(|text| self.words.refusal(text));
                let refusal: Refusal = refusal.unwrap_or_default();
                return Err(refused(self.words.address(), status, refusal));
            }
        }
        self.connection = Some(Connection {
            body: answer.into_body().bytes_stream(),
            line: Vec::new(),
        });
        self.channel.well();
        self.hints.push_back(Hint::Anything);
        Ok(())
    }

    /// Reads on until something has come.
    async fn read(&mut self) -> Result<()> {
        let Some(Connection { body, line }) = &mut self.connection else {
            return Ok(());
        };
        let some = timeout(self.silence, body.next()).await;
        let some = some.map_err(|_| failed("nothing comes on the connection any more"))?;
        let some = some.ok_or_else(|| failed("the store has ended the connection"))?;
        line.extend_from_slice(&some.map_err(failed)?);
        let whole = line
            .iter()
            .rposition(|byte| *byte == b'\n')
            .map_or(0, |at| at + 1);
        let rest = line.split_off(whole);
        for line in std::mem::replace(line, rest).split(|byte| *byte == b'\n') {
            if line.trim_ascii().is_empty() {
                continue;
            }
            match hints_of_either(line, &self.bucket) {
                Ok(hints) => self.hints.extend(hints),
                Err(error) => self.channel.refused(error.to_string()),
            }
        }
        // Some stores send blanks to say that they are still there.
        let blanks = line.len() - line.trim_ascii_start().len();
        line.drain(..blanks);
        match line.len() > LONGEST_LINE {
            true => Err(failed("a line of the store's does not end")),
            false => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests;
