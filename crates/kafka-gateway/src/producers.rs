//! InitProducerId: ids for idempotent producers.

use kafka_protocol::messages::{InitProducerIdRequest, InitProducerIdResponse, ProducerId};

use crate::broker::Broker;
use crate::error_code::Refusal;

/// Hands out an id that was never given before. A producer that brings one along gets a new one all
/// the same, as a Kafka broker answers outside of transactions.
pub(crate) async fn init(
    broker: &Broker,
    request: InitProducerIdRequest,
) -> InitProducerIdResponse {
    let given = if request.transactional_id.is_some() {
        Err(Refusal::transactional())
    } else {
        broker.stored.producer_id().await.map_err(Refusal::from)
    };
    match given {
        Ok(id) => InitProducerIdResponse::default()
            .with_producer_id(ProducerId(id))
            .with_producer_epoch(0),
        Err(refusal) => InitProducerIdResponse::default()
            .with_error_code(refusal.code())
            .with_producer_epoch(-1),
    }
}
