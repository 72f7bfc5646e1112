//! The contract's own suite.

use crate::node::OnKafka;

event_log::conformance_tests!(match OnKafka::new() {
    Some(log) => log,
    None => return,
});
