//! Who answers S3 requests.

use std::sync::Arc;

use access::Keyring;

use crate::backing::Buckets;
use crate::connectors::ConnectedFolders;
use crate::front::S3Door;
use crate::notifications::RegistryNotifications;

/// The door to our own buckets and to connected folders; a door that rests where buckets are elsewhere.
pub(super) fn open(
    buckets: &Buckets,
    keys: &Arc<Keyring>,
    notifications: impl FnOnce() -> RegistryNotifications,
) -> S3Door {
    match buckets {
        Buckets::Own(buckets) => {
            let notifications = notifications();
            let folders = ConnectedFolders(notifications.connectors.clone());
            S3Door::Buckets(bucket::s3::service(
                buckets.clone(),
                keys.clone(),
                Arc::new(notifications),
                Arc::new(folders),
            ))
        }
        Buckets::Elsewhere(store) => {
            let reason = format!(
                "buckets are not served here: they are those of the configured store, {} (region {}); talk to it with its own credentials",
                store.address(),
                store.region
            );
            tracing::info!("the S3 port rests: {reason}");
            S3Door::Rests(reason.into())
        }
    }
}
