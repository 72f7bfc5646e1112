//! Kafka protocol door over the event log.
