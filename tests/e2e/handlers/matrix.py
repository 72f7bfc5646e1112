"""One runtime client in the matrix: every handler, deployed and invoked as users do, judged by what AWS
answers. Usage: matrix.py CLIENT FOLDER, where the folder (or file) is what the client's package is made of.
"""
import base64
import concurrent.futures
import io
import json
import pathlib
import re
import sys
import time
import traceback
import zipfile

import boto3
from botocore.client import Config
from botocore.exceptions import ClientError

HERE = pathlib.Path(__file__).parent
LARGEST_IN = 6 * 1024 * 1024
LARGEST_OUT = LARGEST_IN + 100
ROLE = "arn:aws:iam::000000000000:role/any"
ARN = "arn:aws:lambda:us-east-1:000000000000:function:"
NODE = 'exec node node_modules/aws-lambda-ric/bin/index.mjs "$_HANDLER"'
JAVA = 'exec java -Xmx256m -XX:+UseSerialGC -XX:TieredStopAtLevel=1 -cp "/var/task:/var/task/lib/*" ' \
    'com.amazonaws.services.lambda.runtime.api.client.AWSLambda "$_HANDLER"'

# How each client is packaged: the identifier of its runtime, the language of its handlers, and the
# `bootstrap` that its documentation tells users to write.
CLIENTS = {
    "awslambdaric": ("provided.al2023", "python", 'exec /usr/bin/python3 -m awslambdaric "$_HANDLER"'),
    "python": ("python3.11", "python", None),
    "aws-lambda-ric": ("provided.al2023", "node", NODE),
    "nodejs": ("nodejs20.x", "node", None),
    "java-ric": ("provided.al2023", "java", JAVA),
    "java": ("java17", "java", None),
    "ruby": ("ruby3.2", "ruby", None),
    "csharp": ("dotnet8", "csharp", None),
    "aws-lambda-go": ("provided.al2023", "go", None),
    "lambda_runtime": ("provided.al2023", "rust", None),
}
CLIENT, FOLDER = sys.argv[1], pathlib.Path(sys.argv[2])
RUNTIME, LANGUAGE, BOOTSTRAP = CLIENTS[CLIENT]
HANDLER = {"python": "app.{}", "node": "app.{}", "java": "Handlers::{}", "ruby": "app.{}",
           "csharp": "Handlers::Handlers::{}", "go": "{}", "rust": "{}"}[LANGUAGE]
# Where `throw` is a word of the language's own.
THROWING = ("java", "ruby", "csharp")

config = Config(retries={"total_max_attempts": 1}, read_timeout=120, max_pool_connections=32)
functions = boto3.client("lambda", config=config)
s3 = boto3.client("s3", config=config)
CASES = []


def case(*languages, **settings):
    """Registers a case; without languages it is for all of them."""
    def register(run):
        if not languages or LANGUAGE in languages:
            CASES.append((run.__name__.replace("_", "-"), run, settings))
        return run
    return register


