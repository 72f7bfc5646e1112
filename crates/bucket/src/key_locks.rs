//! One writer per key.

use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;

use tokio::sync::{Mutex, OwnedMutexGuard};

use crate::{BucketName, ObjectKey};

/// Enough that two of some hundred concurrent writers rarely meet by accident.
const STRIPES: usize = 1024;

/// Locks by key, shared by hash. A lock is held over check, append and apply: across an await on
/// purpose, since that is what makes a conditional write a compare-and-append. A holder takes no
/// second one, so there is no order to keep.
#[derive(Debug)]
pub(crate) struct KeyLocks {
    stripes: Vec<Arc<Mutex<()>>>,
    hasher: RandomState,
}

impl KeyLocks {
    pub(crate) fn new() -> Self {
        Self {
            stripes: (0..STRIPES).map(|_| Arc::default()).collect(),
            hasher: RandomState::new(),
        }
    }

    pub(crate) async fn lock(&self, bucket: &BucketName, key: &ObjectKey) -> OwnedMutexGuard<()> {
        let hash = self.hasher.hash_one((bucket, key));
        let stripe = usize::try_from(hash % STRIPES as u64).expect("below the number of stripes");
        Arc::clone(&self.stripes[stripe]).lock_owned().await
    }
}
