"""Runs a Python function: asks the Runtime API for events and answers them.

Standard library only. Behaves to the function as AWS's runtime client does: the context object,
the shapes and types of errors, the set-up of `logging`.
"""

import importlib
import json
import logging
import os
import socket
import sys
import time
import traceback
from decimal import Decimal

API = "/2018-06-01/runtime/"
ERROR_TYPE = "Lambda-Runtime-Function-Error-Type"


class RuntimeApi:
    """The Runtime API over one connection that stays open.

    By hand rather than with `http.client`, which takes longer than many functions: the other end
    always states the length of its body.
    """

    def __init__(self, host, connection):
        self._host = host
        self._socket = connection
        self._reader = self._socket.makefile("rb", buffering=64 * 1024)

    @classmethod
    def at(cls, address):
        host, port = address.rsplit(":", 1)
        # Not `create_connection`, which looks addresses up and loads modules for names of other alphabets.
        connection = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        connection.connect((host, int(port)))
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return cls(host, connection)

    def get(self, path):
        return self._exchange("GET", path, b"", {})

    def post(self, path, body, headers=None):
        return self._exchange("POST", path, body, headers or {})

    def _exchange(self, method, path, body, headers):
        lines = [f"{method} {API}{path} HTTP/1.1", f"Host: {self._host}"]
        if method == "POST":
            lines.append("Content-Type: application/json")
            lines.append(f"Content-Length: {len(body)}")
        lines.extend(f"{name}: {value}" for name, value in headers.items())
        head = ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")
        self._socket.sendall(head + body)
        return self._read_response()

    def _read_response(self):
        status_line = self._reader.readline()
        if not status_line:
            # The platform has gone, and so must this process.
            os._exit(1)
        status = int(status_line.split(b" ", 2)[1])
        headers = {}
        while True:
            line = self._reader.readline().strip()
            if not line:
                break
            name, value = line.decode("latin-1").split(":", 1)
            headers[name.lower()] = value.strip()
        body = self._reader.read(int(headers.get("content-length", "0")))
        return status, headers, body


class ClientContext:
    """What a mobile client says about itself."""

    def __init__(self, values):
        self.custom = values.get("custom")
        self.env = values.get("env")
        self.client = Client(values["client"]) if values.get("client") else None


class Client:
    def __init__(self, values):
        self.installation_id = values.get("installation_id")
        self.app_title = values.get("app_title")
        self.app_version_name = values.get("app_version_name")
        self.app_version_code = values.get("app_version_code")
        self.app_package_name = values.get("app_package_name")


class CognitoIdentity:
    cognito_identity_id = None
    cognito_identity_pool_id = None


class LambdaContext:
    """What a handler gets beside its event."""

    def __init__(self, headers):
        self.aws_request_id = headers.get("lambda-runtime-aws-request-id", "")
        self.invoked_function_arn = headers.get("lambda-runtime-invoked-function-arn", "")
        self.function_name = os.environ.get("AWS_LAMBDA_FUNCTION_NAME")
        self.function_version = os.environ.get("AWS_LAMBDA_FUNCTION_VERSION")
        self.memory_limit_in_mb = os.environ.get("AWS_LAMBDA_FUNCTION_MEMORY_SIZE")
        self.log_group_name = os.environ.get("AWS_LAMBDA_LOG_GROUP_NAME")
        self.log_stream_name = os.environ.get("AWS_LAMBDA_LOG_STREAM_NAME")
        self.identity = CognitoIdentity()
        self.tenant_id = headers.get("lambda-runtime-aws-tenant-id")
        client_context = headers.get("lambda-runtime-client-context")
        self.client_context = ClientContext(json.loads(client_context)) if client_context else None
        self._epoch_deadline_time_in_ms = int(headers.get("lambda-runtime-deadline-ms", "0"))

    def get_remaining_time_in_millis(self):
        return max(self._epoch_deadline_time_in_ms - int(time.time() * 1000), 0)

    def log(self, message):
        sys.stdout.write(str(message))

    def __repr__(self):
        return f"LambdaContext([aws_request_id={self.aws_request_id}])"


class Fault(Exception):
    """An error of the function's that has a type of the platform's."""

    def __init__(self, error_type, message, trace=None):
        super().__init__(message)
        self.error_type = error_type
        self.trace = trace or []


# What every record has: anything else was given as `extra`.
ORDINARY = {*vars(logging.makeLogRecord({})), "message", "asctime", "aws_request_id", "taskName"}