class Function:
    """One deployed function."""

    def __init__(self, name, handler, settings):
        self.name = name
        self.memory = settings.pop("MemorySize", 512)
        settings.setdefault("Timeout", 30)
        plain = settings.pop("plain", False)
        if "." not in handler and "::" not in handler and not plain:
            handler = HANDLER.format({"throw": "throwing"}.get(handler, handler) if LANGUAGE in THROWING else handler)
        functions.create_function(
            FunctionName=name, Runtime=RUNTIME, Role=ROLE, Handler=handler, MemorySize=self.memory,
            Code={"S3Bucket": "packages", "S3Key": "package.zip"}, **settings)

    def invoke(self, payload, **parameters):
        """The answer, its request id, the tail of the log, and the parts of the report line."""
        event = payload if isinstance(payload, bytes) else json.dumps(payload)
        answer = functions.invoke(FunctionName=self.name, Payload=event, LogType="Tail", **parameters)
        self.request = answer["ResponseMetadata"]["RequestId"]
        self.error = answer.get("FunctionError")
        self.log = base64.b64decode(answer["LogResult"]).decode("utf-8", "replace")
        self.body = answer["Payload"].read()
        assert answer["StatusCode"] == 200, answer
        assert answer["ExecutedVersion"] == "$LATEST", answer
        assert len(self.log.encode()) <= 4096 + 8, len(self.log)
        lines = self.log.splitlines()
        report = re.fullmatch(
            rf"REPORT RequestId: {self.request}\tDuration: (?P<duration>\d+\.\d\d) ms\tBilled Duration: (?P<billed>\d+) ms\t"
            rf"Memory Size: {self.memory} MB\tMax Memory Used: (?P<used>\d+) MB\t"
            r"(Init Duration: (?P<init>\d+\.\d\d) ms\t)?(Status: (?P<status>\w+)(\tError Type: (?P<type>\S+))?)?", lines[-1])
        assert report, self.log
        assert lines[-2] == f"END RequestId: {self.request}", self.log
        self.report = report.groupdict()
        total = float(self.report["duration"]) + float(self.report["init"] or 0)
        assert abs(int(self.report["billed"]) - total) < 2, self.log
        if len(self.log.encode()) < 3500:
            assert f"START RequestId: {self.request} Version: $LATEST" in lines, self.log
        return self

    def answers(self, payload, **parameters):
        """The result of an invocation that succeeds."""
        self.invoke(payload, **parameters)
        assert self.error is None, (self.body[:2000], self.log)
        assert self.report["status"] is None, self.log
        return json.loads(self.body)

    def fails(self, payload, **parameters):
        """The error document of an invocation that fails."""
        self.invoke(payload, **parameters)
        assert self.error == "Unhandled", (self.error, self.body[:2000], self.log)
        return json.loads(self.body)

    def fails_by_platform(self, payload, error_type, message):
        """Fails in the platform's words, not the client's."""
        error = self.fails(payload)
        expected = {"errorType": error_type, "errorMessage": f"RequestId: {self.request} Error: {message}"}
        assert error == expected, (error, self.log)
        if error_type == "Sandbox.Timedout":
            assert self.report["status"] == "timeout", self.log
            assert re.search(rf"^\S+Z {self.request} {message}$", self.log, re.M), self.log
        else:
            assert (self.report["status"], self.report["type"]) == ("error", error_type), self.log
            assert f"RequestId: {self.request} Error: {message}\n{error_type}\n" in self.log, self.log


# What Ruby's client tells the platform by name.
RUBYS_OWN = re.compile(r"<(ArgumentError|NoMethodError|NameError|LoadError|SystemExit|StandardError)>$")


def shape(function, error, error_type, message, trace=()):
    """Checks an error document as this language's client writes it: members, values, a trace that shows
    these words."""
    members = {
        "python": {"errorMessage", "errorType", "requestId", "stackTrace"},
        "node": {"errorMessage", "errorType", "trace"},
        "java": {"errorMessage", "errorType", "stackTrace"},
        "ruby": {"errorMessage", "errorType", "stackTrace"},
        "csharp": {"errorMessage", "errorType"} | ({"stackTrace"} & set(error)),
        "go": {"errorMessage", "errorType"} | ({"stackTrace"} if trace else set()),
        "rust": {"errorMessage", "errorType"},
    }[LANGUAGE]
    if LANGUAGE == "java" and not trace:
        # What is the client's own finding has none.
        members -= {"stackTrace"} - set(error)
    assert set(error) == members, error
    assert error["errorType"] == error_type, error
    matches = message.search(error["errorMessage"]) if isinstance(message, re.Pattern) else error["errorMessage"] == message
    assert matches, error
    shown = json.dumps(error.get("stackTrace", error.get("trace")), ensure_ascii=False)
    for words in trace if LANGUAGE != "rust" else ():
        assert words in shown, error
    # Some clients have one word for all that functions throw, or for most.
    told = {
        "ruby": error_type if RUBYS_OWN.search(error_type) else "Function<UserException>",
        "java": "Runtime.UserException" if "stackTrace" in error else "Runtime.BadFunctionCode", "rust": "unhandled",
    }.get(LANGUAGE, error_type)
    assert (function.report["status"], function.report["type"]) == ("error", told), function.log


