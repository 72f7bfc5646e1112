// The AWS SDK for JavaScript: the story that every client of buckets goes through.
const s3sdk = require('@aws-sdk/client-s3');
const { Upload } = require('@aws-sdk/lib-storage');
const { getSignedUrl } = require('@aws-sdk/s3-request-presigner');
const assert = require('node:assert');
const { createHash } = require('node:crypto');
const { Readable } = require('node:stream');

// The address, the region and the keys are in the environment, as for any other server.
const s3 = new s3sdk.S3Client({ forcePathStyle: true });
const Bucket = 'story';
const awkward = ['a b+c%d.txt', 'ünï/日本/🦀', 'a//b', `q'"<&>?#;=@`];

const ask = (operation, input) => s3.send(new s3sdk[`${operation}Command`]({ Bucket, ...input }));
const put = (Key, Body, more = {}) => ask('PutObject', { Key, Body, ...more });
const read = async (Key, more = {}) => Buffer.from(await (await ask('GetObject', { Key, ...more })).Body.transformToByteArray());
const digest = (bytes) => createHash('sha256').update(bytes).digest('hex');
const pattern = (length) => Buffer.alloc(length, 'all work and no play, ');

function* pieces(bytes) {
  for (let at = 0; at < bytes.length; at += 10_000) yield bytes.subarray(at, at + 10_000);
}

async function refused(promise, type, status) {
  const error = await promise.then(() => assert.fail(`not refused with ${type}`), (error) => error);
  if (typeof type === 'function') assert(error instanceof type, error);
  else assert.strictEqual(error.name, type);
  assert.strictEqual(error.$metadata.httpStatusCode, status);
}