def logs_json():
    return os.environ.get("AWS_LAMBDA_LOG_FORMAT") == "JSON"


def moment():
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())


class JsonFormatter(logging.Formatter):
    """A record as one JSON object, with AWS's names, and what was given as `extra` beside them."""

    def format(self, record):
        plain = isinstance(record.msg, dict) and not record.args
        shown = {
            "timestamp": self.formatTime(record, "%Y-%m-%dT%H:%M:%SZ"),
            "level": record.levelname,
            "message": record.msg if plain else record.getMessage(),
            "logger": record.name,
            "requestId": record.aws_request_id,
        }
        if record.exc_info and record.exc_info[0]:
            kind, error, trace = record.exc_info
            shown["stackTrace"] = traceback.format_tb(trace)
            shown["errorType"] = kind.__name__
            shown["errorMessage"] = str(error)
            shown["location"] = f"{record.pathname}:{record.funcName}:{record.lineno}"
        extra = {name: value for name, value in vars(record).items() if name not in ORDINARY}
        return json.dumps({**extra, **shown}, ensure_ascii=False, default=str)


class LogHandler(logging.Handler):
    """Writes records as AWS does: level, time, request, message."""

    request_id = ""

    def __init__(self):
        super().__init__()
        form = "[%(levelname)s]\t%(asctime)s.%(msecs)03dZ\t%(aws_request_id)s\t%(message)s"
        formatter = JsonFormatter() if logs_json() else logging.Formatter(form, "%Y-%m-%dT%H:%M:%S")
        formatter.converter = time.gmtime
        self.setFormatter(formatter)

    def emit(self, record):
        record.aws_request_id = LogHandler.request_id
        try:
            sys.stdout.write(self.format(record) + "\n")
        except Exception:
            self.handleError(record)


def load_handler(handler):
    """The function that `folder/module.sub.function` names."""
    try:
        module_name, function_name = handler.rsplit(".", 1)
    except ValueError as error:
        raise Fault("Runtime.MalformedHandlerName", f"Bad handler '{handler}': {error}") from None
    if module_name.split(".")[0] in sys.builtin_module_names:
        message = f"Cannot use built-in module {module_name} as a handler module"
        raise Fault("Runtime.BuiltInModuleConflict", message)
    try:
        module = importlib.import_module(module_name.replace("/", "."))
    except ImportError as error:
        message = f"Unable to import module '{module_name}': {error}"
        raise Fault("Runtime.ImportModuleError", message) from error
    except SyntaxError as error:
        trace = [f'  File "{error.filename}" Line {error.lineno}\n    {error.text}']
        message = f"Syntax error in module '{module_name}': {error}"
        raise Fault("Runtime.UserCodeSyntaxError", message, trace) from None
    try:
        return getattr(module, function_name)
    except AttributeError:
        message = f"Handler '{function_name}' missing on module '{module_name}'"
        raise Fault("Runtime.HandlerNotFound", message) from None


def describe(error):
    """An exception in AWS's shape. The frames of this file are left out."""
    if isinstance(error, Fault):
        error_type, trace = error.error_type, error.trace
    else:
        frames = traceback.extract_tb(error.__traceback__)
        own = [frame for frame in frames if frame.filename != __file__ and "<frozen importlib" not in frame.filename]
        error_type, trace = type(error).__name__, traceback.format_list(own)
    return {
        "errorMessage": str(error),
        "errorType": error_type,
        # Empty before there is a request.
        "requestId": LogHandler.request_id,
        "stackTrace": trace,
    }


def log_error(description):
    if logs_json():
        shown = {"timestamp": moment(), "level": "ERROR", **description}
        print(json.dumps(shown, ensure_ascii=False))
        return
    lines = [f"[ERROR] {description['errorType']}: {description['errorMessage']}"]
    if description["stackTrace"]:
        lines.append("Traceback (most recent call last):")
        lines.extend(entry.rstrip("\n") for entry in description["stackTrace"])
    print("\n".join(lines))


def to_json(value):
    def default(unknown):
        if isinstance(unknown, Decimal):
            return int(unknown) if unknown == unknown.to_integral_value() else float(unknown)
        raise TypeError(f"Object of type {type(unknown).__name__} is not JSON serializable")

    return json.dumps(value, ensure_ascii=False, default=default).encode("utf-8")


def encode(result):
    try:
        return to_json(result)
    except Exception as error:
        raise Fault("Runtime.MarshalError", f"Unable to marshal response: {error}") from error