@case()
def echo(function):
    for payload in [{"a": [1, 2.5, None, True]}, [], "text", 7, {}]:
        assert function.answers(payload) == payload, payload
    assert function.report["init"] is None, "the second invocation is warm"


@case(handler="echo")
def unicode(function):
    payload = {"grüße": "😀 日本語 \u0000 \u2028 \"quoted\" \\", "nested": {"ключ": ["\n\t", "é"]}}
    assert function.answers(payload) == payload
    assert function.answers(json.dumps(payload, ensure_ascii=False).encode()) == payload


@case(handler="echo")
def an_empty_payload_is_an_empty_object(function):
    assert function.answers(b"") == {}


@case()
def nothing(function):
    assert function.answers({}) is None
    assert function.body == b"null", function.body


@case()
def length(function):
    """The largest event that is let in, and one byte more."""
    text = "x" * (LARGEST_IN - len('{"text":""}'))
    assert function.answers(f'{{"text":"{text}"}}'.encode()) == len(text)
    try:
        function.invoke(f'{{"text":"{text}x"}}'.encode())
        raise AssertionError("too large an event was let in")
    except ClientError as error:
        assert error.response["Error"]["Code"] == "RequestTooLargeException", error
        assert error.response["ResponseMetadata"]["HTTPStatusCode"] == 413, error


@case()
def repeat(function):
    """The largest response that is let out, and one byte more."""
    largest = LARGEST_OUT - 2
    assert len(function.answers({"times": largest})) == largest
    error = function.fails({"times": largest + 1})
    assert error == {
        "errorType": "Function.ResponseSizeTooLarge",
        "errorMessage": f"Response payload size ({LARGEST_OUT + 1} bytes) exceeded maximum allowed payload size "
                        f"({LARGEST_OUT} bytes).",
    }, error
    assert len(function.answers({"times": 5})) == 5, "the function goes on"


@case()
def throw(function):
    error_type = {"python": "ValueError", "node": "RangeError", "java": "java.lang.IllegalArgumentException",
                  "ruby": "Function<ArgumentError>", "csharp": "ArgumentException", "go": "errorString", "rust": "Boom"}[LANGUAGE]
    trace = {"python": ['File \\"/var/task/app.py\\", line', "in throw", 'raise ValueError(\\"boom\\")'],
             "node": ["RangeError: boom", "/var/task/app.js:"], "java": ["Handlers.throwing(Handlers.java:"],
             "ruby": ["/var/task/app.rb:"], "csharp": ["at Handlers.throwing ()"], "go": [], "rust": []}
    for _ in range(2):
        error = function.fails({})
        shape(function, error, error_type, "boom", trace[LANGUAGE])
    if LANGUAGE == "csharp":
        assert len(error["stackTrace"]) == 1, error
        assert f"{function.request}\tfail\tSystem.ArgumentException: boom\n   at Handlers" in function.log, function.log
    if LANGUAGE == "ruby":
        assert len(error["stackTrace"]) == 1, error
        assert "Error raised from handler method" in function.log, function.log
    if LANGUAGE == "python":
        assert error["requestId"] == function.request, error
        assert f"[ERROR] {error_type}: boom" in function.log, function.log
    assert function.report["init"] is None, "an error ends no instance"


@case()
def custom(function):
    error_type = {"java": "Handlers$OrderRefused", "ruby": "Function<OrderRefused>"}.get(LANGUAGE, "OrderRefused")
    shape(function, function.fails({}), error_type, "order 7: ¡no! 😀")


@case("go", "rust")
def panics(function):
    if LANGUAGE == "go":
        error = function.fails({})
        shape(function, error, "string", "all is lost", ["main."])
        assert set(error["stackTrace"][0]) == {"path", "line", "label"}, error
    else:
        error = function.fails({})
        assert error["errorMessage"].find("all is lost") >= 0, error


