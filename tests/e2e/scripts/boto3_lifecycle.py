"""boto3 against lifecycle rules: given back as given, announced in answers, refused where not applied."""
import datetime
import json

import boto3
from botocore.exceptions import ClientError

s3 = boto3.client("s3")


def refused(code, rule):
    try:
        s3.put_bucket_lifecycle_configuration(Bucket="data", LifecycleConfiguration={"Rules": [rule]})
    except ClientError as error:
        assert error.response["Error"]["Code"] == code, error
        return
    raise AssertionError(f"{rule} was not refused with {code}")


def rules():
    return s3.get_bucket_lifecycle_configuration(Bucket="data")["Rules"]


s3.create_bucket(Bucket="data")
try:
    rules()
    raise AssertionError("a bucket had rules that nobody gave")
except ClientError as error:
    assert error.response["Error"]["Code"] == "NoSuchLifecycleConfiguration", error

midnight = datetime.datetime(2199, 1, 1, tzinfo=datetime.timezone.utc)
given = [
    {"ID": "days", "Status": "Enabled", "Filter": {"Prefix": "tmp/"}, "Expiration": {"Days": 30},
     "AbortIncompleteMultipartUpload": {"DaysAfterInitiation": 2}},
    {"ID": "date and more", "Status": "Enabled", "Expiration": {"Date": midnight},
     "Filter": {"And": {"Prefix": "a/", "Tags": [{"Key": "k", "Value": "v"}], "ObjectSizeGreaterThan": 3}}},
    {"ID": "tag", "Status": "Disabled", "Filter": {"Tag": {"Key": "k", "Value": "v"}}, "Expiration": {"Days": 1}},
    {"ID": "old form", "Status": "Enabled", "Prefix": "old/", "Expiration": {"Days": 1}},
    {"ID": "versions", "Status": "Enabled", "Filter": {"Prefix": "v/"}, "Expiration": {"ExpiredObjectDeleteMarker": True},
     "NoncurrentVersionExpiration": {"NoncurrentDays": 3, "NewerNoncurrentVersions": 2}},
    {"ID": "all", "Status": "Disabled", "Filter": {"Prefix": ""}, "Expiration": {"Days": 1}},
]
s3.put_bucket_lifecycle_configuration(Bucket="data", LifecycleConfiguration={"Rules": given})
assert rules() == given, rules()

put = s3.put_object(Bucket="data", Key="tmp/x", Body=b"x")
today = datetime.datetime.now(datetime.timezone.utc).date()
announced = {(day + datetime.timedelta(days=31)).strftime('expiry-date="%a, %d %b %Y 00:00:00 GMT", rule-id="days"')
             for day in [today, today - datetime.timedelta(days=1)]}
assert put["Expiration"] in announced, put["Expiration"]
assert s3.head_object(Bucket="data", Key="tmp/x")["Expiration"] == put["Expiration"]
assert s3.get_object(Bucket="data", Key="tmp/x")["Expiration"] == put["Expiration"]
s3.put_object(Bucket="data", Key="a/x", Body=b"1234", Tagging="k=v")
assert 'Tue, 01 Jan 2199 00:00:00 GMT", rule-id="date%20and%20more"' in s3.head_object(Bucket="data", Key="a/x")["Expiration"]
assert "Expiration" not in s3.put_object(Bucket="data", Key="a/y", Body=b"1234")
upload = s3.create_multipart_upload(Bucket="data", Key="tmp/parts")
assert upload["AbortRuleId"] == "days" and upload["AbortDate"].hour == 0, upload
listed = s3.list_parts(Bucket="data", Key="tmp/parts", UploadId=upload["UploadId"])
assert listed["AbortDate"] == upload["AbortDate"]

action = {"Status": "Enabled", "Filter": {"Prefix": ""}}
day = {"Days": 1}
refused("NotImplemented", {**action, "Transitions": [{"Days": 1, "StorageClass": "GLACIER"}]})
refused("NotImplemented", {**action, "NoncurrentVersionTransitions": [{"NoncurrentDays": 1, "StorageClass": "GLACIER"}]})
refused("InvalidArgument", {**action, "NoncurrentVersionExpiration": {"NoncurrentDays": 0}})
refused("InvalidArgument", {**action, "NoncurrentVersionExpiration": {"NoncurrentDays": 1, "NewerNoncurrentVersions": 101}})
refused("MalformedXML", {**action, "Expiration": {"Days": 1, "ExpiredObjectDeleteMarker": True}})
refused("InvalidArgument", {**action, "Expiration": {"Days": 0}})
refused("InvalidArgument", {**action, "Expiration": {"Date": midnight + datetime.timedelta(hours=1)}})
refused("InvalidRequest", action)
refused("InvalidRequest", {"Status": "Enabled", "Filter": {"Tag": {"Key": "k", "Value": "v"}},
                           "AbortIncompleteMultipartUpload": {"DaysAfterInitiation": 2}})
refused("MalformedXML", {"Status": "Enabled", "Expiration": day})
refused("MalformedXML", {**action, "Prefix": "a", "Expiration": day})
assert rules() == given
s3.delete_bucket_lifecycle(Bucket="data")
assert "Expiration" not in s3.head_object(Bucket="data", Key="tmp/x")
print(json.dumps({"ok": True}))
