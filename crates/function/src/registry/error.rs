//! What can go wrong at the registry's seam, grouped by what the caller must do.

use std::io;
use std::path::PathBuf;

use crate::{AliasName, FunctionName, LayerId, PackageError, QualifiedName, TriggerId, Version};

/// A change or a read that did not happen. Nothing of a failed change is visible.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Reject: there is no such function.
    #[error("function {function} does not exist")]
    UnknownFunction {
        /// The function asked for.
        function: FunctionName,
    },
    /// Reject: a function of that name exists already.
    #[error("function {function} exists already")]
    FunctionExists {
        /// The function asked for.
        function: FunctionName,
    },
    /// Reject: the function has no such version or alias.
    #[error("function {target} does not exist")]
    UnknownQualifier {
        /// What was asked for.
        target: QualifiedName,
    },
    /// Reject: the function has an alias of that name already.
    #[error("alias {alias} of function {function} exists already")]
    AliasExists {
        /// The function.
        function: FunctionName,
        /// The alias.
        alias: AliasName,
    },
    /// Reject: an alias points at the version.
    #[error("version {version} of function {function} is what alias {alias} points at")]
    VersionInUse {
        /// The function.
        function: FunctionName,
        /// The version.
        version: Version,
        /// One such alias.
        alias: AliasName,
    },
    /// Reject: the code of `$LATEST` is not the one that the caller means.
    #[error("the code of function {function} has the SHA-256 {current}, not the one given")]
    CodeMismatch {
        /// The function.
        function: FunctionName,
        /// The SHA-256 of its code, base64.
        current: String,
    },
    /// Reject: there is no such trigger.
    #[error("trigger {trigger} does not exist")]
    UnknownTrigger {
        /// The trigger asked for.
        trigger: TriggerId,
    },
    /// Reject: a trigger of that id exists already.
    #[error("trigger {trigger} exists already")]
    TriggerExists {
        /// The trigger asked for.
        trigger: TriggerId,
    },
    /// Reject: there is no such version of a layer.
    #[error("layer {layer} does not exist")]
    UnknownLayer {
        /// The version asked for.
        layer: LayerId,
    },
    /// Reject: code and layers together unpack to more than a function may have.
    #[error("function {function} and its layers hold {bytes} bytes unzipped")]
    LayersTooLarge {
        /// The function.
        function: FunctionName,
        /// How many bytes they are.
        bytes: u64,
    },
    /// Reject: the caller's revision is not the current one.
    #[error("function {function}, or its alias, has another revision than the one given")]
    RevisionMismatch {
        /// The function asked for.
        function: FunctionName,
    },
    /// Reject: the code package is not one.
    #[error("the code package is refused")]
    Package(#[from] PackageError),
    /// Reject: the container image is not one, or is not to be had; its own text says which.
    #[error("the container image is refused")]
    Image(#[source] container_image::Error),
    /// Reject: code of the other kind was given: a package for an image, or the other way round.
    #[error("function {function} has code of another kind")]
    OtherPackageType {
        /// The function.
        function: FunctionName,
    },
    /// Retry later: the function waits for an image.
    #[error("function {function} waits for its image")]
    ImagePending {
        /// The function.
        function: FunctionName,
    },
    /// Conflict: another writer changed the document in the meantime. It has been loaded again;
    /// decide anew.
    #[error("{document} was changed by another writer")]
    Conflict {
        /// The document's path in the store.
        document: String,
    },
    /// Fatal for this document: what the store holds is not what the registry wrote.
    #[error("{document} in the store is damaged: {reason}")]
    Damaged {
        /// The document's path in the store.
        document: String,
        /// What does not fit.
        reason: String,
    },
    /// Retry later: the store failed.
    #[error("{act}")]
    Store {
        /// The failed act and the path.
        act: String,
        /// Why.
        #[source]
        source: object_store::Error,
    },
    /// Retry later: the folder of unpacked code cannot be read or written.
    #[error("use the code folder at {path}")]
    Cache {
        /// The folder.
        path: PathBuf,
        /// The operating system's error.
        #[source]
        source: io::Error,
    },
}
