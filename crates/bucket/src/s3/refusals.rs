//! Parameters that are not applied, refused by name.

use s3s::dto::{ObjectCannedACL, StorageClass};
use s3s::{S3Error, S3Result, s3_error};

/// Refuses a request that sets one of the named fields.
macro_rules! refuse {
    ($input:expr; $($field:ident => $name:literal),* $(,)?) => {
        $(
            if $input.$field.is_some() {
                return Err($crate::s3::refusals::not_applied($name));
            }
        )*
    };
}

/// Refuses encryption, locks and grants: what writes may ask for and no bucket has.
macro_rules! refuse_extras_of_writes {
    ($input:expr) => {
        $crate::s3::refusals::refuse!($input;
            server_side_encryption => "x-amz-server-side-encryption",
            sse_customer_algorithm => "x-amz-server-side-encryption-customer-algorithm",
            ssekms_key_id => "x-amz-server-side-encryption-aws-kms-key-id",
            ssekms_encryption_context => "x-amz-server-side-encryption-context",
            bucket_key_enabled => "x-amz-server-side-encryption-bucket-key-enabled",
            object_lock_legal_hold_status => "x-amz-object-lock-legal-hold",
            object_lock_mode => "x-amz-object-lock-mode",
            object_lock_retain_until_date => "x-amz-object-lock-retain-until-date",
            website_redirect_location => "x-amz-website-redirect-location",
            grant_full_control => "x-amz-grant-full-control",
            grant_read => "x-amz-grant-read",
            grant_read_acp => "x-amz-grant-read-acp",
            grant_write_acp => "x-amz-grant-write-acp",
        );
        $crate::s3::refusals::acl($input.acl.as_ref())?;
        $crate::s3::refusals::storage_class($input.storage_class.as_ref())?;
    };
}

pub(super) use {refuse, refuse_extras_of_writes};

pub(super) fn not_applied(name: &str) -> S3Error {
    s3_error!(NotImplemented, "{name} is not implemented")
}

/// The owner has everything and nobody else anything: grants that say just that are taken.
pub(super) fn acl(acl: Option<&ObjectCannedACL>) -> S3Result<()> {
    match acl.map(ObjectCannedACL::as_str) {
        None | Some(ObjectCannedACL::PRIVATE | ObjectCannedACL::BUCKET_OWNER_FULL_CONTROL) => {
            Ok(())
        }
        Some(other) => Err(s3_error!(
            AccessControlListNotSupported,
            "The bucket does not allow ACLs: {other}"
        )),
    }
}

pub(super) fn storage_class(class: Option<&StorageClass>) -> S3Result<()> {
    match class.map(StorageClass::as_str) {
        None | Some(StorageClass::STANDARD) => Ok(()),
        Some(other) => Err(s3_error!(
            InvalidStorageClass,
            "storage class {other} is not implemented"
        )),
    }
}