@case("python", "node", "go", "ruby", "csharp")
def unserialisable(function):
    error = function.fails({})
    if LANGUAGE == "python":
        shape(function, error, "Runtime.MarshalError", "Unable to marshal response: Object of type object is not JSON serializable")
    elif LANGUAGE == "node":
        shape(function, error, "Error", "Unable to stringify response body")
    elif LANGUAGE == "csharp":
        shape(function, error, "JsonSerializerException", re.compile("^Error converting the response object of type System.Object"))
    elif LANGUAGE == "ruby":
        shape(function, error, "Function<JSON::GeneratorError>", re.compile("NaN not allowed in JSON"))
    else:
        shape(function, error, "UnsupportedTypeError", "json: unsupported type: func()")


@case()
def exit_zero(function):
    function.fails_by_platform({}, "Runtime.ExitError", "Runtime exited without providing a reason")


@case()
def exit_one(function):
    function.fails_by_platform({}, "Runtime.ExitError", "Runtime exited with error: exit status 1")


@case()
def killed(function):
    function.fails_by_platform({}, "Runtime.ExitError", "Runtime exited with error: signal: killed")


@case()
def crash_sometimes(function):
    """A crash ends the instance and nothing else."""
    first = function.answers({})
    assert function.answers({}) == {"instance": first["instance"], "calls": 2}
    function.fails_by_platform({"crash": True}, "Runtime.ExitError", "Runtime exited with error: exit status 3")
    fresh = function.answers({})
    assert fresh["calls"] == 1 and fresh["instance"] != first["instance"], fresh
    assert function.report["init"] is not None, function.log


# Long enough for a first answer on a machine that does other things too.
PATIENCE = 4 if LANGUAGE == "java" else 2


@case(Timeout=PATIENCE)
def hang(function):
    first = function.answers({})
    function.fails_by_platform({"hang": True}, "Sandbox.Timedout", f"Task timed out after {PATIENCE}.00 seconds")
    assert float(function.report["duration"]) >= PATIENCE * 1000, function.log
    assert function.answers({}) != first, "what has timed out serves no more"


@case()
def count(function):
    """What a cold start makes, and /tmp, stay for the instance's life."""
    shown = [function.answers({}) for _ in range(3)]
    assert [(one["calls"], one["kept"]) for one in shown] == [(1, 1), (2, 2), (3, 3)], shown
    assert len({one["instance"] for one in shown}) == 1, shown
    functions.update_function_configuration(FunctionName=function.name, Description="another revision")
    functions.get_waiter("function_updated_v2").wait(FunctionName=function.name)
    fresh = function.answers({})
    assert (fresh["calls"], fresh["kept"]) == (1, 1), fresh


@case()
def busy(function):
    """An instance serves one at a time, and everyone gets the answer to his own request."""
    def one(_):
        return Invocation(function).answers({})
    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        served = list(pool.map(one, range(6)))
    assert all(request == answer["request"] for request, answer in served), served
    spans = sorted((answer for _, answer in served), key=lambda answer: answer["began"])
    for earlier, later in zip(spans, spans[1:]):
        if earlier["instance"] == later["instance"]:
            # Clocks of some languages tell milliseconds.
            assert earlier["ended"] <= later["began"] + 1000, spans


class Invocation:
    """One of several at once."""

    def __init__(self, function):
        self.name = function.name

    def answers(self, payload):
        answer = functions.invoke(FunctionName=self.name, Payload=json.dumps(payload))
        body = answer["Payload"].read()
        assert "FunctionError" not in answer, body
        return answer["ResponseMetadata"]["RequestId"], json.loads(body)


@case(Timeout=20)
def context(function):
    custom = base64.b64encode(json.dumps({"custom": {"who": "me"}}).encode()).decode()
    shown = function.answers({}, ClientContext=custom)
    remaining = shown.pop("remaining")
    assert 0 < remaining <= 20_000, remaining
    stream = shown.pop("log_stream")
    assert re.fullmatch(r"\d{4}/\d\d/\d\d/\[\$LATEST\][0-9a-f]{32}", stream), stream
    client = shown.pop("client", None)
    assert client == {"who": "me"}, client
    assert shown == {
        "request_id": function.request, "name": function.name, "version": "$LATEST", "arn": ARN + function.name,
        "memory": function.memory, "log_group": f"/aws/lambda/{function.name}",
    }, shown
    shown = function.answers({})
    assert not shown.get("client"), shown


