"""boto3 against versioned buckets: what AWS's guide says about them, asserted."""
import json

import boto3
from botocore.exceptions import ClientError

s3 = boto3.client("s3")
B = {"Bucket": "versions"}


def refused(code, status, call, **arguments):
    try:
        call(**arguments)
    except ClientError as error:
        assert error.response["Error"]["Code"] == code, error
        assert error.response["ResponseMetadata"]["HTTPStatusCode"] == status, error
        return error.response["ResponseMetadata"]["HTTPHeaders"]
    raise AssertionError(f"{call.__name__} was not refused with {code}")


def put(key, body, **arguments):
    return s3.put_object(**B, Key=key, Body=body, **arguments).get("VersionId")


def body(key, **version):
    return s3.get_object(**B, Key=key, **version)["Body"].read()


def versions(**arguments):
    found = []
    for page in s3.get_paginator("list_object_versions").paginate(**B, **arguments):
        found += page.get("Versions", []) + page.get("DeleteMarkers", [])
    return found


def versioning(status):
    s3.put_bucket_versioning(**B, VersioningConfiguration={"Status": status})
    assert s3.get_bucket_versioning(**B)["Status"] == status


s3.create_bucket(**B)
assert "Status" not in s3.get_bucket_versioning(**B)
assert put("old", b"before") is None
versioning("Enabled")

# What was there is the version null; writes, copies and uploads make others.
first = put("old", b"first")
second = put("old", b"second")
assert body("old") == b"second"
assert [body("old", VersionId=id) for id in [first, second, "null"]] == [b"first", b"second", b"before"]
assert s3.head_object(**B, Key="old", VersionId=first)["VersionId"] == first
copy = s3.copy_object(**B, Key="copy", CopySource={**B, "Key": "old", "VersionId": "null"})
assert copy["CopySourceVersionId"] == "null" and copy["VersionId"] not in ["null", first, second]
assert body("copy") == b"before"
upload = s3.create_multipart_upload(**B, Key="old")["UploadId"]
part = s3.upload_part_copy(**B, Key="old", UploadId=upload, PartNumber=1, CopySource={**B, "Key": "old", "VersionId": first})
assert part["CopySourceVersionId"] == first
done = s3.complete_multipart_upload(**B, Key="old", UploadId=upload, MultipartUpload={
    "Parts": [{"PartNumber": 1, "ETag": part["CopyPartResult"]["ETag"]}]})
assert body("old", VersionId=done["VersionId"]) == body("old") == b"first"

# A deletion is a marker, which can be removed.
gone = s3.delete_object(**B, Key="old")
assert gone["DeleteMarker"]
headers = refused("NoSuchKey", 404, s3.get_object, **B, Key="old")
assert headers["x-amz-delete-marker"] == "true" and headers["x-amz-version-id"] == gone["VersionId"]
assert refused("404", 404, s3.head_object, **B, Key="old")["x-amz-delete-marker"] == "true"
headers = refused("MethodNotAllowed", 405, s3.get_object, **B, Key="old", VersionId=gone["VersionId"])
assert headers["x-amz-delete-marker"] == "true" and headers["allow"] == "DELETE"
refused("405", 405, s3.head_object, **B, Key="old", VersionId=gone["VersionId"])
refused("InvalidArgument", 400, s3.get_object, **B, Key="old", VersionId="garbage")
refused("NoSuchVersion", 404, s3.get_object, **B, Key="old", VersionId="IYV3p45BT0ac8hjHg1houSdS1a.Mro8e")
refused("NoSuchVersion", 404, s3.get_object, **B, Key="old", VersionId=copy["VersionId"])
refused("PreconditionFailed", 412, s3.put_object, **B, Key="copy", Body=b"", IfNoneMatch="*")
assert put("old", b"again", IfNoneMatch="*")
assert s3.delete_object(**B, Key="old").get("DeleteMarker")
latest = next(it for it in versions(Prefix="old") if it["IsLatest"])
assert "Size" not in latest
undeleted = s3.delete_object(**B, Key="old", VersionId=latest["VersionId"])
assert undeleted["DeleteMarker"] and undeleted["VersionId"] == latest["VersionId"]
assert body("old") == b"again"
assert "DeleteMarker" not in s3.delete_object(**B, Key="old", VersionId=first)
refused("NoSuchVersion", 404, s3.get_object, **B, Key="old", VersionId=first)
assert s3.delete_object(**B, Key="old", VersionId=first)["VersionId"] == first

parts = s3.get_object_attributes(**B, Key="old", VersionId=done["VersionId"], ObjectAttributes=["ObjectSize", "ObjectParts"])
assert parts["ObjectSize"] == 5 and parts["ObjectParts"]["TotalPartsCount"] == 1 and parts["VersionId"] == done["VersionId"]
assert "ETag" not in parts

# Tags belong to a version.
s3.put_object_tagging(**B, Key="old", VersionId="null", Tagging={"TagSet": [{"Key": "k", "Value": "v"}]})
assert s3.get_object_tagging(**B, Key="old", VersionId="null")["TagSet"] == [{"Key": "k", "Value": "v"}]
assert s3.get_object_tagging(**B, Key="old")["TagSet"] == []
assert s3.delete_object_tagging(**B, Key="old", VersionId="null")["VersionId"] == "null"

# Suspended, null is replaced and others stay.
versioning("Suspended")
assert put("old", b"null again") is None
assert s3.head_object(**B, Key="old")["VersionId"] == "null"
assert s3.delete_object(**B, Key="old")["VersionId"] == "null"
assert body("old", VersionId=second) == b"second"
assert [it["VersionId"] for it in versions(Prefix="old")].count("null") == 1
versioning("Enabled")

# Listing: key by key, the newest first, whatever the page.
for key in ["list/a b", "list/c/1", "list/c/2"]:
    for content in [b"1", b"22"]:
        put(key, content)
s3.delete_object(**B, Key="list/a b")
listed = versions(Prefix="list/")
assert len(listed) == 7
for size in range(1, 8):
    paged = versions(Prefix="list/", PaginationConfig={"PageSize": size})
    assert sorted(it["VersionId"] for it in paged) == sorted(it["VersionId"] for it in listed), size
assert [it["Size"] for it in listed if it["Key"] == "list/c/1"] == [2, 1]
rolled = s3.list_object_versions(**B, Prefix="list/", Delimiter="/")
assert [prefix["Prefix"] for prefix in rolled["CommonPrefixes"]] == ["list/c/"]
assert [it["IsLatest"] for it in rolled["DeleteMarkers"] + rolled["Versions"]] == [True, False, False]
assert [it["Key"] for it in s3.list_objects_v2(**B, Prefix="list/")["Contents"]] == ["list/c/1", "list/c/2"]

# A bucket with versions is not empty; all of them go at once.
s3.delete_objects(**B, Delete={"Objects": [{"Key": it["Key"]} for it in s3.list_objects_v2(**B)["Contents"]]})
assert s3.list_objects_v2(**B)["KeyCount"] == 0
refused("BucketNotEmpty", 409, s3.delete_bucket, **B)
everything = versions()
deleted = s3.delete_objects(**B, Delete={"Objects": [
    {"Key": it["Key"], "VersionId": it["VersionId"]} for it in everything]})
assert "Errors" not in deleted
markers = [it for it in everything if "Size" not in it]
assert sum(it.get("DeleteMarker", False) for it in deleted["Deleted"]) == len(markers) > 0
assert versions() == []
s3.delete_bucket(**B)
print(json.dumps({"ok": True}))
