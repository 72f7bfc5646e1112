//! Bucket notifications as somebody else's business.

use async_trait::async_trait;

use crate::BucketName;

/// Keeps which functions a bucket's events go to. The door translates S3's notification
/// configurations into calls of this; who implements it turns them into triggers on the topic
/// `bucket.<name>`.
#[async_trait]
pub trait Notifications: Send + Sync + 'static {
    /// Makes `functions` the bucket's whole configuration, durably. They have passed the door's
    /// checks: ids are unique, events known, filters do not overlap.
    ///
    /// # Errors
    /// [`NotificationError::UnknownFunction`]: nothing was changed.
    async fn replace(
        &self,
        bucket: &BucketName,
        functions: Vec<FunctionNotification>,
    ) -> Result<(), NotificationError>;

    /// The bucket's configuration, in the order it was given.
    ///
    /// # Errors
    /// [`NotificationError::Unavailable`].
    async fn get(
        &self,
        bucket: &BucketName,
    ) -> Result<Vec<FunctionNotification>, NotificationError>;

    /// Whether the bucket is another store's, whose events are in the log: it can be configured as
    /// our own can, and none of ours may have its name.
    fn is_watched(&self, _bucket: &BucketName) -> bool {
        false
    }

    /// The bucket is gone: forget its configuration. Also called before a bucket is created, so
    /// that a bucket made again never inherits what an interrupted deletion left behind.
    ///
    /// # Errors
    /// [`NotificationError::Unavailable`].
    async fn bucket_deleted(&self, bucket: &BucketName) -> Result<(), NotificationError>;
}

/// Events of one bucket that go to one function.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FunctionNotification {
    /// The configuration's id, unique within the bucket.
    pub id: String,
    /// The function, as the client wrote it.
    pub function_arn: String,
    /// Which events, in AWS's words, for example `s3:ObjectCreated:*`. At least one.
    pub events: Vec<String>,
    /// Only keys that begin so.
    pub prefix: Option<String>,
    /// Only keys that end so.
    pub suffix: Option<String>,
}

/// Why a notification configuration was not kept.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum NotificationError {
    /// Reject: there is no such function.
    #[error("function {arn} does not exist")]
    UnknownFunction {
        /// The function asked for.
        arn: String,
    },
    /// Reject: something else about the configuration cannot be applied.
    #[error("notification {id} is invalid: {reason}")]
    Invalid {
        /// The configuration's id.
        id: String,
        /// What is wrong with it.
        reason: String,
    },
    /// Retry later: the registry did not answer.
    #[error("reach the registry of triggers")]
    Unavailable {
        /// The cause.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
}