@case(Environment={"Variables": {"COLOUR": "blé", "EMPTY": ""}})
def environment(function):
    shown = function.answers({})
    expected = {
        "COLOUR": "blé", "EMPTY": "", "LANG": "C.UTF-8", "TZ": ":UTC", "PWD": "/var/task", "LAMBDA_TASK_ROOT": "/var/task",
        "LAMBDA_RUNTIME_DIR": "/var/runtime", "AWS_REGION": "us-east-1", "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_LAMBDA_FUNCTION_NAME": function.name, "AWS_LAMBDA_FUNCTION_VERSION": "$LATEST",
        "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": str(function.memory), "AWS_LAMBDA_LOG_GROUP_NAME": f"/aws/lambda/{function.name}",
        "AWS_LAMBDA_INITIALIZATION_TYPE": "on-demand",
    }
    found = {name: shown.get(name) for name in expected}
    assert found == expected, found
    assert shown["_HANDLER"].endswith("environment"), shown["_HANDLER"]
    assert shown["PATH"].endswith(":/opt/bin"), shown["PATH"]
    assert "/opt/lib" in shown["LD_LIBRARY_PATH"].split(":"), shown["LD_LIBRARY_PATH"]
    assert ("AWS_EXECUTION_ENV" in shown) == (BOOTSTRAP is None and LANGUAGE in ("python", "node", "java", "ruby", "csharp")), shown
    assert shown.get("AWS_EXECUTION_ENV", f"AWS_Lambda_{RUNTIME}") == f"AWS_Lambda_{RUNTIME}", shown
    for name in ["AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_LAMBDA_RUNTIME_API"]:
        assert shown[name], name
    for name in ["AWS_LAMBDA_RUNTIME_API", "_X_AMZN_TRACE_ID", "AWS_REGION", "LAMBDA_TASK_ROOT", "_HANDLER"]:
        try:
            functions.update_function_configuration(FunctionName=function.name, Environment={"Variables": {name: "mine"}})
            raise AssertionError(f"{name} is reserved")
        except ClientError as error:
            assert error.response["Error"]["Code"] == "InvalidParameterValueException" and name in str(error), error


@case()
def trace(function):
    root = "Root=1-5bef4de7-ad49b0e87f6ef6c87fc2e700;Parent=9a9197af755a6419;Sampled=1"
    tracing = boto3.client("lambda", config=config)
    tracing.meta.events.register(
        "before-sign.lambda.Invoke", lambda request, **_: request.headers.add_header("X-Amzn-Trace-Id", root))
    answer = tracing.invoke(FunctionName=function.name, Payload=b"{}")
    shown = json.loads(answer["Payload"].read())
    assert shown == root, shown
    # Without a header of the caller's the platform makes one, anew for each.
    made = [function.answers({}) for _ in range(2)]
    for one in made:
        assert re.fullmatch(r"Root=1-[0-9a-f]{8}-[0-9a-f]{24};Parent=[0-9a-f]{16};Sampled=0", one), made
    assert made[0] != made[1], made


@case()
def ticking(function):
    """Between invocations nothing runs."""
    function.answers({})
    before = function.answers({})
    began = time.monotonic()
    time.sleep(0.8)
    ticks = function.answers({}) - before
    slept = time.monotonic() - began
    assert ticks < 400 * slept, (ticks, slept)


@case()
def log(function):
    assert function.answers({}) == "logged"
    for words in ["to standard output", "to standard error", "unicode: grüße 😀"]:
        assert words in function.log, function.log
    start = function.log.index("START RequestId")
    assert start < function.log.index("to standard output") < function.log.index("END RequestId"), function.log
    # A long line pushes everything older out of the tail.
    assert function.answers({"long": 100_000}) == "logged"
    assert "START" not in function.log and "to standard" not in function.log, function.log
    assert "yyyy" in function.log and len(function.log.encode()) >= 4000, len(function.log)


