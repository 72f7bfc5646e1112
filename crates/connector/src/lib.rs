//! The contract for sources of events and the one runner that drives them.
