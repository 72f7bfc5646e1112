//! Multipart uploads.

use s3s::dto::{
    AbortMultipartUploadInput, AbortMultipartUploadOutput, CompleteMultipartUploadInput,
    CompleteMultipartUploadOutput, CompletedPart as ListedPart, CreateMultipartUploadInput,
    CreateMultipartUploadOutput, Initiator, ListMultipartUploadsInput, ListMultipartUploadsOutput,
    ListPartsInput, ListPartsOutput, MultipartUpload, Part as PartOutput, StorageClass,
    UploadPartInput, UploadPartOutput,
};
use s3s::{S3Result, s3_error};

use super::Door;
use super::bodies::Announced;
use super::call::Call;
use super::fields::{self, attributes_of, checksums_of, set_checksums, signed, timestamp};
use super::lifecycle;
use super::lists::{self, Encoding};
use super::refusals::{refuse, refuse_extras_of_writes};
use super::versions;
use crate::{
    ChecksumAlgorithm, ChecksumKind, CompletedPart, ETag, NewUpload, ObjectKey, Part, PartNumber,
    PartSizes, UploadCompletion, UploadId, UploadInfo,
};

pub(super) async fn create(
    door: &Door,
    call: Call<CreateMultipartUploadInput>,
) -> S3Result<CreateMultipartUploadOutput> {
    let mut input = call.input;
    refuse_extras_of_writes!(input);
    let bucket = door.writable_bucket(&input.bucket, input.expected_bucket_owner.as_deref())?;
    let key = ObjectKey::new(&input.key)?;
    let algorithm = fields::algorithm(input.checksum_algorithm.as_ref())?;
    let kind = input.checksum_type.as_ref().map(fields::kind).transpose()?;
    let checksum = match (algorithm, kind) {
        (Some(algorithm), kind) => {
            Some((algorithm, kind.unwrap_or_else(|| algorithm.default_kind())))
        }
        (None, None) => None,
        (None, Some(_)) => {
            return Err(s3_error!(
                InvalidRequest,
                "The x-amz-checksum-type header can only be used with the x-amz-checksum-algorithm header."
            ));
        }
    };
    let upload = NewUpload {
        attributes: attributes_of!(input),
        checksum,
    };
    let id = door.store.create_upload(&bucket, &key, upload).await?;
    let (upload, _) = door.store.upload(&bucket, &key, &id).await?;
    let (abort_date, abort_rule_id) = lifecycle::abortion(door, &upload).unzip();
    Ok(CreateMultipartUploadOutput {
        bucket: Some(input.bucket),
        key: Some(input.key),
        upload_id: Some(id.to_string()),
        checksum_algorithm: input.checksum_algorithm,
        checksum_type: checksum.map(|(_, kind)| fields::checksum_type(kind)),
        abort_date,
        abort_rule_id,
        ..Default::default()
    })
}

pub(super) async fn part(door: &Door, call: Call<UploadPartInput>) -> S3Result<UploadPartOutput> {
    let mut input = call.input;
    refuse!(input; sse_customer_algorithm => "x-amz-server-side-encryption-customer-algorithm");
    let bucket = door.writable_bucket(&input.bucket, input.expected_bucket_owner.as_deref())?;
    let key = ObjectKey::new(&input.key)?;
    let id = UploadId::parse(&input.upload_id)?;
    let number = PartNumber::new(input.part_number)?;
    let announced = Announced {
        body: input.body.take(),
        length: input.content_length,
        md5: input.content_md5.take(),
        checksums: checksums_of!(input),
        algorithm: fields::algorithm(input.checksum_algorithm.as_ref())?,
    };
    let body = announced.into_body(&call.headers, call.trailers)?;
    let part = door
        .store
        .upload_part(&bucket, &key, &id, number, body)
        .await?;
    let mut output = UploadPartOutput {
        e_tag: Some(fields::etag(&part.etag)),
        ..Default::default()
    };
    set_checksums!(output, &part.checksums);
    Ok(output)
}