@case()
def flood(function):
    """Twenty mebibytes on standard error neither stop a function nor what comes after."""
    assert function.answers({"kib": 20 * 1024}) == "flooded"
    assert len(function.log.encode()) <= 4096, len(function.log)
    assert function.answers({"kib": 1}) == "flooded"


@case(handler="broken")
def an_initialisation_that_fails(function):
    error = function.fails({})
    if LANGUAGE in ("go", "rust"):
        message = f"RequestId: {function.request} Error: Runtime exited with error: exit status 1"
        assert error == {"errorType": "Runtime.ExitError", "errorMessage": message}, error
        error_type = "Runtime.ExitError"
    else:
        error_type = {"python": "RuntimeError", "node": "TypeError", "java": "java.lang.IllegalStateException",
                      "ruby": "Init<RuntimeError>", "csharp": "InvalidOperationException"}[LANGUAGE]
        shape(function, error, error_type, "no database")
        error_type = {"java": "Runtime.BadFunctionCode", "ruby": "Function<UserException>"}.get(LANGUAGE, error_type)
    # It was tried twice: on its own, and again as a part of the invocation.
    reports = re.findall(r"^INIT_REPORT Init Duration: \d+\.\d\d ms\tPhase: (\w+)\tStatus: error\tError Type: (\S+)$", function.log, re.M)
    assert reports == [("init", error_type), ("invoke", error_type)], function.log


def fails_to_load(handler, error_type, message, languages):
    def run(function):
        shape(function, function.fails({}), error_type, message)
    run.__name__ = "load-" + re.sub(r"\W+", "-", handler)
    case(*languages, handler=handler, plain=True)(run)


PYTHON, JAVASCRIPT = ("python",), ("node",)
fails_to_load("imports.handler", "Runtime.ImportModuleError",
              "Unable to import module 'imports': No module named 'nothing_of_this_name'", PYTHON)
fails_to_load("absent.handler", "Runtime.ImportModuleError", "Unable to import module 'absent': No module named 'absent'", PYTHON)
fails_to_load("syntax.handler", "Runtime.UserCodeSyntaxError", re.compile(r"^Syntax error in module 'syntax': .*\(syntax.py, line 2\)$"), PYTHON)
fails_to_load("app.absent", "Runtime.HandlerNotFound", "Handler 'absent' missing on module 'app'", PYTHON)
fails_to_load("app", "Runtime.MalformedHandlerName", "Bad handler 'app': not enough values to unpack (expected 2, got 1)", PYTHON)
fails_to_load("imports.handler", "Runtime.ImportModuleError",
              re.compile(r"^Error: Cannot find module 'nothing-of-this-name'\nRequire stack:\n- /var/task/imports.js"), JAVASCRIPT)
fails_to_load("absent.handler", "Runtime.ImportModuleError", re.compile(r"^Error: Cannot find module 'absent'"), JAVASCRIPT)
fails_to_load("syntax.handler", "Runtime.UserCodeSyntaxError", re.compile("^SyntaxError: "), JAVASCRIPT)
fails_to_load("app.absent", "Runtime.HandlerNotFound", "app.absent is undefined or not exported", JAVASCRIPT)
fails_to_load("app", "Runtime.MalformedHandlerName", re.compile("^Bad handler"), JAVASCRIPT)
fails_to_load("Absent::handle", "java.lang.ClassNotFoundException", "Class not found: Absent", ("java",))


RUBY = ("ruby",)
fails_to_load("imports.handler", "Init<LoadError>", "cannot load such file -- nothing_of_this_name", RUBY)
fails_to_load("absent.handler", "Init<LoadError>", "cannot load such file -- absent", RUBY)
fails_to_load("syntax.handler", "Init<SyntaxError>", re.compile(r"/syntax.rb:\d+: syntax error"), RUBY)
fails_to_load("app.absent", "Function<NoMethodError>", re.compile("^undefined method [`']absent'"), RUBY)
fails_to_load("app", "Init<ArgumentError>", re.compile(r"^Invalid handler \[\"app\"\], must be of form FILENAME.METHOD"), RUBY)


