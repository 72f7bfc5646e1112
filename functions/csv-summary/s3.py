"""Reading and writing objects: through boto3 where it is installed, else by hand.

By hand means HTTP and AWS Signature Version 4 from the standard library, some eighty lines, so that
the function needs nothing but Python.
"""

import datetime
import hashlib
import hmac
import http.client
import os
from urllib.parse import quote, urlsplit

try:
    import boto3
    from botocore.config import Config
except ImportError:
    boto3 = None


def client():
    """A client for the endpoint and the credentials in the environment."""
    endpoint = os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL")
    return BotoStore(endpoint) if boto3 else SignedStore(endpoint)


class BotoStore:
    def __init__(self, endpoint):
        config = Config(s3={"addressing_style": "path"})
        self._s3 = boto3.client("s3", endpoint_url=endpoint, config=config)

    def get(self, bucket, key):
        return self._s3.get_object(Bucket=bucket, Key=key)["Body"].read()

    def put(self, bucket, key, body, content_type):
        self._s3.put_object(Bucket=bucket, Key=key, Body=body, ContentType=content_type)


class SignedStore:
    def __init__(self, endpoint):
        self._region = os.environ["AWS_REGION"]
        self._endpoint = urlsplit(endpoint or f"https://s3.{self._region}.amazonaws.com")

    def get(self, bucket, key):
        return self._request("GET", bucket, key, b"", {})

    def put(self, bucket, key, body, content_type):
        self._request("PUT", bucket, key, body, {"content-type": content_type})

    def _request(self, method, bucket, key, body, headers):
        path = quote(f"/{bucket}/{key}", safe="/-_.~")
        now = datetime.datetime.now(datetime.timezone.utc)
        headers = sign(method, self._endpoint.netloc, path, headers, body, self._region, now)
        secure = self._endpoint.scheme == "https"
        kind = http.client.HTTPSConnection if secure else http.client.HTTPConnection
        connection = kind(self._endpoint.netloc, timeout=30)
        try:
            connection.request(method, path, body=body, headers=headers)
            response = connection.getresponse()
            content = response.read()
        finally:
            connection.close()
        if response.status >= 300:
            reason = content[:300].decode("utf-8", "replace")
            raise RuntimeError(f"{method} s3://{bucket}/{key}: {response.status} {reason}")
        return content


def sign(method, host, path, headers, body, region, now):
    """`headers` with those that authorise the request (AWS Signature Version 4)."""
    time = now.strftime("%Y%m%dT%H%M%SZ")
    digest = hashlib.sha256(body).hexdigest()
    signed = {**headers, "host": host, "x-amz-content-sha256": digest, "x-amz-date": time}
    token = os.environ.get("AWS_SESSION_TOKEN")
    if token:
        signed["x-amz-security-token"] = token
    names = ";".join(sorted(signed))
    lines = "".join(f"{name}:{signed[name].strip()}\n" for name in sorted(signed))
    canonical = "\n".join([method, path, "", lines, names, digest])
    scope = f"{time[:8]}/{region}/s3/aws4_request"
    canonical_digest = hashlib.sha256(canonical.encode()).hexdigest()
    to_sign = "\n".join(["AWS4-HMAC-SHA256", time, scope, canonical_digest])
    secret = ("AWS4" + os.environ["AWS_SECRET_ACCESS_KEY"]).encode()
    for part in scope.split("/"):
        secret = hmac.new(secret, part.encode(), hashlib.sha256).digest()
    signature = hmac.new(secret, to_sign.encode(), hashlib.sha256).hexdigest()
    credential = f"{os.environ['AWS_ACCESS_KEY_ID']}/{scope}"
    signed["authorization"] = (
        f"AWS4-HMAC-SHA256 Credential={credential}, SignedHeaders={names}, Signature={signature}"
    )
    return signed