pub(super) async fn complete(
    door: &Door,
    call: Call<CompleteMultipartUploadInput>,
) -> S3Result<CompleteMultipartUploadOutput> {
    let mut input = call.input;
    refuse!(input; sse_customer_algorithm => "x-amz-server-side-encryption-customer-algorithm");
    let bucket = door.writable_bucket(&input.bucket, input.expected_bucket_owner.as_deref())?;
    let key = ObjectKey::new(&input.key)?;
    let id = UploadId::parse(&input.upload_id)?;
    let parts = input
        .multipart_upload
        .take()
        .and_then(|upload| upload.parts);
    let parts = parts.filter(|parts| !parts.is_empty());
    let parts = parts.ok_or_else(|| s3_error!(MalformedXML, "name at least one part"))?;
    if let Some(expected) = &input.checksum_type {
        let expected = fields::kind(expected)?;
        let (upload, _) = door.store.upload(&bucket, &key, &id).await?;
        if upload
            .checksum
            .map_or(ChecksumKind::FullObject, |(_, kind)| kind)
            != expected
        {
            return Err(s3_error!(
                InvalidRequest,
                "The x-amz-checksum-type header does not match the checksum type of the upload"
            ));
        }
    }
    let size = input.mpu_object_size.map(u64::try_from).transpose();
    let completion = UploadCompletion {
        parts: parts
            .into_iter()
            .map(listed_part)
            .collect::<S3Result<_>>()?,
        part_sizes: PartSizes::AtLeastFiveMebibytes,
        size: size.map_err(|_| s3_error!(InvalidRequest, "x-amz-mp-object-size is negative"))?,
        checksums: checksums_of!(input),
        condition: fields::write_condition(input.if_match.as_ref(), input.if_none_match.as_ref())?,
        requester: call.requester,
    };
    let object = door
        .store
        .complete_upload(&bucket, &key, &id, completion)
        .await?;
    let mut output = CompleteMultipartUploadOutput {
        location: Some(format!("/{bucket}/{}", Encoding::Url.write(key.as_str()))),
        bucket: Some(input.bucket),
        key: Some(input.key),
        e_tag: Some(fields::etag(object.etag())),
        expiration: lifecycle::expiration(door, &bucket, &object),
        version_id: versions::given(object.version()),
        checksum_type: Some(fields::checksum_type(object.checksums().kind)),
        ..Default::default()
    };
    set_checksums!(output, object.checksums());
    Ok(output)
}

fn listed_part(mut part: ListedPart) -> S3Result<CompletedPart> {
    let number = part
        .part_number
        .ok_or_else(|| s3_error!(MalformedXML, "a part has no number"))?;
    Ok(CompletedPart {
        number: PartNumber::new(number)?,
        checksums: checksums_of!(part),
        etag: part.e_tag.map(|etag| ETag::new(etag.value())),
    })
}

pub(super) async fn abort(
    door: &Door,
    call: Call<AbortMultipartUploadInput>,
) -> S3Result<AbortMultipartUploadOutput> {
    let input = call.input;
    refuse!(input; if_match_initiated_time => "x-amz-if-match-initiated-time");
    let bucket = door.writable_bucket(&input.bucket, input.expected_bucket_owner.as_deref())?;
    let (key, id) = (
        ObjectKey::new(&input.key)?,
        UploadId::parse(&input.upload_id)?,
    );
    door.store.abort_upload(&bucket, &key, &id).await?;
    Ok(AbortMultipartUploadOutput::default())
}

pub(super) async fn list_parts(
    door: &Door,
    call: Call<ListPartsInput>,
) -> S3Result<ListPartsOutput> {
    let input = call.input;
    refuse!(input; sse_customer_algorithm => "x-amz-server-side-encryption-customer-algorithm");
    let bucket = door.writable_bucket(&input.bucket, input.expected_bucket_owner.as_deref())?;
    let (key, id) = (
        ObjectKey::new(&input.key)?,
        UploadId::parse(&input.upload_id)?,
    );
    let size = lists::page_size(input.max_parts, "max-parts")?;
    let marker = input.part_number_marker.unwrap_or(0);
    let (upload, parts) = door.store.upload(&bucket, &key, &id).await?;
    let mut parts = parts
        .into_iter()
        .filter(|part| i32::from(part.number.get()) > marker);
    let page: Vec<Part> = parts
        .by_ref()
        .take(usize::try_from(size).unwrap_or(0))
        .collect();
    let truncated = size > 0 && parts.next().is_some();
    let last = page.last().map(|part| i32::from(part.number.get()));
    let (algorithm, kind) = checksum_of(&upload);
    let (abort_date, abort_rule_id) = lifecycle::abortion(door, &upload).unzip();
    Ok(ListPartsOutput {
        abort_date,
        abort_rule_id,
        bucket: Some(input.bucket),
        key: Some(input.key),
        upload_id: Some(input.upload_id),
        is_truncated: Some(truncated),
        max_parts: Some(size),
        part_number_marker: Some(marker),
        next_part_number_marker: last.filter(|_| truncated),
        parts: Some(page.iter().map(part_output).collect()),
        owner: Some(lists::owner(door)),
        initiator: Some(initiator(door)),
        storage_class: Some(StorageClass::from_static(StorageClass::STANDARD)),
        checksum_algorithm: algorithm,
        checksum_type: kind,
        ..Default::default()
    })
}

fn part_output(part: &Part) -> PartOutput {
    let mut output = PartOutput {
        part_number: Some(i32::from(part.number.get())),
        size: Some(signed(part.size)),
        e_tag: Some(fields::etag(&part.etag)),
        last_modified: Some(timestamp(part.uploaded)),
        ..Default::default()
    };
    set_checksums!(output, &part.checksums);
    output
}