CSHARP = ("csharp",)
fails_to_load("Absent::Handlers::handle", "LambdaValidationException",
              re.compile("^Could not find the specified handler assembly with the file name 'Absent.dll'"), CSHARP)
fails_to_load("Handlers::Absent::handle", "LambdaValidationException", "Unable to load type 'Absent' from assembly 'Handlers'.", CSHARP)
fails_to_load("Handlers::Handlers::absent", "LambdaValidationException",
              "Unable to find method 'absent' in type 'Handlers' from assembly 'Handlers': Found no methods matching method name 'absent'.",
              CSHARP)
fails_to_load("Handlers", "LambdaValidationException",
              "Invalid lambda function handler: 'Handlers'. The valid format is 'ASSEMBLY::TYPE::METHOD'.", CSHARP)
fails_to_load("Handlers::Handlers::promises", "LambdaValidationException",
              "Method 'promises' of type 'Handlers' is not supported: it is an 'async void' method.", CSHARP)
fails_to_load("Handlers::Handlers::several", "LambdaValidationException",
              re.compile("second parameter is not of type 'Amazon.Lambda.Core.ILambdaContext'"), CSHARP)
fails_to_load("Modern::Function::Handle", "LambdaValidationException",
              re.compile("^Unable to load assembly 'Modern': it is built for .NET 8, and this server runs C# with Mono .*netstandard2.0"),
              CSHARP)


@case("csharp")
def order(function):
    """A type of the function's own, with all that JSON holds."""
    sent = {"number": 7, "items": [{"Name": "a", "price": 1.50, "SIZE": "large"}, {"name": "b", "price": 2, "size": 0}],
            "marks": {"x": [1, 2]}, "due": "2026-11-21T10:00:00Z", "paid": True, "more": {"than": "it knows"}}
    assert function.answers(sent) == {
        "Number": 8, "Items": [{"Name": "a", "Price": 1.5, "Size": 1}, {"Name": "b", "Price": 2, "Size": 0}],
        "Marks": {"x": [1, 2]}, "Due": "2026-11-21T10:00:00.0000000Z", "Paid": True,
    }, function.body
    assert function.answers({"items": []})["Due"] is None
    error = function.fails({"number": "seven"})
    shape(function, error, "JsonSerializerException", re.compile("type Order: a text cannot become a value of type System.Int64$"))


@case("csharp")
def backwards(function):
    """Bytes in, bytes out."""
    function.invoke(b'[1, 2]')
    assert (function.error, function.body) == (None, b"]2 ,1["), (function.error, function.body)


@case("csharp", handler="log", LoggingConfig={"LogFormat": "JSON"})
def logs_as_objects(function):
    answer = functions.invoke(FunctionName=function.name, Payload=b"{}", LogType="Tail")
    lines = [json.loads(line) for line in base64.b64decode(answer["LogResult"]).splitlines()]
    request = answer["ResponseMetadata"]["RequestId"]
    printed = [(line["level"], line["message"]) for line in lines if line.get("requestId") == request]
    assert printed == [("Information", "to standard output"), ("Error", "to standard error"),
                       ("Information", "unicode: grüße 😀")], lines


@case("csharp")
def named_serializer(function):
    function.invoke("shout")
    assert (function.error, function.body) == (None, b'"SHOUT"'), (function.error, function.body)


@case("ruby", handler="app.Orders::Desk.take")
def a_method_of_a_class(function):
    assert function.answers({"order": 7}) == {"taken": 7}


@case("ruby")
def leave(function):
    """What is more than an ordinary error ends the process, after the invocation."""
    shape(function, function.fails({}), "Function<SystemExit>", "exit")
    assert "Critical exception from handler" in function.log, function.log
    function.fails({})
    assert function.report["init"] is not None, function.log


