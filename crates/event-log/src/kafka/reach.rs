//! Whether the cluster lets us in, asked before anything else. Its client says why not besides the calls that
//! fail, and only to who asks it.

use std::io;
use std::time::Duration;

use parking_lot::Mutex;
use rdkafka::ClientContext;
use rdkafka::consumer::{BaseConsumer, Consumer as _, ConsumerContext};
use rdkafka::error::{KafkaError, RDKafkaErrorCode as Code};
use tokio::time::Instant;

use super::client::{Clients, PATIENCE, failed};
use crate::Error;

const ACT: &str = "reach the cluster";
/// How long one question may take before who was refused hears of it.
const LOOK: Duration = Duration::from_secs(1);
/// How long the client is given to say the next thing that it has to say.
const MOMENT: Duration = Duration::from_millis(10);

/// What the client has said of its connections.
#[derive(Debug, Default)]
struct Said {
    /// A refusal, which does not pass by itself, and what to do.
    refused: Mutex<Option<String>>,
    /// Why the last connection failed.
    failed: Mutex<Option<String>>,
}

impl ClientContext for Said {
    fn error(&self, error: KafkaError, reason: &str) {
        let mend = match error.rdkafka_error_code() {
            Some(Code::AllBrokersDown) => return,
            Some(Code::Authentication) => {
                "see to sasl.username, to what sasl.password is read from, and to sasl.mechanism"
            }
            _ if reason.contains("certificate verify failed") => {
                "ssl.ca.location names the certificate of the authority that signed the brokers', and bootstrap and advertised.listeners name hosts that these are for"
            }
            Some(Code::SSL) => "see to security.protocol and ssl.*",
            _ => {
                *self.failed.lock() = Some(reason.to_owned());
                return;
            }
        };
        *self.refused.lock() = Some(format!("{reason}: {mend}"));
    }
}

impl ConsumerContext for Said {}

/// The brokers' ids.
///
/// # Errors
/// [`Error::Unavailable`] with the client's reason: at once when we are refused, else when nobody has
/// answered for [`PATIENCE`].
pub(super) async fn reach(clients: &Clients) -> Result<Vec<i32>, Error> {
    let client = clients.base();
    // These calls of librdkafka wait on the thread that makes them.
    let asked = tokio::task::spawn_blocking(move || {
        let asking: BaseConsumer<Said> = client
            .create_with_context(Said::default())
            .map_err(|error| failed("make a client of the cluster", error))?;
        let until = Instant::now() + PATIENCE;
        loop {
            let error = match asking.fetch_metadata(None, LOOK) {
                Ok(found) => return Ok(found.brokers().iter().map(|it| it.id()).collect()),
                Err(error) => error,
            };
            while asking.poll(MOMENT).is_some() {}
            let said = asking.context();
            if let Some(reason) = said.refused.lock().take() {
                return Err(unavailable(reason));
            }
            if Instant::now() >= until {
                return Err(match said.failed.lock().take() {
                    Some(reason) => unavailable(reason),
                    None => failed(ACT, error),
                });
            }
        }
    });
    asked.await.unwrap_or_else(|died| Err(unavailable(died)))
}

fn unavailable(reason: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Error {
    Error::Unavailable {
        act: ACT.to_owned(),
        source: io::Error::other(reason),
    }
}
