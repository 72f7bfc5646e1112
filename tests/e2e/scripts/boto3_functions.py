"""boto3 against the Lambda API: deploy, wait, invoke, update, retry, delete."""
import io
import json
import os
import time
import zipfile

import boto3
from botocore.client import Config
from botocore.exceptions import ClientError

functions = boto3.client("lambda")
s3 = boto3.client("s3")
ROLE = "arn:aws:iam::000000000000:role/any"


def package(source):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("app.py", source)
    return buffer.getvalue()


created = functions.create_function(
    FunctionName="greet", Runtime="python3.11", Role=ROLE, Handler="app.handler",
    Code={"ZipFile": package("import os\ndef handler(event, context):\n"
                             "    return {'hi': event['name'], 'id': context.aws_request_id, 'e': os.environ['COLOUR']}")},
    Environment={"Variables": {"COLOUR": "blue"}}, MemorySize=192, Timeout=5, Tags={"team": "a"},
)
assert created["FunctionArn"] == "arn:aws:lambda:us-east-1:000000000000:function:greet", created
functions.get_waiter("function_active_v2").wait(FunctionName="greet")
answer = functions.invoke(FunctionName="greet", Payload=json.dumps({"name": "Zoë"}))
body = json.loads(answer["Payload"].read())
assert body["hi"] == "Zoë" and body["e"] == "blue", body
assert answer["ExecutedVersion"] == "$LATEST" and "FunctionError" not in answer
assert body["id"] == answer["ResponseMetadata"]["RequestId"], "the request id is the one the handler saw"
for name in ["greet", "greet:$LATEST", "000000000000:function:greet", created["FunctionArn"]]:
    assert functions.get_function(FunctionName=name)["Configuration"]["MemorySize"] == 192
assert functions.list_tags(Resource=created["FunctionArn"])["Tags"] == {"team": "a"}

functions.update_function_configuration(FunctionName="greet", Environment={"Variables": {"COLOUR": "red"}})
functions.get_waiter("function_updated_v2").wait(FunctionName="greet")
assert json.loads(functions.invoke(FunctionName="greet", Payload=b'{"name":"a"}')["Payload"].read())["e"] == "red"
functions.update_function_code(FunctionName="greet", ZipFile=package("def handler(e, c):\n    raise KeyError('new')"))
answer = functions.invoke(FunctionName="greet", Payload=b"{}")
assert answer["FunctionError"] == "Unhandled" and answer["StatusCode"] == 200
assert json.loads(answer["Payload"].read())["errorType"] == "KeyError"
assert functions.invoke(FunctionName="greet", InvocationType="DryRun")["StatusCode"] == 204

# A function whose concurrency is reserved at zero is switched off.
functions.put_function_concurrency(FunctionName="greet", ReservedConcurrentExecutions=0)
try:
    boto3.client("lambda", config=Config(retries={"total_max_attempts": 1})).invoke(FunctionName="greet")
    raise AssertionError("a switched-off function ran")
except ClientError as error:
    assert error.response["Error"]["Code"] == "TooManyRequestsException", error
functions.delete_function_concurrency(FunctionName="greet")

# Asynchronous: accepted, then run; the effect is an object in a bucket.
s3.create_bucket(Bucket="out")
functions.create_function(
    FunctionName="writer", Runtime="python3.11", Role=ROLE, Handler="app.handler", Timeout=20,
    Code={"ZipFile": package("from urllib.request import Request, urlopen\ndef handler(event, context):\n"
                             "    urlopen(Request(event['url'], data=b'done', method='PUT'))")},
)
signing = boto3.client("s3", config=Config(signature_version="s3v4"))
url = signing.generate_presigned_url("put_object", Params={"Bucket": "out", "Key": "k"}, ExpiresIn=60)
event = json.dumps({"url": url})
assert functions.invoke(FunctionName="writer", InvocationType="Event", Payload=event)["StatusCode"] == 202
s3.get_waiter("object_exists").wait(Bucket="out", Key="k", WaiterConfig={"Delay": 1, "MaxAttempts": 30})

names = [function["FunctionName"] for page in functions.get_paginator("list_functions").paginate(PaginationConfig={"PageSize": 1})
         for function in page["Functions"]]
assert sorted(names) == ["greet", "writer"], names

mapping = functions.create_event_source_mapping(
    FunctionName="writer", Topics=["jobs"], StartingPosition="LATEST", Enabled=False,
    SelfManagedEventSource={"Endpoints": {"KAFKA_BOOTSTRAP_SERVERS": [os.environ["KAFKA_BOOTSTRAP"]]}},
)
assert functions.list_event_source_mappings(FunctionName="writer")["EventSourceMappings"][0]["UUID"] == mapping["UUID"]
functions.delete_event_source_mapping(UUID=mapping["UUID"])
deadline = time.time() + 90
while functions.list_event_source_mappings()["EventSourceMappings"]:
    assert time.time() < deadline, "the mapping is still listed"
    time.sleep(0.2)
for name in names:
    functions.delete_function(FunctionName=name)
try:
    functions.get_function(FunctionName="greet")
    raise AssertionError("a deleted function was found")
except functions.exceptions.ResourceNotFoundException:
    pass
try:
    functions.create_function_url_config(FunctionName="greet", AuthType="NONE")
    raise AssertionError("function URLs are not supported and were accepted")
except ClientError as error:
    assert "CreateFunctionUrlConfig" in str(error), error
print(json.dumps({"ok": True}))
