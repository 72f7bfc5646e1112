"""boto3 against buckets: what its users do every day, asserted."""
import hashlib
import json
import os
import urllib.request

import boto3
from botocore.client import Config
from botocore.exceptions import ClientError

s3 = boto3.client("s3")
# Keys that a server over a file system cannot hold are asked of ours only.
keys_are_free = "BUCKETS_OF" not in os.environ


def refused(code, call, **arguments):
    try:
        call(**arguments)
    except ClientError as error:
        assert error.response["Error"]["Code"] == code, error
        return
    raise AssertionError(f"{call.__name__} was not refused with {code}")


s3.create_bucket(Bucket="data")
# Another server may have others' buckets, too.
assert "data" in [bucket["Name"] for bucket in s3.list_buckets()["Buckets"]]
refused("NoSuchBucket", s3.list_objects_v2, Bucket="absent")
refused("NoSuchKey", s3.get_object, Bucket="data", Key="absent")

# Every checksum that the SDK offers without native code, small and large, odd names.
for algorithm in ["CRC32", "SHA1", "SHA256"]:
    for size in [0, 1, 65_536, 65_537, 1_000_000]:
        body = bytes(size)
        key = f"{algorithm}/{size}"
        put = s3.put_object(Bucket="data", Key=key, Body=body, ChecksumAlgorithm=algorithm,
                            ContentType="text/x-test", Metadata={"colour": "blue"})
        got = s3.get_object(Bucket="data", Key=key, ChecksumMode="ENABLED")
        assert got["Body"].read() == body
        assert got["ETag"] == put["ETag"] == f'"{hashlib.md5(body).hexdigest()}"'
        assert got["ContentType"] == "text/x-test" and got["Metadata"] == {"colour": "blue"}
for key in ["ü ñ+%25 ", "a.b-c_d"] + (["p", "p/", "p/q", "../x", "k" * 900] if keys_are_free else []):
    s3.put_object(Bucket="data", Key=key, Body=key.encode())
    assert s3.get_object(Bucket="data", Key=key)["Body"].read() == key.encode(), key
refused("BadDigest", s3.put_object, Bucket="data", Key="bad", Body=b"x", ContentMD5="1B2M2Y8AsgTpgAmY7PhCfg==")
refused("NoSuchKey", s3.get_object, Bucket="data", Key="bad")

# Ranges, conditions, listing, copying.
s3.put_object(Bucket="data", Key="digits", Body=b"0123456789")
assert s3.get_object(Bucket="data", Key="digits", Range="bytes=2-4")["Body"].read() == b"234"
assert s3.get_object(Bucket="data", Key="digits", Range="bytes=-3")["Body"].read() == b"789"
refused("InvalidRange", s3.get_object, Bucket="data", Key="digits", Range="bytes=20-30")
refused("PreconditionFailed", s3.put_object, Bucket="data", Key="digits", Body=b"", IfNoneMatch="*")
refused("PreconditionFailed", s3.put_object, Bucket="data", Key="digits", Body=b"", IfMatch='"00"')
refused("PreconditionFailed", s3.put_object, Bucket="data", Key="digits", Body=b"", IfMatch="00")
refused("PreconditionFailed", s3.get_object, Bucket="data", Key="digits", IfMatch="is.none-of_ours")
tag = s3.head_object(Bucket="data", Key="digits")["ETag"].strip('"')
assert s3.get_object(Bucket="data", Key="digits", IfMatch=tag)["ETag"].strip('"') == tag
for n in range(25):
    s3.put_object(Bucket="data", Key=f"list/{n // 10}/{n}", Body=b"")
pages = s3.get_paginator("list_objects_v2").paginate(Bucket="data", Prefix="list/", PaginationConfig={"PageSize": 7})
assert len([item for page in pages for item in page["Contents"]]) == 25
listing = s3.list_objects_v2(Bucket="data", Prefix="list/", Delimiter="/")
assert [prefix["Prefix"] for prefix in listing["CommonPrefixes"]] == ["list/0/", "list/1/", "list/2/"]
s3.copy_object(Bucket="data", Key="copy", CopySource={"Bucket": "data", "Key": "digits"})
assert s3.get_object(Bucket="data", Key="copy")["Body"].read() == b"0123456789"

# Multipart, presigned, deletion.
upload = s3.create_multipart_upload(Bucket="data", Key="parts")["UploadId"]
parts = []
for number, fill in enumerate([b"a", b"b"], start=1):
    body = fill * (5 << 20)
    part = s3.upload_part(Bucket="data", Key="parts", UploadId=upload, PartNumber=number, Body=body)
    parts.append({"PartNumber": number, "ETag": part["ETag"]})
done = s3.complete_multipart_upload(Bucket="data", Key="parts", UploadId=upload, MultipartUpload={"Parts": parts})
assert done["ETag"].endswith('-2"')
assert s3.get_object(Bucket="data", Key="parts", Range=f"bytes={(5 << 20) - 1}-{5 << 20}")["Body"].read() == b"ab"
signing = boto3.client("s3", config=Config(signature_version="s3v4"))
url = signing.generate_presigned_url("get_object", Params={"Bucket": "data", "Key": "digits"}, ExpiresIn=60)
assert urllib.request.urlopen(url).read() == b"0123456789"
refused("BucketNotEmpty", s3.delete_bucket, Bucket="data")
keys = [item["Key"] for page in s3.get_paginator("list_objects_v2").paginate(Bucket="data") for item in page["Contents"]]
for start in range(0, len(keys), 1000):
    objects = [{"Key": key} for key in keys[start:start + 1000]]
    assert not s3.delete_objects(Bucket="data", Delete={"Objects": objects}).get("Errors")
s3.delete_bucket(Bucket="data")
assert "data" not in [bucket["Name"] for bucket in s3.list_buckets()["Buckets"]]

# What is not supported is refused by name, not ignored.
s3.create_bucket(Bucket="plain")
if not keys_are_free:
    raise SystemExit(0)
try:
    rule = {"ApplyServerSideEncryptionByDefault": {"SSEAlgorithm": "AES256"}}
    s3.put_bucket_encryption(Bucket="plain", ServerSideEncryptionConfiguration={"Rules": [rule]})
    raise AssertionError("encryption was accepted")
except ClientError as error:
    assert error.response["ResponseMetadata"]["HTTPStatusCode"] == 501, error
print(json.dumps({"ok": True}))
