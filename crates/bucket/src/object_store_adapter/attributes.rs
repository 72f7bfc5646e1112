//! Attributes in `object_store`'s words and in ours.

use object_store::{Attribute, Attributes, TagSet};

use super::unsupported;
use crate::{Object, ObjectAttributes};

/// What a writer says about an object; what buckets do not keep is refused by name.
pub(super) fn object_attributes(
    attributes: &Attributes,
    tags: &TagSet,
) -> object_store::Result<ObjectAttributes> {
    if !tags.encoded().is_empty() {
        return Err(unsupported("tags"));
    }
    let mut kept = ObjectAttributes::default();
    for (attribute, value) in attributes {
        let value = value.to_string();
        match attribute {
            Attribute::CacheControl => kept.headers.cache_control = Some(value),
            Attribute::ContentDisposition => kept.headers.content_disposition = Some(value),
            Attribute::ContentEncoding => kept.headers.content_encoding = Some(value),
            Attribute::ContentLanguage => kept.headers.content_language = Some(value),
            Attribute::ContentType => kept.headers.content_type = Some(value),
            Attribute::Metadata(name) => {
                kept.metadata.insert(name.to_ascii_lowercase(), value);
            }
            Attribute::StorageClass => return Err(unsupported("storage classes")),
            other => return Err(unsupported(&format!("attribute {other:?}"))),
        }
    }
    Ok(kept)
}

pub(super) fn attributes_of(object: &Object) -> Attributes {
    let ObjectAttributes {
        headers, metadata, ..
    } = object.attributes().clone();
    let headers = [
        (Attribute::CacheControl, headers.cache_control),
        (Attribute::ContentDisposition, headers.content_disposition),
        (Attribute::ContentEncoding, headers.content_encoding),
        (Attribute::ContentLanguage, headers.content_language),
        (Attribute::ContentType, headers.content_type),
    ];
    let headers = headers
        .into_iter()
        .filter_map(|(attribute, value)| Some((attribute, value?)));
    let metadata = metadata
        .into_iter()
        .map(|(name, value)| (Attribute::Metadata(name.into()), value));
    headers.chain(metadata).collect()
}
