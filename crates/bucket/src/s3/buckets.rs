//! CreateBucket, DeleteBucket, HeadBucket, GetBucketLocation, ListBuckets.

use std::collections::BTreeMap;

use s3s::dto::{
    Bucket, BucketCannedACL, BucketLocationConstraint, CreateBucketInput, CreateBucketOutput,
    DeleteBucketInput, DeleteBucketOutput, GetBucketLocationInput, GetBucketLocationOutput,
    HeadBucketInput, HeadBucketOutput, ListBucketsInput, ListBucketsOutput, ObjectOwnership,
};
use s3s::{S3Result, s3_error};

use super::Door;
use super::call::Call;
use super::fields::timestamp;
use super::lists;
use super::refusals::{not_applied, refuse};
use crate::BucketName;

/// The region that S3's answers leave out.
const CLASSIC_REGION: &str = "us-east-1";
/// The most buckets of a page (AWS, API reference, 2026).
const MAX_PAGE: i32 = 10_000;

pub(super) async fn create(
    door: &Door,
    call: Call<CreateBucketInput>,
) -> S3Result<CreateBucketOutput> {
    let input = call.input;
    refuse!(input;
        grant_full_control => "x-amz-grant-full-control",
        grant_read => "x-amz-grant-read",
        grant_read_acp => "x-amz-grant-read-acp",
        grant_write => "x-amz-grant-write",
        grant_write_acp => "x-amz-grant-write-acp",
    );
    match input.acl.as_ref().map(BucketCannedACL::as_str) {
        None | Some(BucketCannedACL::PRIVATE) => {}
        Some(_) => return Err(not_applied("x-amz-acl other than private")),
    }
    match input.object_ownership.as_ref().map(ObjectOwnership::as_str) {
        None | Some(ObjectOwnership::BUCKET_OWNER_ENFORCED) => {}
        Some(_) => {
            return Err(not_applied(
                "x-amz-object-ownership other than BucketOwnerEnforced",
            ));
        }
    }
    if input.object_lock_enabled_for_bucket == Some(true) {
        return Err(not_applied("x-amz-bucket-object-lock-enabled"));
    }
    if let Some(configuration) = &input.create_bucket_configuration {
        refuse!(configuration; bucket => "a bucket type", location => "a location");
        let region = configuration.location_constraint.as_ref();
        let region = region.map_or(CLASSIC_REGION, BucketLocationConstraint::as_str);
        if region != door.store.region() && !region.is_empty() {
            return Err(s3_error!(
                IllegalLocationConstraintException,
                "The {region} location constraint is incompatible with region {}",
                door.store.region()
            ));
        }
    }
    let name = BucketName::new(&input.bucket)?;
    if name.is_reserved() {
        return Err(s3_error!(
            InvalidBucketName,
            "names that begin with tidemill- are reserved"
        ));
    }
    if door.notifications.is_watched(&name) {
        return Err(s3_error!(
            BucketAlreadyExists,
            "a connector has a folder, or a bucket of another store, appear by that name"
        ));
    }
    if door.store.bucket(&name).is_err() {
        door.notifications.bucket_deleted(&name).await?;
    }
    door.store.create_bucket(&name).await?;
    Ok(CreateBucketOutput {
        location: Some(format!("/{name}")),
    })
}

pub(super) async fn delete(
    door: &Door,
    call: Call<DeleteBucketInput>,
) -> S3Result<DeleteBucketOutput> {
    let input = call.input;
    let bucket = door.writable_bucket(&input.bucket, input.expected_bucket_owner.as_deref())?;
    door.store.delete_bucket(&bucket).await?;
    door.notifications.bucket_deleted(&bucket).await?;
    Ok(DeleteBucketOutput {})
}

pub(super) async fn head(door: &Door, call: Call<HeadBucketInput>) -> S3Result<HeadBucketOutput> {
    let input = call.input;
    let bucket = door.owned_bucket(&input.bucket, input.expected_bucket_owner.as_deref())?;
    door.expect_bucket(&bucket)?;
    Ok(HeadBucketOutput {
        bucket_region: Some(door.store.region().to_owned()),
        ..Default::default()
    })
}

pub(super) async fn location(
    door: &Door,
    call: Call<GetBucketLocationInput>,
) -> S3Result<GetBucketLocationOutput> {
    let input = call.input;
    let bucket = door.owned_bucket(&input.bucket, input.expected_bucket_owner.as_deref())?;
    door.expect_bucket(&bucket)?;
    let region = Some(door.store.region()).filter(|region| *region != CLASSIC_REGION);
    Ok(GetBucketLocationOutput {
        location_constraint: region.map(|region| region.to_owned().into()),
    })
}

pub(super) async fn list(door: &Door, call: Call<ListBucketsInput>) -> S3Result<ListBucketsOutput> {
    let input = call.input;
    let page = match input.max_buckets.unwrap_or(MAX_PAGE) {
        page @ 1..=MAX_PAGE => usize::try_from(page).unwrap_or(1),
        _ => {
            return Err(s3_error!(
                InvalidArgument,
                "max-buckets must be 1 to {MAX_PAGE}"
            ));
        }
    };
    let after = input
        .continuation_token
        .as_deref()
        .map(lists::from_token)
        .transpose()?;
    let prefix = input.prefix.as_deref().unwrap_or_default();
    let here = input
        .bucket_region
        .as_deref()
        .is_none_or(|region| region == door.store.region());
    let connected = door.connected_buckets().await?;
    // A bucket of ours comes before somebody else's files of that name.
    let all = connected.into_iter().chain(door.store.buckets());
    let all: BTreeMap<_, _> = all.map(|it| (it.name, it.created)).collect();
    let mut buckets: Vec<Bucket> = all
        .into_iter()
        .filter(|(name, _)| here && !name.is_reserved())
        .filter(|(name, _)| name.as_str().starts_with(prefix))
        .filter(|(name, _)| after.as_deref().is_none_or(|after| name.as_str() > after))
        .map(|(name, created)| Bucket {
            name: Some(name.to_string()),
            creation_date: Some(timestamp(created)),
            bucket_region: Some(door.store.region().to_owned()),
        })
        .collect();
    let truncated = buckets.len() > page;
    buckets.truncate(page);
    let last = buckets.last().and_then(|bucket| bucket.name.as_deref());
    Ok(ListBucketsOutput {
        continuation_token: last.filter(|_| truncated).map(lists::token),
        buckets: Some(buckets),
        owner: Some(lists::owner(door)),
        prefix: input.prefix,
    })
}