pub(super) async fn list(
    door: &Door,
    call: Call<ListMultipartUploadsInput>,
) -> S3Result<ListMultipartUploadsOutput> {
    let input = call.input;
    let bucket = door.writable_bucket(&input.bucket, input.expected_bucket_owner.as_deref())?;
    let encoding = Encoding::of(input.encoding_type.as_ref())?;
    let size = lists::page_size(input.max_uploads, "max-uploads")?;
    let uploads = door.store.uploads(&bucket)?;
    let page = UploadPage::of(&uploads, &input, usize::try_from(size).unwrap_or(0));
    let uploads = page.uploads.iter().map(|upload| {
        let (checksum_algorithm, checksum_type) = checksum_of(upload);
        MultipartUpload {
            key: Some(encoding.write(upload.key.as_str())),
            upload_id: Some(upload.id.to_string()),
            initiated: Some(timestamp(upload.initiated)),
            initiator: Some(initiator(door)),
            owner: Some(lists::owner(door)),
            storage_class: Some(StorageClass::from_static(StorageClass::STANDARD)),
            checksum_algorithm,
            checksum_type,
        }
    });
    Ok(ListMultipartUploadsOutput {
        uploads: Some(uploads.collect()),
        common_prefixes: lists::common_prefixes(&page.prefixes, encoding),
        is_truncated: Some(page.next.is_some()),
        next_key_marker: page.next.as_ref().map(|(key, _)| encoding.write(key)),
        next_upload_id_marker: page.next.and_then(|(_, upload)| upload),
        bucket: Some(input.bucket),
        prefix: input.prefix.map(|text| encoding.write(&text)),
        delimiter: input.delimiter.map(|text| encoding.write(&text)),
        key_marker: input.key_marker.map(|text| encoding.write(&text)),
        upload_id_marker: input.upload_id_marker,
        max_uploads: Some(size),
        encoding_type: input.encoding_type,
        ..Default::default()
    })
}

/// A page of uploads in progress, which are ordered by key and then by time.
#[derive(Default)]
struct UploadPage<'a> {
    uploads: Vec<&'a UploadInfo>,
    prefixes: Vec<String>,
    /// When there is more: the key or common prefix, and the upload of that key, to go on after.
    next: Option<(String, Option<String>)>,
}

impl<'a> UploadPage<'a> {
    fn of(uploads: &'a [UploadInfo], input: &ListMultipartUploadsInput, size: usize) -> Self {
        let prefix = input.prefix.as_deref().unwrap_or_default();
        let delimiter = input.delimiter.as_deref().filter(|text| !text.is_empty());
        let key_marker = input.key_marker.as_deref().unwrap_or_default();
        let id_marker = input.upload_id_marker.as_deref().unwrap_or_default();
        let mut page = Self::default();
        let mut last = None;
        // With an upload's marker its key is gone on with after that upload, else after the key.
        let mut past_marker = id_marker.is_empty();
        for upload in uploads {
            let key = upload.key.as_str();
            if !key.starts_with(prefix) || key < key_marker {
                continue;
            }
            if key == key_marker {
                if !id_marker.is_empty() && upload.id.to_string() == id_marker {
                    past_marker = true;
                    continue;
                }
                if id_marker.is_empty() || !past_marker {
                    continue;
                }
            }
            let group = delimiter.and_then(|delimiter| {
                let at = key[prefix.len()..].find(delimiter)?;
                Some(&key[..prefix.len() + at + delimiter.len()])
            });
            if group.is_some_and(|group| {
                group <= key_marker || page.prefixes.last().is_some_and(|last| last == group)
            }) {
                continue;
            }
            if page.uploads.len() + page.prefixes.len() == size {
                page.next = last;
                break;
            }
            match group {
                Some(group) => {
                    page.prefixes.push(group.to_owned());
                    last = Some((group.to_owned(), None));
                }
                None => {
                    page.uploads.push(upload);
                    last = Some((key.to_owned(), Some(upload.id.to_string())));
                }
            }
        }
        page
    }
}

fn checksum_of(
    upload: &UploadInfo,
) -> (
    Option<s3s::dto::ChecksumAlgorithm>,
    Option<s3s::dto::ChecksumType>,
) {
    let name =
        |algorithm: ChecksumAlgorithm| s3s::dto::ChecksumAlgorithm::from_static(algorithm.name());
    match upload.checksum {
        Some((algorithm, kind)) => (Some(name(algorithm)), Some(fields::checksum_type(kind))),
        None => (None, None),
    }
}

fn initiator(door: &Door) -> Initiator {
    Initiator {
        id: Some(door.store.account().to_owned()),
        display_name: None,
    }
}