@case("ruby")
def raw(function):
    """What can be read is no JSON."""
    function.invoke({})
    assert (function.error, function.body) == (None, b"as it is"), (function.error, function.body)


@case("ruby")
def logger(function):
    function.answers({})
    line = rf"^W, \[\d{{4}}-\d\d-\d\dT[\d:.]+ #\d+\]  WARN {function.request} -- : to a logger$"
    assert re.search(line, function.log, re.M), function.log


@case("node")
def callback(function):
    assert function.answers({"x": 1}) == {"called": {"x": 1}}


@case("node")
def callback_error(function):
    shape(function, function.fails({}), "OrderRefused", "called back")


@case("node")
def unhandled_rejection(function):
    shape(function, function.fails({}), "Runtime.UnhandledPromiseRejection", "OrderRefused: nobody listens")


@case("node")
def uncaught(function):
    shape(function, function.fails({}), "OrderRefused", "out of turn")


@case("node", "go", "rust", handler="streams.handler" if LANGUAGE == "node" else "streams")
def a_streamed_answer_is_put_together(function):
    function.invoke({})
    assert function.error is None, (function.body, function.log)
    # Rust's client begins every stream with the head of an HTTP answer.
    head, body = function.body.split(b"\0" * 8) if LANGUAGE == "rust" else (b"{}", function.body)
    assert json.loads(head).get("statusCode", 200) == 200, head
    assert json.loads(body) == ["one", "two"], body


@case("node", handler="streams.fails")
def a_stream_that_fails_on_its_way(function):
    shape(function, function.fails({}), "RangeError", "halfway")


@case("node", handler="streams.refuses")
def a_stream_that_fails_at_once(function):
    shape(function, function.fails({}), "RangeError", "not at all")


def package():
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        def add(name, content):
            entry = zipfile.ZipInfo(name)
            entry.external_attr = 0o755 << 16
            entry.compress_type = zipfile.ZIP_DEFLATED
            archive.writestr(entry, content)
        if FOLDER.is_file():
            add("bootstrap", FOLDER.read_bytes())
        elif FOLDER != HERE / LANGUAGE:
            for path in sorted(FOLDER.rglob("*")):
                if path.is_file() and path.name != "complete":
                    archive.write(path, path.relative_to(FOLDER))
        for path in sorted((HERE / LANGUAGE).glob("*")):
            if LANGUAGE in ("python", "node", "ruby") and path.is_file():
                add(path.name, path.read_bytes())
        if BOOTSTRAP:
            add("bootstrap", f"#!/bin/sh\n{BOOTSTRAP}\n")
    return buffer.getvalue()


def attempt(entry):
    name, run, settings = entry
    settings = dict(settings)
    handler = settings.pop("handler", name.replace("-", "_"))
    if handler == "broken":
        handler = {"python": "broken.handler", "node": "broken.handler", "ruby": "broken.handler", "java": "Broken::handle",
                   "csharp": "Broken::Broken::Handle"}.get(LANGUAGE, handler)
    began = time.monotonic()
    try:
        function = Function(name, handler, settings)
        run(function)
        functions.delete_function(FunctionName=name)
        return None, time.monotonic() - began
    except Exception:
        return f"{CLIENT}: {name}:\n{traceback.format_exc()}", time.monotonic() - began


def main():
    only = sys.argv[3:]
    s3.create_bucket(Bucket="packages")
    s3.put_object(Bucket="packages", Key="package.zip", Body=package())
    wanted = [entry for entry in CASES if (not only or entry[0] in only)]
    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        results = list(pool.map(attempt, wanted))
    failures = [failure for failure, _ in results if failure]
    for failure in failures:
        print(failure)
    slow = sorted(zip((took for _, took in results), (entry[0] for entry in wanted)), reverse=True)[:3]
    print(f"{CLIENT}: {len(results) - len(failures)} of {len(results)} pass; slowest: {slow}")
    assert only or len(results) >= 20, len(results)
    sys.exit(bool(failures))


main()