def decode(body):
    try:
        return json.loads(body)
    except ValueError as error:
        raise Fault("Runtime.UnmarshalError", f"Unable to unmarshal input: {error}") from error


def serve_one(api, handler):
    _, headers, body = api.get("invocation/next")
    request_id = headers["lambda-runtime-aws-request-id"]
    LogHandler.request_id = request_id
    trace_id = headers.get("lambda-runtime-trace-id")
    if trace_id:
        os.environ["_X_AMZN_TRACE_ID"] = trace_id
    else:
        os.environ.pop("_X_AMZN_TRACE_ID", None)
    try:
        result = encode(handler(decode(body), LambdaContext(headers)))
    except Exception as error:
        description = describe(error)
        log_error(description)
        flush()
        fault_headers = {ERROR_TYPE: description["errorType"]}
        api.post(f"invocation/{request_id}/error", to_json(description), fault_headers)
        return
    flush()
    # A refusal (a response that is too large, say) is the platform's to report.
    api.post(f"invocation/{request_id}/response", result)


def flush():
    # What the function printed must be in the pipe before its answer is.
    sys.stdout.flush()
    sys.stderr.flush()


def layers(code):
    """Where layers bring modules. Outside a sandbox there are none, and `/opt` is somebody else's."""
    version = "python%d.%d" % sys.version_info[:2]
    folders = [f"/opt/python/lib/{version}/site-packages", "/opt/python"]
    return [folder for folder in folders if code == "/var/task" and os.path.isdir(folder)]


REHEARSAL = "def handler(event, context):\n    return [event, context.aws_request_id]\n"


def rehearse():
    """Goes through all that comes between a job and its first answer, and leaves no trace of it.

    What is done for the first time takes several times as long: memory has to be found for it.
    """
    ours, theirs = socket.socketpair()
    with ours, theirs:
        head = "HTTP/1.1 200 OK\r\nlambda-runtime-aws-request-id: a\r\nlambda-runtime-deadline-ms: 1\r\n"
        theirs.sendall(f"{head}content-length: 2\r\n\r\n{{}}".encode())
        theirs.sendall(b"HTTP/1.1 202 Accepted\r\ncontent-length: 0\r\n\r\n")
        exec(compile(REHEARSAL, "rehearsal", "exec"), scope := {})
        load_handler("rehearsal.handler")
        serve_one(RuntimeApi("", ours), scope["handler"])
    del sys.modules["rehearsal"]
    LogHandler.request_id = ""


def wait_for_job():
    """Becomes what is told on standard input: a folder, arguments and variables, each ended by a zero."""
    told = b"".join(iter(lambda: os.read(0, 64 * 1024), b"")).split(b"\0")[:-1]
    null = os.open(os.devnull, os.O_RDONLY)
    os.dup2(null, 0)
    os.close(null)
    folder, count, *rest = told
    sys.argv[:] = [os.fsdecode(argument) for argument in rest[: int(count)]]
    # Present since Python 3.10.
    if hasattr(sys, "orig_argv"):
        sys.orig_argv[1:] = sys.argv
    os.environ.clear()
    for variable in rest[int(count) :]:
        name, value = variable.split(b"=", 1)
        os.environb[name] = value
    os.chdir(folder)


def main():
    if sys.argv[1:] == ["early"]:
        rehearse()
        wait_for_job()
    own_folder = os.path.dirname(os.path.abspath(__file__))
    code = os.environ["LAMBDA_TASK_ROOT"]
    sys.path = [code] + layers(code) + [path for path in sys.path if path != own_folder]
    sys.stdout.reconfigure(line_buffering=True, errors="backslashreplace")
    sys.stderr.reconfigure(line_buffering=True)
    root = logging.getLogger()
    root.addHandler(LogHandler())
    level = os.environ.get("AWS_LAMBDA_LOG_LEVEL", "")
    # Python knows nothing below DEBUG, and the other names as they are.
    level = {"TRACE": "DEBUG"}.get(level, level)
    if level in ("DEBUG", "INFO", "WARN", "ERROR", "FATAL"):
        root.setLevel(level)
    api = RuntimeApi.at(os.environ["AWS_LAMBDA_RUNTIME_API"])
    try:
        handler = load_handler(os.environ["_HANDLER"])
    except Exception as error:
        description = describe(error)
        log_error(description)
        flush()
        api.post("init/error", to_json(description), {ERROR_TYPE: description["errorType"]})
        sys.exit(1)
    while True:
        serve_one(api, handler)
