"""What the matrix of runtime clients invokes, in Python: for awslambdaric and for our own runtime."""
import os
import sys
import threading
import time
import uuid

instance = str(uuid.uuid4())
calls = 0
ticks = 0


class OrderRefused(Exception):
    pass


def echo(event, context):
    return event


def nothing(event, context):
    pass


def length(event, context):
    return len(event["text"])


def repeat(event, context):
    return "x" * event["times"]


def throw(event, context):
    raise ValueError("boom")


def custom(event, context):
    raise OrderRefused("order 7: ¡no! 😀")


def unserialisable(event, context):
    return object()


def exit_zero(event, context):
    os._exit(0)


def exit_one(event, context):
    sys.exit(1)


def killed(event, context):
    os.kill(os.getpid(), 9)


def hang(event, context):
    if event.get("hang"):
        time.sleep(60)
    return instance


def crash_sometimes(event, context):
    global calls
    calls += 1
    if event.get("crash"):
        os._exit(3)
    return {"instance": instance, "calls": calls}


def count(event, context):
    global calls
    calls += 1
    with open("/tmp/calls", "a+") as file:
        file.write("x")
        file.seek(0)
        kept = len(file.read())
    return {"instance": instance, "calls": calls, "kept": kept}


def busy(event, context):
    began = time.time_ns() // 1000
    time.sleep(0.3)
    return {"instance": instance, "request": context.aws_request_id, "began": began, "ended": time.time_ns() // 1000}


def context(event, context):
    return {
        "request_id": context.aws_request_id,
        "name": context.function_name,
        "version": context.function_version,
        "arn": context.invoked_function_arn,
        "memory": int(context.memory_limit_in_mb),
        "log_group": context.log_group_name,
        "log_stream": context.log_stream_name,
        "remaining": context.get_remaining_time_in_millis(),
        "client": context.client_context and context.client_context.custom,
    }


def environment(event, context):
    return dict(os.environ, PWD=os.getcwd())


def trace(event, context):
    return os.environ.get("_X_AMZN_TRACE_ID")


def tick():
    global ticks
    while True:
        time.sleep(0.001)
        ticks += 1


def ticking(event, context):
    global calls
    if calls == 0:
        threading.Thread(target=tick, daemon=True).start()
    calls += 1
    return ticks


def log(event, context):
    print("to standard output")
    print("to standard error", file=sys.stderr)
    print("unicode: grüße 😀")
    if event.get("long"):
        print("y" * event["long"])
    return "logged"


def flood(event, context):
    line = "z" * 1023 + "\n"
    for _ in range(event["kib"]):
        sys.stderr.write(line)
    return "flooded"
