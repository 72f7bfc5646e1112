"""boto3 against WebAssembly functions: what they answer, how they fail, what they see.

Takes the path of a module or component that one of tests/e2e/handlers/wasm makes, and its kind.
"""
import base64
import io
import json
import sys
import zipfile

import boto3
from botocore.client import Config
from botocore.exceptions import ClientError

patient = Config(read_timeout=120, retries={"total_max_attempts": 1})
functions = boto3.client("lambda", config=patient)
MODULE = open(sys.argv[1], "rb").read()
KIND = sys.argv[2]
IS_COMMAND = KIND.endswith("command")
IS_COMPONENT = "component" in KIND
ROLE = "arn:aws:iam::000000000000:role/any"


def package(files):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return buffer.getvalue()


def create(name, **settings):
    given = {"Handler": "prisoner", "MemorySize": 128, "Timeout": 20, **settings}
    files = given.pop("Files", {"prisoner.wasm": MODULE, "notes.txt": "not to be read"})
    return functions.create_function(
        FunctionName=name, Runtime="wasm", Role=ROLE, Code={"ZipFile": package(files)}, **given)


def invoke(name, payload):
    answer = functions.invoke(FunctionName=name, Payload=payload, LogType="Tail")
    log = base64.b64decode(answer["LogResult"]).decode()
    return answer["Payload"].read(), answer.get("FunctionError"), log


def good(name, **event):
    body, error, log = invoke(name, json.dumps(event))
    assert error is None, (event, body, log)
    return body, log


def bad(name, error_type, words, **event):
    body, error, log = invoke(name, json.dumps(event))
    assert error == "Unhandled", (event, body, log)
    said = json.loads(body)
    assert said["errorType"] == error_type and words in said["errorMessage"], (event, said, log)
    return log


created = create("prisoner", Environment={"Variables": {"COLOUR": "blå"}})
assert created["Runtime"] == "wasm" and created["Handler"] == "prisoner", created
functions.get_waiter("function_active_v2").wait(FunctionName="prisoner")

# What goes in comes out, whatever it is and however much.
for event in ['{"name": "Zoë 🦀"}', '"' + "ü" * (3 * 1024 * 1024 - 10) + '"']:
    body, error, log = invoke("prisoner", event)
    assert error is None and body == event.encode(), (error, body[:200], log)
assert "START RequestId: " in log and "END RequestId: " in log, log
assert "REPORT RequestId: " in log and "Memory Size: 128 MB" in log, log

# Every way to fail has its name.
# WASI 0.2 knows of success and failure and of no other status.
bad("prisoner", "Runtime.ExitError", "exit status 1" if IS_COMPONENT else "exit status 3", do="exit", n=3)
if IS_COMMAND:
    assert good("prisoner", do="exit", n=0)[0] == b""
else:
    bad("prisoner", "Runtime.ExitError", "exit status 0 before there was an answer", do="exit", n=0)
bad("prisoner", "Order.Empty", "nothing in it", do="report")
bad("prisoner", "Runtime.ExitError", "trap: wasm `unreachable` instruction executed", do="trap")
log = bad("prisoner", "Runtime.ExitError", "trap: ", do="panic")
assert "out of cheese" in log and "wasm backtrace" in log, log
bad("prisoner", "Runtime.ExitError", "trap: ", do="recurse")
log = bad("prisoner", "Runtime.OutOfMemory", "signal: killed", do="balloon")
assert "Max Memory Used: 128 MB" in log, log
assert int(good("prisoner", do="modest")[0]) > 100
bad("prisoner", "Function.ResponseSizeTooLarge", "(7000000 bytes) exceeded", do="flood", n=7_000_000)
create("hasty", Timeout=1)
for event in [{"do": "spin"}, {"do": "sleep", "n": 60_000}]:
    log = bad("hasty", "Sandbox.Timedout", "Task timed out after 1.00 seconds", **event)
assert "about to sleep" in log and "Status: timeout" in log, log

