//! Totals orders: a Lambda function on the upstream Rust runtime client.
//!
//! An order is `{"order": …, "items": [{"price": 1.25, "quantity": 2}, …]}`. It comes by itself, in a
//! direct invocation, or as the value of a topic's record, in a batch. Sums are kept in whole cents.

mod batch;
mod order;

use lambda_runtime::{Error, LambdaEvent, service_fn};
use serde_json::Value;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    lambda_runtime::run(service_fn(handle)).await
}

async fn handle(event: LambdaEvent<Value>) -> Result<Value, Error> {
    Ok(batch::total(event.payload, &mut std::io::stdout().lock())?)
}
