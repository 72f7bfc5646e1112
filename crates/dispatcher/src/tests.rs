//! What this crate's tests share.

use function::Function;
use serde_json::json;

/// A function with AWS's defaults.
pub(crate) fn function(name: &str) -> Function {
    serde_json::from_value(json!({
        "account": "000000000000",
        "name": name,
        "runtime": "provided.al2023",
        "handler": "",
        "role": "",
        "description": "",
        "memory_mib": 128,
        "timeout_seconds": 3,
        "environment": {},
        "code": { "sha256": "", "size": 0 },
        "tags": {},
        "reserved_concurrency": null,
        "asynchronous": {
            "maximum_retry_attempts": 2,
            "maximum_event_age_seconds": 21_600,
            "on_failure": "dead_letters",
        },
        "revision": "00000000-0000-4000-8000-000000000001",
        "last_modified": 0,
    }))
    .expect("the fixture is a function")
}