async function main() {
  await ask('CreateBucket');
  await ask('HeadBucket');
  assert.deepStrictEqual((await ask('ListBuckets')).Buckets.map((bucket) => bucket.Name), [Bucket]);
  const configuration = [{ Id: 'told', LambdaFunctionArn: process.env.FUNCTION_ARN,
    Events: ['s3:ObjectCreated:*', 's3:ObjectRemoved:*', 's3:ObjectTagging:*'],
    Filter: { Key: { FilterRules: [{ Name: 'Prefix', Value: '' }] } } }];
  await ask('PutBucketNotificationConfiguration',
    { NotificationConfiguration: { LambdaFunctionConfigurations: configuration } });
  const set = await ask('GetBucketNotificationConfiguration');
  assert.deepStrictEqual(set.LambdaFunctionConfigurations[0].Events, configuration[0].Events);

  // Small and empty ones, odd names, what a head says of them.
  const plain = await put('plain.txt', 'hello', { ContentType: 'text/plain; charset=utf-8', Metadata: { colour: 'blue' } });
  assert.strictEqual(plain.ETag, `"${createHash('md5').update('hello').digest('hex')}"`);
  assert(plain.ChecksumCRC32, 'the checksum that the SDK computes is kept');
  const head = await ask('HeadObject', { Key: 'plain.txt', ChecksumMode: 'ENABLED' });
  assert.deepStrictEqual([head.ContentLength, head.ContentType, head.Metadata, head.ETag, head.ChecksumCRC32],
    [5, 'text/plain; charset=utf-8', { colour: 'blue' }, plain.ETag, plain.ChecksumCRC32]);
  await put('empty', '');
  assert.strictEqual((await read('empty')).length, 0);
  for (const key of awkward) {
    await put(key, key);
    assert.strictEqual((await read(key)).toString(), key);
  }

  // A stream whose length is told, and streams whose length is not.
  const file = pattern(70_000);
  await put('file', Readable.from(pieces(file)), { ContentLength: file.length });
  const upload = (Key, bytes) => new Upload({ client: s3, partSize: 5 << 20,
    params: { Bucket, Key, Body: Readable.from(pieces(bytes)) } }).done();
  await upload('streamed', pattern(300_000));
  const large = pattern((12 << 20) + 3);
  const whole = await upload('large', large);
  assert(whole.ETag.endsWith('-3"'), whole.ETag);
  for (const [key, bytes] of [['file', file], ['streamed', pattern(300_000)], ['large', large]]) {
    assert.strictEqual(digest(await read(key)), digest(bytes), key);
  }
  const edge = (5 << 20) - 3;
  assert.deepStrictEqual(await read('large', { Range: `bytes=${edge}-${edge + 5}` }), large.subarray(edge, edge + 6));
  assert.deepStrictEqual(await read('large', { Range: 'bytes=-4' }), large.subarray(-4));
  const { UploadId } = await ask('CreateMultipartUpload', { Key: 'abandoned' });
  await ask('UploadPart', { Key: 'abandoned', UploadId, PartNumber: 1, Body: 'part' });
  assert.strictEqual((await ask('ListParts', { Key: 'abandoned', UploadId })).Parts[0].Size, 4);
  assert.strictEqual((await ask('ListMultipartUploads')).Uploads[0].UploadId, UploadId);
  await ask('AbortMultipartUpload', { Key: 'abandoned', UploadId });

  // Conditions.
  await put('once', '1', { IfNoneMatch: '*' });
  await refused(put('once', '2', { IfNoneMatch: '*' }), 'PreconditionFailed', 412);
  assert.strictEqual((await read('once', { IfMatch: (await ask('HeadObject', { Key: 'once' })).ETag })).toString(), '1');
  await refused(read('once', { IfMatch: plain.ETag }), 'PreconditionFailed', 412);
  await refused(read('plain.txt', { IfNoneMatch: plain.ETag }), s3sdk.S3ServiceException, 304);

  // Listing.
  const numbers = Array.from({ length: 25 }, (_, n) => `list/${Math.floor(n / 10)}/${n}`);
  await Promise.all(numbers.map((key) => put(key, key)));
  const listed = [];
  for await (const page of s3sdk.paginateListObjectsV2({ client: s3, pageSize: 7 }, { Bucket, Prefix: 'list/' })) {
    assert(page.KeyCount <= 7);
    listed.push(...page.Contents.map((item) => item.Key));
  }
  assert.deepStrictEqual(listed, [...numbers].sort());
  const folders = await ask('ListObjectsV2', { Prefix: 'list/', Delimiter: '/' });
  assert.deepStrictEqual(folders.CommonPrefixes.map((prefix) => prefix.Prefix), ['list/0/', 'list/1/', 'list/2/']);
  const all = (await ask('ListObjectsV2')).Contents.map((item) => item.Key);
  assert.deepStrictEqual(awkward.filter((key) => !all.includes(key)), []);

  // Copies and tags.
  await ask('CopyObject', { Key: 'copy of 日本', CopySource: `${Bucket}/${encodeURIComponent(awkward[0])}` });
  assert.strictEqual((await read('copy of 日本')).toString(), awkward[0]);
  const TagSet = [{ Key: 'a', Value: '1' }, { Key: 'k ü', Value: 'v/+=' }];
  await ask('PutObjectTagging', { Key: 'plain.txt', Tagging: { TagSet } });
  assert.deepStrictEqual((await ask('GetObjectTagging', { Key: 'plain.txt' })).TagSet, TagSet);
  await ask('DeleteObjectTagging', { Key: 'plain.txt' });
  assert.deepStrictEqual((await ask('GetObjectTagging', { Key: 'plain.txt' })).TagSet, []);

  // Links for those who have no keys.
  const sign = (operation, Key) => getSignedUrl(s3, new s3sdk[`${operation}Command`]({ Bucket, Key }), { expiresIn: 60 });
  const got = await fetch(await sign('GetObject', awkward[0]));
  assert.deepStrictEqual([got.status, await got.text()], [200, awkward[0]]);
  const given = await fetch(await sign('PutObject', 'by link'), { method: 'PUT', body: 'linked' });
  assert.strictEqual(given.status, 200, await given.text());
  assert.strictEqual((await read('by link')).toString(), 'linked');
  assert.strictEqual((await fetch(`${process.env.AWS_ENDPOINT_URL}/${Bucket}/plain.txt`)).status, 403);

  // What is refused is an error with a type.
  await refused(read('absent'), s3sdk.NoSuchKey, 404);
  await refused(ask('HeadObject', { Key: 'absent' }), s3sdk.NotFound, 404);
  await refused(ask('ListObjectsV2', { Bucket: 'absent' }), s3sdk.NoSuchBucket, 404);
  await refused(ask('CreateBucket'), s3sdk.BucketAlreadyOwnedByYou, 409);

  // Deletion, one by one, many at once, and of a whole bucket.
  await ask('DeleteObject', { Key: 'empty' });
  const gone = [...numbers, ...awkward];
  const deleted = await ask('DeleteObjects', { Delete: { Objects: gone.map((Key) => ({ Key })) } });
  assert.deepStrictEqual(deleted.Deleted.map((item) => item.Key).sort(), [...gone].sort());
  await ask('CreateBucket', { Bucket: 'gone' });
  await put('last', '', { Bucket: 'gone' });
  await refused(ask('DeleteBucket', { Bucket: 'gone' }), 'BucketNotEmpty', 409);
  await ask('DeleteObject', { Bucket: 'gone', Key: 'last' });
  await ask('DeleteBucket', { Bucket: 'gone' });
  await refused(ask('HeadBucket', { Bucket: 'gone' }), s3sdk.NotFound, 404);
}

main().catch((error) => {
  console.error(error);
  process.exitCode = 1;
});
