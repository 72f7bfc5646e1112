//! InitProducerId: ids for idempotent and transactional producers.

use std::time::Duration;

use event_log::{ProducerIdentity, TransactionStep, TransactionalId};
use kafka_protocol::ResponseError;
use kafka_protocol::messages::{InitProducerIdRequest, InitProducerIdResponse, ProducerId};

use crate::broker::Broker;
use crate::error_code::Refusal;

/// How long a transaction may be allowed to stay open (Kafka's `transaction.max.timeout.ms`).
const MAX_TIMEOUT: Duration = Duration::from_secs(15 * 60);
/// From this version on clients know that there is a newer life of their transactional id.
const FENCING: i16 = 4;
/// What a producer says that was nobody before.
const NOBODY: ProducerIdentity = ProducerIdentity { id: -1, epoch: -1 };

/// Hands out an id. A producer without a transactional id gets one that was never given before, even
/// when it brings one along, as a Kafka broker answers it too.
pub(crate) async fn init(
    broker: &Broker,
    request: InitProducerIdRequest,
    version: i16,
) -> InitProducerIdResponse {
    let given = if request.transactional_id.is_some() {
        enroll(broker, &request, version).await
    } else {
        let id = broker.stored.producer_id().await;
        id.map(|id| ProducerIdentity { id, epoch: 0 })
            .map_err(Refusal::from)
    };
    match given {
        Ok(producer) => InitProducerIdResponse::default()
            .with_producer_id(ProducerId(producer.id))
            .with_producer_epoch(producer.epoch),
        Err(refusal) => InitProducerIdResponse::default()
            .with_error_code(refusal.code())
            .with_producer_id(ProducerId(NOBODY.id))
            .with_producer_epoch(NOBODY.epoch),
    }
}

/// Begins a life of a transactional id.
async fn enroll(
    broker: &Broker,
    request: &InitProducerIdRequest,
    version: i16,
) -> Result<ProducerIdentity, Refusal> {
    let invalid = |reason: &str| Refusal::new(ResponseError::InvalidRequest, reason);
    let id = request.transactional_id.as_ref();
    let id = id.map_or("", |id| id.as_str());
    if id.is_empty() {
        return Err(invalid("a transactional id is not empty"));
    }
    let timeout = u64::try_from(request.transaction_timeout_ms).map(Duration::from_millis);
    let timeout = timeout
        .ok()
        .filter(|timeout| (Duration::from_millis(1)..=MAX_TIMEOUT).contains(timeout))
        .ok_or_else(|| {
            Refusal::new(
                ResponseError::InvalidTransactionTimeout,
                format!(
                    "a transaction may be open for 1 ms to {} min",
                    MAX_TIMEOUT.as_secs() / 60
                ),
            )
        })?;
    let was = ProducerIdentity {
        id: request.producer_id.0,
        epoch: request.producer_epoch,
    };
    // Versions without the fields leave them at the schema's default.
    let current = (version >= 3 && was != NOBODY).then_some(was);
    if current.is_some_and(|was| was.id < 0 || was.epoch < 0) {
        return Err(invalid(
            "a producer has both an id and an epoch, or neither",
        ));
    }
    let step = TransactionStep::Enroll {
        timeout,
        current,
        now: broker.config.clock.now(),
    };
    let id = TransactionalId::new(id);
    let enrolled = broker.stored.transact(&id, step);
    enrolled
        .await
        .map_err(|error| Refusal::from(error).fenced_since(FENCING, version))
}
