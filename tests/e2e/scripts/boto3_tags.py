"""boto3 against tags of objects: with a write, by themselves, in a copy, in a notification."""
import json

import boto3
from botocore.exceptions import ClientError

s3 = boto3.client("s3")


def refused(code, call, **arguments):
    try:
        call(**arguments)
    except ClientError as error:
        assert error.response["Error"]["Code"] == code, error
        return
    raise AssertionError(f"{call.__name__} was not refused with {code}")


def tags(key):
    return {tag["Key"]: tag["Value"] for tag in s3.get_object_tagging(Bucket="data", Key=key)["TagSet"]}


def tag_set(tags):
    return {"TagSet": [{"Key": key, "Value": value} for key, value in tags.items()]}


s3.create_bucket(Bucket="data")
for key, body in [("small", b"x"), ("large", bytes(200_000))]:
    s3.put_object(Bucket="data", Key=key, Body=body, Tagging="team=a%20b&empty=")
    assert tags(key) == {"team": "a b", "empty": ""}
    assert s3.get_object(Bucket="data", Key=key)["TagCount"] == 2
    headers = s3.head_object(Bucket="data", Key=key)["ResponseMetadata"]["HTTPHeaders"]
    assert headers["x-amz-tagging-count"] == "2", headers
    written = s3.head_object(Bucket="data", Key=key)["LastModified"]
    s3.put_object_tagging(Bucket="data", Key=key, Tagging=tag_set({"state": "done", "ü": "@:/"}))
    assert tags(key) == {"state": "done", "ü": "@:/"}
    assert s3.head_object(Bucket="data", Key=key)["LastModified"] == written
    assert s3.get_object(Bucket="data", Key=key)["Body"].read() == body
    source = {"Bucket": "data", "Key": key}
    s3.copy_object(Bucket="data", Key="copy", CopySource=source)
    assert tags("copy") == tags(key)
    s3.copy_object(Bucket="data", Key="copy", CopySource=source, TaggingDirective="REPLACE", Tagging="is=copy")
    assert tags("copy") == {"is": "copy"}
    s3.delete_object_tagging(Bucket="data", Key=key)
    assert tags(key) == {} and "TagCount" not in s3.get_object(Bucket="data", Key=key)
refused("BadRequest", s3.put_object_tagging, Bucket="data", Key="small", Tagging=tag_set({str(n): "" for n in range(11)}))
refused("InvalidTag", s3.put_object_tagging, Bucket="data", Key="small", Tagging=tag_set({"k" * 129: ""}))
refused("InvalidTag", s3.put_object, Bucket="data", Key="small", Body=b"", Tagging="a=%21")
refused("NoSuchKey", s3.get_object_tagging, Bucket="data", Key="absent")
print(json.dumps({"ok": True}))
