//! The AWS Lambda API: unmodified SDKs, command lines and Terraform talk to it.
//!
//! [`router`] answers requests: it verifies the signature, finds the operation by method and path,
//! reads the parameters, acts on the registry or the invoker, and answers in AWS's shapes. Every
//! operation of the service model is known by name; those that are not built are refused by name,
//! and so is every parameter that would not be applied. [`LambdaPayloads`] is the other half of
//! AWS's JSON: what handlers see of a trigger's records and what they answer.
//!
//! What this crate does not know: how functions run, how topics are kept, S3's API, configuration.

mod authorization;
mod error;
mod functions;
mod invoke;
mod layers;
mod mappings;
mod members;
mod operation;
mod payload;
mod query;
mod reference;
mod router;
pub mod sigv4;
mod state;

use error::ApiError;

pub use payload::LambdaPayloads;
pub use router::router;
pub use state::{
    CodeSource, CodeSourceError, Images, ModuleError, Modules, OwnKafka, State, TableStream,
    TableStreams,
};
