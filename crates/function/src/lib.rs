//! Functions and triggers: what users deploy and what connects it to events.
//!
//! Domain types with AWS's words and limits, the filter language, code packages, images, and the registry
//! that keeps them in an object store. What this crate does not know: Lambda's JSON, how an
//! instance runs, how events are dispatched.

mod alias;
mod bucket_match;
mod filter;
mod function;
mod image;
mod layer;
pub mod limits;
mod logging;
mod package;
mod registry;
mod trigger;
mod version;

pub use alias::{AdditionalVersion, Alias, Draw, Weight, WeightError};
pub use bucket_match::BucketMatch;
pub use filter::{Filter, FilterError};
pub use function::{
    AsyncPolicy, CodePackage, Destination, Function, FunctionName, NameError, PolicyStatement,
    ProvisionedConcurrency,
};
pub use image::{Arriving, ImageCode, ImageFault, ImageFaultKind, ImageOverrides, ImageRun};
pub use layer::{LayerId, LayerName, LayerNameError, LayerVersion, NewLayerVersion};
pub use logging::{LogLevel, Logging};
pub use package::{Allowance, PackageError, unpack, unpack_within};
pub use registry::{
    Attributes, Error, NewAlias, NewCode, NewFunction, NewVersion, Registry, Writers,
};
pub use trigger::{
    Backoff, BatchPolicy, Ordering, Problem, RetryPolicy, StartingPosition, Trigger, TriggerId,
    TriggerSource,
};
pub use version::{AliasName, QualifiedName, Qualifier, QualifierError, Version};
