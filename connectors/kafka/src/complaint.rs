//! Why brokers turn a client away: it says so besides the calls that fail, and mostly in OpenSSL's words.

use std::time::Duration;

use connector::SourceError;
use parking_lot::Mutex;
use rdkafka::ClientContext;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::consumer::{BaseConsumer, Consumer as _, ConsumerContext};
use rdkafka::error::{KafkaError, KafkaResult, RDKafkaErrorCode as Code};
use rdkafka::metadata::Metadata;
use tokio::time::Instant;

use crate::Connection;
use crate::discovery::ANSWER;
use crate::failure::{classify, rejected, unavailable};

/// How long a question may take before it is asked again, and whoever was refused hears of it.
const LOOK: Duration = Duration::from_secs(1);
/// How long a client is given to say the next thing that it has to say. Without any time it may say nothing.
pub(crate) const MOMENT: Duration = Duration::from_millis(10);
/// In everything that OpenSSL says.
const OPENSSL: &str = ":SSL routines:";
/// What it says of a certificate that does not prove what it should.
const UNPROVEN: &str = "certificate verify failed";

/// What a client has heard of its connections.
#[derive(Debug, Default)]
pub(crate) struct Complaints(Mutex<Heard>);

#[derive(Debug, Default)]
struct Heard {
    /// The last refusal, which does not pass by itself.
    refused: Option<(Option<Code>, String)>,
    /// Why the last connection failed, in whatever way.
    failed: Option<String>,
}

/// Why there is no answer.
#[derive(Debug)]
pub(crate) enum Failure {
    /// As the call that failed says.
    Bare(KafkaError),
    /// No connection came about, for the reason that the client gives.
    Unreached { error: KafkaError, reason: String },
    /// A connection did not prove who one is, on either side.
    Refused { code: Option<Code>, reason: String },
}

impl Complaints {
    /// Takes note of a failure.
    pub(crate) fn hear(&self, error: &KafkaError, reason: &str) {
        tracing::debug!(%error, reason, "a client of another cluster");
        let code = error.rdkafka_error_code();
        let mut heard = self.0.lock();
        match code {
            Some(Code::AllBrokersDown) => {}
            Some(Code::Authentication | Code::SSL) => {
                heard.refused = Some((code, reason.to_owned()));
            }
            // Which code a failed handshake has depends on which side noticed first.
            _ if reason.contains(OPENSSL) => heard.refused = Some((code, reason.to_owned())),
            _ => heard.failed = Some(reason.to_owned()),
        }
    }

    /// A refusal that was heard of since it was asked last.
    pub(crate) fn take(&self) -> Option<Failure> {
        let (code, reason) = self.0.lock().refused.take()?;
        Some(Failure::Refused { code, reason })
    }

    /// Why there was no answer, after `error` has said that there was none.
    fn why_not(&self, error: KafkaError) -> Failure {
        match self.0.lock().failed.take() {
            Some(reason) => Failure::Unreached { error, reason },
            None => Failure::Bare(error),
        }
    }

    /// Asks for topics by `ask`, for as long as the cluster may take for an answer. Who is refused by the
    /// brokers hears of that at once, and nobody waits for an answer that will not come. `poll` has the
    /// client say what it has to say.
    pub(crate) fn metadata(
        &self,
        ask: impl Fn(Duration) -> KafkaResult<Metadata>,
        poll: impl Fn(),
    ) -> Result<Metadata, Failure> {
        let until = Instant::now() + ANSWER;
        loop {
            match ask(LOOK) {
                Ok(metadata) => return Ok(metadata),
                Err(error) => {
                    poll();
                    if let Some(refused) = self.take() {
                        return Err(refused);
                    }
                    if Instant::now() >= until {
                        return Err(self.why_not(error));
                    }
                }
            }
        }
    }
}

impl ClientContext for Complaints {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, line: &str) {
        pass_on(level, facility, line);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        self.hear(&error, reason);
    }
}

/// Warnings of the client, and nothing below.
pub(crate) fn pass_on(level: RDKafkaLogLevel, facility: &str, line: &str) {
    match level {
        RDKafkaLogLevel::Emerg
        | RDKafkaLogLevel::Alert
        | RDKafkaLogLevel::Critical
        | RDKafkaLogLevel::Error => tracing::error!(facility, "librdkafka: {line}"),
        RDKafkaLogLevel::Warning => tracing::warn!(facility, "librdkafka: {line}"),
        RDKafkaLogLevel::Notice | RDKafkaLogLevel::Info | RDKafkaLogLevel::Debug => {}
    }
}

impl ConsumerContext for Complaints {}

impl From<KafkaError> for Failure {
    fn from(error: KafkaError) -> Self {
        Self::Bare(error)
    }
}

impl Failure {
    /// The failed act and its class, with what to do. May ask the cluster again; waits on the thread that
    /// calls it.
    pub(crate) fn of(self, act: String, connection: &Connection) -> SourceError {
        let (code, reason) = match self {
            Self::Bare(error) => return classify(act, error),
            Self::Unreached { error, reason } => {
                return unavailable(act, format!("{error}: {reason}"));
            }
            Self::Refused { code, reason } => (code, reason),
        };
        let mend = if code == Some(Code::Authentication) {
            "see to sasl.username, to what sasl.password is read from, and to sasl.mechanism"
        } else if reason.contains(UNPROVEN) {
            unproven(connection).mend()
        } else if reason.contains("alert") {
            "the cluster does not take this client's certificate, or asks for one: ssl.certificate.location and ssl.key.location"
        } else {
            "see to security.protocol and ssl.*"
        };
        let said = format!("{reason}: {mend}");
        match code {
            Some(Code::Authentication) => rejected(act, said),
            // Tried again: certificates are renewed in place. It is also what a connection that breaks
            // off at the wrong moment comes to.
            _ => unavailable(act, said),
        }
    }
}

/// What a certificate does not prove.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Unproven {
    Authority,
    Name,
}

impl Unproven {
    const fn mend(self) -> &'static str {
        match self {
            Self::Authority => {
                "no authority that is trusted here has signed the broker's certificate, or it has expired: ssl.ca.location names the authority's"
            }
            Self::Name => {
                "the broker's certificate is not for the host name by which it is reached: use names that it has, in bootstrap and in the brokers' advertised.listeners"
            }
        }
    }
}

/// OpenSSL's words are the same for both, so it is tried once more without regard to names, and without
/// credentials, for there is no knowing who would get them.
fn unproven(connection: &Connection) -> Unproven {
    let mut client = connection.client();
    for name in connection.properties.keys() {
        if name.starts_with("sasl.") {
            client.remove(name);
        }
    }
    client
        .set("security.protocol", "ssl")
        .set("ssl.endpoint.identification.algorithm", "none");
    let Ok(asking) =
        client.create_with_context::<_, BaseConsumer<Complaints>>(Complaints::default())
    else {
        return Unproven::Authority;
    };
    let poll = || while asking.poll(MOMENT).is_some() {};
    let until = Instant::now() + LOOK * 3;
    while Instant::now() < until {
        if asking.fetch_metadata(Some(""), LOOK).is_ok() {
            return Unproven::Name;
        }
        poll();
        if let Some(Failure::Refused { reason, .. }) = asking.context().take()
            && reason.contains(UNPROVEN)
        {
            return Unproven::Authority;
        }
    }
    // Turned away for want of credentials, then, which comes after certificates.
    Unproven::Name
}
