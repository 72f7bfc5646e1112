//! PutObjectTagging and its counterparts.

use s3s::S3Result;
use s3s::dto::{
    DeleteObjectTaggingInput, DeleteObjectTaggingOutput, GetObjectTaggingInput,
    GetObjectTaggingOutput, PutObjectTaggingInput, PutObjectTaggingOutput, Tag,
};

use super::Door;
use super::call::Call;
use super::versions;
use crate::{ObjectKey, Tags, TagsChange};

pub(super) async fn put(
    door: &Door,
    call: Call<PutObjectTaggingInput>,
) -> S3Result<PutObjectTaggingOutput> {
    let input = call.input;
    let version = versions::named(input.version_id.as_ref())?;
    let bucket = door.writable_bucket(&input.bucket, input.expected_bucket_owner.as_deref())?;
    let key = ObjectKey::new(&input.key)?;
    let change = TagsChange::Put(tags(input.tagging.tag_set)?);
    let requester = call.requester;
    let object = door
        .store
        .change_tags(&bucket, &key, version, change, requester)
        .await?;
    Ok(PutObjectTaggingOutput {
        version_id: versions::shown(door, &bucket, object.version()),
    })
}

pub(super) async fn get(
    door: &Door,
    call: Call<GetObjectTaggingInput>,
) -> S3Result<GetObjectTaggingOutput> {
    let input = call.input;
    let version = versions::named(input.version_id.as_ref())?;
    let bucket = door.owned_bucket(&input.bucket, input.expected_bucket_owner.as_deref())?;
    let key = ObjectKey::new(&input.key)?;
    let object = door.object(&bucket, &key, version).await?;
    Ok(GetObjectTaggingOutput {
        tag_set: tag_set(&object.attributes().tags),
        version_id: versions::shown(door, &bucket, object.version()),
    })
}

pub(super) async fn delete(
    door: &Door,
    call: Call<DeleteObjectTaggingInput>,
) -> S3Result<DeleteObjectTaggingOutput> {
    let input = call.input;
    let version = versions::named(input.version_id.as_ref())?;
    let bucket = door.writable_bucket(&input.bucket, input.expected_bucket_owner.as_deref())?;
    let key = ObjectKey::new(&input.key)?;
    let object = door
        .store
        .change_tags(&bucket, &key, version, TagsChange::Delete, call.requester)
        .await?;
    Ok(DeleteObjectTaggingOutput {
        version_id: versions::shown(door, &bucket, object.version()),
    })
}

/// Tags from S3's list of them.
pub(super) fn tags(set: Vec<Tag>) -> S3Result<Tags> {
    let pairs = set.into_iter();
    let pairs = pairs.map(|tag| (tag.key.unwrap_or_default(), tag.value.unwrap_or_default()));
    Ok(Tags::new(pairs)?)
}

/// Tags as S3's list of them.
pub(super) fn tag_set(tags: &Tags) -> Vec<Tag> {
    let pairs = tags.iter();
    let tags = pairs.map(|(key, value)| Tag {
        key: Some(key.to_owned()),
        value: Some(value.to_owned()),
    });
    tags.collect()
}