# It waits, and what it prints is in its log, but not all of a flood.
body, log = good("prisoner", do="sleep", n=30)
assert body == b"true" and "about to sleep" in log, (body, log)
body, log = good("prisoner", do="shout", n=3)
assert body == b"" and "line 0\nline 1\nline 2\n" in log, log
body, log = good("prisoner", do="rant", n=20_000)
assert "of the log were left out" in log, log
body, log = good("prisoner", do="streams")
if IS_COMMAND:
    assert body == b'on standard output\n""', (body, log)
else:
    assert body == b'""' and "on standard output\n" in log, (body, log)
if KIND == "core":
    body, log = good("prisoner", do="log")
    assert body == b"" and "by the import\n" in log, (body, log)
    bad("prisoner", "Runtime.ExitError", "tidemill.log was called with 0xffffffff", do="log from nowhere")

# It sees its environment, and nothing else.
body, _ = good("prisoner", do="environment")
seen = json.loads(body)
assert seen["COLOUR"] == "blå" and seen["_HANDLER"] == "prisoner", seen
assert seen["AWS_LAMBDA_FUNCTION_NAME"] == "prisoner" and seen["AWS_REGION"] == "us-east-1", seen
assert seen["LAMBDA_RUNTIME_INVOKED_FUNCTION_ARN"] == created["FunctionArn"], seen
assert not {"AWS_SECRET_ACCESS_KEY", "AWS_ACCESS_KEY_ID", "TIDEMILL_WORKER_TOKEN", "PATH"} & set(seen), seen
assert good("prisoner", do="files")[0] == b"0"
assert good("prisoner", do="sockets")[0] == b"0"
assert good("prisoner", do="calls on files")[0] == b"0"
assert good("prisoner", do="calls on sockets")[0] == b"0"
if IS_COMPONENT:
    for deed, words in [
        ("pointers", "out of bounds"),
        ("another's handle", "unknown handle"),
        ("handles", "no free keys"),
        ("much randomness", "exceeds limit"),
        ("many zeroes", "more zeroes"),
    ]:
        bad("prisoner", "Runtime.ExitError", words, do=deed)
else:
    FAULT, INVALID = 21, 28
    said = json.loads(good("prisoner", do="pointers")[0])
    assert said == [FAULT, FAULT, FAULT, FAULT, FAULT, INVALID, FAULT, FAULT, INVALID], said

# Nothing of one event is there for the next.
for _ in range(20):
    planted = int(good("prisoner", do="plant")[0])
    assert planted >= 1 << 16, planted
    assert good("prisoner", do="look")[0] == b"0"

# What cannot be a function is refused in words, when it is deployed.
def refused(words, attempt):
    try:
        attempt()
    except ClientError as error:
        said = error.response["Error"]
        assert said["Code"] == "InvalidParameterValueException" and words in said["Message"], said
    else:
        raise AssertionError(f"accepted, and not: {words}")


for words, settings in [
    ("neither a WASI command, which exports wasi:cli/run",
     {"Files": {"prisoner.wasm": b"\0asm\x0d\0\x01\0"}}),
    ("neither a WASI command", {"Files": {"prisoner.wasm": b"\0asm\x01\0\0\0"}}),
    ("neither a WebAssembly module nor a component", {"Files": {"prisoner.wasm": b"#!/bin/sh"}}),
    ("cannot be compiled", {"Files": {"prisoner.wasm": MODULE[:len(MODULE) // 2]}}),
    ("has no file", {"Files": {"other.wasm": MODULE}}),
    ("has no file", {"Handler": "../prisoner"}),
    ("Layers are not supported", {"Layers": ["arn:aws:lambda:us-east-1:000000000000:layer:a:1"]}),
    ("no network", {"Environment": {"Variables": {"TIDEMILL_EGRESS": "kafka"}}}),
]:
    refused(words, lambda: create("refused", **settings))
refused("neither a WebAssembly module nor a component", lambda: functions.update_function_code(
    FunctionName="prisoner", ZipFile=package({"prisoner.wasm": b"later"})))
refused("has no file", lambda: functions.update_function_configuration(
    FunctionName="prisoner", Handler="elsewhere"))
assert good("prisoner", do="echo")[0] == b'{"do": "echo"}'
