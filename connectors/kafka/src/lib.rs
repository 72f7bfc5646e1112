//! A foreign Kafka cluster's topics as a source of events.
