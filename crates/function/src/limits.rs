//! Every bound on functions and triggers.
//!
//! Sources: *model* is the Lambda service model of botocore 1.43 (2026), *guide* the quotas page of
//! the AWS Lambda developer guide (2026). Bounds of our own say so.

use std::ops::RangeInclusive;

/// Characters of a function's name (model, `FunctionName`).
pub const FUNCTION_NAME_CHARS: usize = 64;
/// Characters of an alias's name (model, `Alias`).
pub const ALIAS_NAME_CHARS: usize = 128;
/// Characters of a handler (model, `Handler`).
pub const HANDLER_CHARS: usize = 128;
/// Characters of a description (model, `Description`).
pub const DESCRIPTION_CHARS: usize = 256;
/// Memory of a function in MiB (guide; the model's 32,768 is for managed instances only).
pub const MEMORY_MIB: RangeInclusive<u32> = 128..=10_240;
/// Memory of a function that names none, in MiB (model).
pub const DEFAULT_MEMORY_MIB: u32 = 128;
/// Timeout of a function in seconds (guide).
pub const TIMEOUT_SECONDS: RangeInclusive<u32> = 1..=900;
/// Timeout of a function that names none, in seconds (model).
pub const DEFAULT_TIMEOUT_SECONDS: u32 = 3;
/// Bytes of all environment variables, names and values together (guide).
pub const ENVIRONMENT_BYTES: usize = 4 * 1024;
/// MiB of `/tmp` (guide).
pub const EPHEMERAL_STORAGE_MIB: RangeInclusive<u32> = 512..=10_240;
/// `/tmp` of a function that names no size, in MiB (guide).
pub const DEFAULT_EPHEMERAL_STORAGE_MIB: u32 = 512;
/// Tags of one function or mapping (AWS tagging guide, 2026).
pub const TAGS: usize = 50;
/// Characters of a tag's key (AWS tagging guide, 2026).
pub const TAG_KEY_CHARS: usize = 128;
/// Characters of a tag's value (AWS tagging guide, 2026).
pub const TAG_VALUE_CHARS: usize = 256;
/// Bytes of a resource policy as JSON (guide).
pub const POLICY_BYTES: usize = 20 * 1024;

/// Bytes of an archive that is uploaded in the request (guide: 50 MB).
pub const ZIP_BYTES: usize = 50 * 1024 * 1024;
/// Bytes of an unpacked package (guide: 250 MB).
pub const UNZIPPED_BYTES: u64 = 250 * 1024 * 1024;
/// Bytes of an image (guide: 10 GB).
pub const IMAGE_BYTES: u64 = 10 * 1024 * 1024 * 1024;
/// Entries of all layers of an image: ours, so that one cannot fill the file table.
pub const IMAGE_ENTRIES: u64 = 1_000_000;
/// Words of an image's entry point or command (model, `StringList`).
pub const IMAGE_WORDS: usize = 1_500;
/// Characters of an image's working directory (model, `WorkingDirectory`).
pub const WORKING_DIRECTORY_CHARS: usize = 1_000;
/// Bytes of a function's image settings (guide: 16 KB).
pub const IMAGE_SETTINGS_BYTES: usize = 16 * 1024;
/// Files and folders of a package: ours, so that an archive cannot fill the file table.
pub const PACKAGE_ENTRIES: usize = 100_000;
/// Bytes of a path inside a package: ours, Linux's `PATH_MAX` less room for the folder.
pub const PACKAGE_PATH_BYTES: usize = 3_072;

/// Characters of a layer's name (model, `LayerName`).
pub const LAYER_NAME_CHARS: usize = 140;
/// Layers of one function (guide).
pub const LAYERS: usize = 5;
/// Runtimes that a layer names (model, `CompatibleRuntimes`).
pub const COMPATIBLE_RUNTIMES: usize = 15;
/// Architectures that a layer names (model, `CompatibleArchitectures`).
pub const COMPATIBLE_ARCHITECTURES: usize = 2;
/// Characters of a layer's licence (model, `LicenseInfo`).
pub const LICENSE_CHARS: usize = 512;

/// Bytes of a synchronous event and of its answer (guide).
pub const SYNC_PAYLOAD_BYTES: usize = 6 * 1024 * 1024;
/// Bytes of an asynchronous event (guide).
pub const ASYNC_PAYLOAD_BYTES: usize = 1024 * 1024;
/// Bytes of a client context, base64 (model, `Invoke`).
pub const CLIENT_CONTEXT_BYTES: usize = 3_583;

/// Concurrent invocations of an account that asked for no other limit (guide).
pub const ACCOUNT_CONCURRENCY: u32 = 1_000;
/// Of those, how many may not be reserved by functions (guide).
pub const UNRESERVED_CONCURRENCY: u32 = 100;

/// Attempts after the first of an asynchronous invocation (model, `MaximumRetryAttempts`).
pub const ASYNC_RETRY_ATTEMPTS: RangeInclusive<u32> = 0..=2;
/// Seconds that an asynchronous event is kept trying (model, `MaximumEventAgeInSeconds`).
pub const ASYNC_EVENT_AGE_SECONDS: RangeInclusive<u32> = 60..=21_600;

/// Events in one batch (model, `BatchSize`).
pub const BATCH_SIZE: RangeInclusive<u32> = 1..=10_000;
/// Events in one batch of a stream when none is named (model).
pub const DEFAULT_BATCH_SIZE: u32 = 100;
/// Seconds to wait for a batch (model, `MaximumBatchingWindowInSeconds`).
pub const BATCHING_WINDOW_SECONDS: RangeInclusive<u32> = 0..=300;
/// Milliseconds to wait for a batch of a Kafka topic when none is named (model).
pub const DEFAULT_KAFKA_BATCHING_WINDOW_MS: u32 = 500;
/// Attempts after the first of a mapping (model; −1 is "for ever").
pub const MAPPING_RETRY_ATTEMPTS: RangeInclusive<i64> = -1..=10_000;
/// Seconds after which a mapping gives a record up (model; −1 is "never").
pub const MAPPING_RECORD_AGE_SECONDS: RangeInclusive<i64> = 60..=604_800;
/// Patterns of one mapping (guide: 5, raised to 10 on request).
pub const FILTERS: usize = 10;
/// Characters of one pattern (model, `Pattern`).
pub const FILTER_CHARS: usize = 4_096;
/// Depth of one pattern: ours, so that matching needs a bounded stack.
pub const FILTER_DEPTH: usize = 64;
/// Characters of a consumer group id (model, `URI`).
pub const CONSUMER_GROUP_CHARS: usize = 200;
