"""boto3 against published versions and aliases: publish, point, divide, invoke, delete."""
import base64
import io
import json
import time
import zipfile

import boto3
from botocore.exceptions import ClientError

functions = boto3.client("lambda")
F = {"FunctionName": "greet"}
ARN = "arn:aws:lambda:us-east-1:000000000000:function:greet"


def package(number):
    source = f"""
import os
def handler(event, context):
    return {{"code": {number}, "version": os.environ["AWS_LAMBDA_FUNCTION_VERSION"], "said": context.function_version,
            "why": os.environ["AWS_LAMBDA_INITIALIZATION_TYPE"], "arn": context.invoked_function_arn, "stream": os.environ["AWS_LAMBDA_LOG_STREAM_NAME"]}}
"""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("app.py", source)
    return buffer.getvalue()


def refused(code, call, **arguments):
    try:
        call(**arguments)
    except ClientError as error:
        assert error.response["Error"]["Code"] == code, error
    else:
        raise AssertionError(f"{call.__name__} {arguments} was accepted")


def invoke(name, **arguments):
    answer = functions.invoke(FunctionName=name, LogType="Tail", **arguments)
    body = json.loads(answer["Payload"].read())
    version = answer["ExecutedVersion"]
    assert body["version"] == body["said"] == version, body
    assert f"Version: {version}\n" in base64.b64decode(answer["LogResult"]).decode(), answer
    assert f"[{version}]" in body["stream"], body
    return body["code"], version, body["arn"]


created = functions.create_function(
    **F, Runtime="python3.11", Role="arn:aws:iam::000000000000:role/any", Handler="app.handler",
    Code={"ZipFile": package(1)}, Publish=True, Description="greets")
assert (created["Version"], created["FunctionArn"]) == ("1", ARN + ":1"), created
functions.get_waiter("published_version_active").wait(**F, Qualifier="1")
functions.get_waiter("function_active_v2").wait(**F)
assert functions.publish_version(**F, Description="again")["RevisionId"] == created["RevisionId"], "nothing has changed"
second = functions.update_function_code(**F, ZipFile=package(2), Publish=True)
assert second["Version"] == "2" and second["CodeSha256"] != created["CodeSha256"], second
third = functions.update_function_code(**F, ZipFile=package(3))
assert third["Version"] == "$LATEST", third
refused("InvalidParameterValueException", functions.publish_version, **F, CodeSha256=created["CodeSha256"])
refused("PreconditionFailedException", functions.publish_version, **F, RevisionId=created["RevisionId"])

versions = [version for page in functions.get_paginator("list_versions_by_function").paginate(**F, PaginationConfig={"PageSize": 2})
            for version in page["Versions"]]
assert [version["Version"] for version in versions] == ["$LATEST", "1", "2"], versions
assert functions.get_function(**F, Qualifier="1")["Configuration"]["CodeSha256"] == created["CodeSha256"]

live = functions.create_alias(**F, Name="live", FunctionVersion="1", Description="what is used")
assert live["AliasArn"] == ARN + ":live" and "RoutingConfig" not in live, live
refused("ResourceConflictException", functions.create_alias, **F, Name="live", FunctionVersion="2")
refused("ResourceNotFoundException", functions.create_alias, **F, Name="other", FunctionVersion="9")

assert invoke("greet") == (3, "$LATEST", ARN)
assert invoke("greet", Qualifier="1") == (1, "1", ARN + ":1")
assert invoke("greet:2") == (2, "2", ARN + ":2")
assert invoke(ARN + ":live") == (1, "1", ARN + ":live")
assert invoke("greet", Qualifier="$LATEST") == (3, "$LATEST", ARN + ":$LATEST")
refused("ResourceNotFoundException", functions.invoke, **F, Qualifier="none")

live = functions.update_alias(**F, Name="live", FunctionVersion="1", RevisionId=live["RevisionId"],
                              RoutingConfig={"AdditionalVersionWeights": {"2": 0.5}})
seen = {invoke("greet:live")[:2] for _ in range(40)}
assert seen == {(1, "1"), (2, "2")}, "40 invocations divided by half"
for version in ["1", "2"]:
    refused("ResourceConflictException", functions.delete_function, **F, Qualifier=version)
    assert [alias["Name"] for alias in functions.list_aliases(**F, FunctionVersion=version)["Aliases"]] == ["live"]
functions.update_alias(**F, Name="live", FunctionVersion="2", RoutingConfig={})
assert invoke("greet:live") == (2, "2", ARN + ":live")
assert "RoutingConfig" not in functions.get_alias(**F, Name="live")

# Instances that are initialised before anybody asks serve first; none of their time is anybody's bill.
refused("InvalidParameterValueException", functions.put_provisioned_concurrency_config,
        **F, Qualifier="$LATEST", ProvisionedConcurrentExecutions=1)
refused("ProvisionedConcurrencyConfigNotFoundException", functions.get_provisioned_concurrency_config, **F, Qualifier="live")
asked = functions.put_provisioned_concurrency_config(**F, Qualifier="live", ProvisionedConcurrentExecutions=2)
assert asked["Status"] == "IN_PROGRESS" and asked["RequestedProvisionedConcurrentExecutions"] == 2, asked
deadline = time.time() + 90
while (config := functions.get_provisioned_concurrency_config(**F, Qualifier="live"))["Status"] != "READY":
    assert time.time() < deadline, config
    time.sleep(0.05)
assert config["AvailableProvisionedConcurrentExecutions"] == 2, config
answer = functions.invoke(FunctionName="greet:live", LogType="Tail")
assert json.loads(answer["Payload"].read())["why"] == "provisioned-concurrency"
assert b"Init Duration" not in base64.b64decode(answer["LogResult"])
listed = functions.list_provisioned_concurrency_configs(**F)["ProvisionedConcurrencyConfigs"]
assert [config["FunctionArn"] for config in listed] == [ARN + ":live"], listed
functions.delete_provisioned_concurrency_config(**F, Qualifier="live")

functions.delete_function(**F, Qualifier="1")
refused("ResourceNotFoundException", functions.get_function, **F, Qualifier="1")
assert functions.publish_version(**F)["Version"] == "3", "a number is never given twice"
functions.delete_alias(**F, Name="live")
assert functions.list_aliases(**F)["Aliases"] == []
functions.delete_function(**F)
refused("ResourceNotFoundException", functions.list_versions_by_function, **F)
print(json.dumps({"ok": True}))
