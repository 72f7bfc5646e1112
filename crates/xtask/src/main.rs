//! Automation: test, lint, bench, and the servers that tests run against.
fn main() {}
