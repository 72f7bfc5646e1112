"""Reads the object that it is told of, as code written for Lambda does, and answers what it found."""

import json
import urllib.parse

import boto3
from botocore.exceptions import ClientError

s3 = boto3.client("s3")


def handler(event, context):
    (record,) = event["Records"]
    bucket = record["s3"]["bucket"]["name"]
    told = record["s3"]["object"]
    key = urllib.parse.unquote_plus(told["key"])
    # As it is told, and in quotes, as HTTP has it.
    found = s3.get_object(Bucket=bucket, Key=key, IfMatch=told["eTag"])
    s3.head_object(Bucket=bucket, Key=key, IfMatch='"' + told["eTag"] + '"')
    listed = s3.list_objects_v2(Bucket=bucket, Prefix=key)["Contents"]
    try:
        s3.put_object(Bucket=bucket, Key=key, Body=b"")
        written = "yes"
    except ClientError as error:
        written = error.response["Error"]["Code"]
    answer = {
        "text": found["Body"].read().decode(),
        "etags": [found["ETag"], s3.head_object(Bucket=bucket, Key=key)["ETag"], listed[0]["ETag"]],
        "told": told["eTag"],
        "written": written,
    }
    s3.put_object(Bucket="answers", Key=key, Body=json.dumps(answer).encode())
    return answer
