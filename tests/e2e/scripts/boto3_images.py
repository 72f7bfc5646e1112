"""boto3 and skopeo against functions that are container images.

    boto3_images.py build FOLDER            makes OCI layouts below FOLDER, and pushes them to the registry
    boto3_images.py deploy                  creates, invokes, updates, and is refused
    boto3_images.py again                   the same functions after the server was killed

The registry is at REGISTRY (host:port), its user and password in REGISTRY_USER and REGISTRY_PASSWORD;
SKOPEO is the tool's path, GO_FUNCTION a static program on aws-lambda-go, RIC a folder with awslambdaric.
"""
import base64
import hashlib
import io
import json
import os
import re
import subprocess
import sys
import tarfile
import time

ROLE = "arn:aws:iam::000000000000:role/any"
REGISTRY = os.environ["REGISTRY"]
PYTHON = "/usr/bin/python3"

APP = b'''
import os
print("imported")
def handler(event, context):
    def fails(act):
        try:
            act()
        except OSError as error:
            return type(error).__name__
    open("/tmp/kept", "w").write("x")
    return {
        "event": event, "user": os.getuid(), "directory": os.getcwd(), "root": sorted(os.listdir("/")),
        "greeting": os.environ.get("GREETING"), "colour": os.environ.get("COLOUR"),
        "handler": os.environ.get("_HANDLER"), "runtime": os.environ.get("AWS_EXECUTION_ENV"),
        "wrote": fails(lambda: open("/var/task/new", "w")), "hidden": os.path.exists("/srv/hidden"),
        "hosts": "localhost" in open("/etc/hosts").read(), "shell": os.path.exists("/bin/sh"),
        "set_user": bool(os.stat("/srv/program").st_mode & 0o4000), "arn": context.invoked_function_arn,
    }
'''

EXTENSION = b'''#!/usr/bin/python3
import http.client, os
def call(method, path, body, headers):
    connection = http.client.HTTPConnection(os.environ["AWS_LAMBDA_RUNTIME_API"])
    connection.request(method, path, body, headers)
    response = connection.getresponse()
    response.read()
    return response.headers
named = {"Lambda-Extension-Name": os.path.basename(__file__)}
headers = call("POST", "/2020-01-01/extension/register", '{"events": ["INVOKE"]}', named)
me = {"Lambda-Extension-Identifier": headers["Lambda-Extension-Identifier"]}
while True:
    call("GET", "/2020-01-01/extension/event/next", None, me)
    print("an extension of the image was told", flush=True)
'''


class Layer:
    def __init__(self):
        self.bytes = io.BytesIO()
        self.archive = tarfile.open(fileobj=self.bytes, mode="w", format=tarfile.PAX_FORMAT)

    def add(self, name, content=b"", mode=0o644, **fields):
        info = tarfile.TarInfo(name)
        info.mode, info.size = mode, len(content)
        for field, value in fields.items():
            setattr(info, field, value)
        self.archive.addfile(info, io.BytesIO(content))

    def copy(self, path):
        """A file or link of this machine's, at its own place, and what it needs to be run."""
        if os.path.islink(path):
            self.add(path.lstrip("/"), type=tarfile.SYMTYPE, linkname=os.readlink(path))
        self.add(os.path.realpath(path).lstrip("/"), open(path, "rb").read(), mode=0o755)

    def done(self):
        self.archive.close()
        return self.bytes.getvalue()


class Layout:
    def __init__(self, path):
        self.path, self.manifests = path, []
        os.makedirs(f"{path}/blobs/sha256")

    def blob(self, content, media_type):
        digest = hashlib.sha256(content).hexdigest()
        with open(f"{self.path}/blobs/sha256/{digest}", "wb") as file:
            file.write(content)
        return {"mediaType": media_type, "digest": f"sha256:{digest}", "size": len(content)}

    def image(self, tag, layers, architecture=None, **config):
        kind = "application/vnd.oci.image"
        architecture = architecture or {"aarch64": "arm64"}.get(os.uname().machine, "amd64")
        described = {
            "architecture": architecture, "os": "linux", "config": config,
            "rootfs": {"type": "layers", "diff_ids": [
                "sha256:" + hashlib.sha256(layer).hexdigest() for layer in layers]},
        }
        manifest = {
            "schemaVersion": 2, "mediaType": f"{kind}.manifest.v1+json",
            "config": self.blob(json.dumps(described).encode(), f"{kind}.config.v1+json"),
            "layers": [self.blob(layer, f"{kind}.layer.v1.tar") for layer in layers],
        }
        found = self.blob(json.dumps(manifest).encode(), f"{kind}.manifest.v1+json")
        platform = {"architecture": architecture, "os": "linux"}
        self.manifests.append({**found, "platform": platform, **named(tag)})

    def index(self, tag):
        """All images so far become entries of an index, which is all that is left."""
        kind = "application/vnd.oci.image.index.v1+json"
        index = {"schemaVersion": 2, "mediaType": kind, "manifests": self.manifests}
        self.manifests = [{**self.blob(json.dumps(index).encode(), kind), **named(tag)}]

    def done(self):
        with open(f"{self.path}/index.json", "w") as file:
            json.dump({"schemaVersion": 2, "manifests": self.manifests}, file)
        with open(f"{self.path}/oci-layout", "w") as file:
            file.write('{"imageLayoutVersion": "1.0.0"}')


def named(tag):
    return {"annotations": {"org.opencontainers.image.ref.name": tag}}


def needed(programs):
    """The libraries that programs of this machine need, by their paths."""
    told = subprocess.run(["ldd", *programs], capture_output=True, text=True).stdout
    return sorted(set(re.findall(r"(/\S+\.so\S*) \(0x", told)))


def interpreter():
    """A layer with this machine's Python."""
    layer, home = Layer(), "/usr/lib/" + os.path.basename(os.path.realpath(PYTHON))
    modules = []
    for folder, folders, names in os.walk(home):
        unused = {"__pycache__", "test", "idlelib", "lib2to3", "tkinter", "ensurepip", "pydoc_data"}
        folders[:] = [name for name in folders if name not in unused]
        modules += [os.path.join(folder, name) for name in names]
    native = [path for path in modules if path.endswith(".so")]
    for path in modules:
        layer.add(os.path.realpath(path).lstrip("/"), open(path, "rb").read())
    for folder in ["lib", "lib64"]:
        if os.path.islink(f"/{folder}"):
            target = os.readlink(f"/{folder}")
            layer.add(target, mode=0o755, type=tarfile.DIRTYPE)
            layer.add(folder, type=tarfile.SYMTYPE, linkname=target)
    client = [os.path.join(os.environ["RIC"], name) for name in os.listdir(os.environ["RIC"])]
    for path in needed([os.path.realpath(PYTHON), *native, *(p for p in client if p.endswith(".so"))]):
        layer.copy(path)
    layer.copy(PYTHON)
    layer.add("srv/hidden", b"by a whiteout")
    layer.add("srv/program", b"with a bit that is dropped", mode=0o4755)
    layer.add("dev/disk", type=tarfile.BLKTYPE)
    return layer.done()


def application():
    """A layer with AWS's client, a handler and an extension."""
    layer, home = Layer(), os.environ["RIC"]
    for folder, _, names in os.walk(home):
        for name in names:
            path = os.path.join(folder, name)
            place = os.path.join("var/task", os.path.relpath(path, home))
            layer.add(place, open(path, "rb").read())
    layer.add("var/task/app.py", APP)
    layer.add("opt", type=tarfile.SYMTYPE, linkname="/srv/opt")
    layer.add("srv/opt/extensions/watcher", EXTENSION, mode=0o755)
    layer.add("srv/.wh.hidden")
    return layer.done()


def build(folder):
    go = Layer()
    go.add("app/main", open(os.environ["GO_FUNCTION"], "rb").read(), mode=0o755)
    go.add("run", type=tarfile.SYMTYPE, linkname="/app/main")
    go = go.done()
    layout = Layout(f"{folder}/go")
    layout.image("1", [go], Entrypoint=["/run"], Cmd=["echo"])
    layout.image("2", [go], Entrypoint=["/run"], Cmd=["throws"], User="0:0")
    layout.image("none", [go], Entrypoint=["/missing"])
    layout.done()
    multi = Layout(f"{folder}/many/platforms")
    multi.image("other", [], architecture="s390x")
    multi.image("ours", [go], Entrypoint=["/run"], Cmd=["echo"])
    multi.index("both")
    multi.image("foreign", [], architecture="s390x")
    multi.done()
    layout = Layout(f"{folder}/python")
    layout.image(
        "1", [interpreter(), application()], Entrypoint=[PYTHON, "-m", "awslambdaric"],
        Cmd=["app.handler"], Env=["GREETING=from the image", "COLOUR=red"], WorkingDir="/var/task",
        User="nobody")
    layout.done()
    user = f"{os.environ['REGISTRY_USER']}:{os.environ['REGISTRY_PASSWORD']}"
    for source, target, options in [
        ("go:1", "go:1", ["--format=oci"]),
        ("go:2", "go:2", ["--format=v2s2"]),
        ("python:1", "team/python:1", ["--format=oci", "--dest-compress-format=zstd"]),
    ]:
        subprocess.run([
            os.environ["SKOPEO"], "copy", "--quiet", "--insecure-policy", *options, "--dest-tls-verify=false",
            f"--dest-creds={user}", f"oci:{folder}/{source}", f"docker://{REGISTRY}/{target}"], check=True)


def clients():
    import boto3
    from botocore.client import Config
    return boto3.client("lambda", config=Config(read_timeout=120, retries={"total_max_attempts": 1}))


def invoke(functions, name, event):
    answer = functions.invoke(FunctionName=name, Payload=json.dumps(event), LogType="Tail")
    log = base64.b64decode(answer["LogResult"]).decode()
    return json.loads(answer["Payload"].read()), answer.get("FunctionError"), log


def deploy():
    from botocore.exceptions import ClientError
    functions = clients()

    def create(name, uri, **settings):
        return functions.create_function(
            FunctionName=name, PackageType="Image", Role=ROLE, Code={"ImageUri": uri}, Timeout=30,
            MemorySize=256, **settings)

    def arrived(name, waiter="function_active_v2"):
        functions.get_waiter(waiter).wait(FunctionName=name, WaiterConfig={"Delay": 1})
        return functions.get_function(FunctionName=name)

    def refused(words, act, **arguments):
        try:
            act(**arguments)
        except ClientError as error:
            assert words in error.response["Error"]["Message"], error
        else:
            raise AssertionError(f"not refused: {arguments}")

    created = create("go", f"{REGISTRY}/go:1")
    assert created["PackageType"] == "Image" and created["State"] in ("Pending", "Active"), created
    shown = arrived("go")
    code = shown["Code"]
    assert code["ImageUri"] == f"{REGISTRY}/go:1", code
    assert code["ResolvedImageUri"] == f"{REGISTRY}/go@sha256:{shown['Configuration']['CodeSha256']}", code
    assert invoke(functions, "go", {"a": [1]})[:2] == ({"a": [1]}, None)

    # Another tag, in Docker's own media types: the old image answers until the new one has come.
    functions.update_function_code(FunctionName="go", ImageUri=f"{REGISTRY}/go:2")
    arrived("go", "function_updated_v2")
    answer, error, _ = invoke(functions, "go", {})
    assert error == "Unhandled", answer
    functions.update_function_configuration(FunctionName="go", ImageConfig={"Command": ["echo"]})
    arrived("go", "function_updated_v2")
    assert invoke(functions, "go", {"b": 2})[:2] == ({"b": 2}, None)
    stated = functions.get_function_configuration(FunctionName="go")
    assert stated["ImageConfigResponse"] == {"ImageConfig": {"Command": ["echo"]}}, stated

    create("python", f"{REGISTRY}/team/python:1", Environment={"Variables": {"COLOUR": "blue"}})
    arrived("python")
    python(functions)

    # From the operator's folder: a layout with one image, and an index of several machines'.
    for name, uri in [("layout", "oci:go:1"), ("many", "oci:many/platforms:both")]:
        create(name, uri)
        arrived(name)
        assert invoke(functions, name, {"n": name})[:2] == ({"n": name}, None)

    create("none", "oci:go:none")
    arrived("none")
    answer, error, _ = invoke(functions, "none", {})
    assert error == "Unhandled" and answer["errorType"] == "Runtime.InvalidEntrypoint", answer

    refused("does not exist", create, name="x", uri=f"{REGISTRY}/go:missing")
    refused("does not exist", create, name="x", uri="oci:missing")
    refused("not supported", create, name="x", uri="oci:many/platforms:foreign")
    refused("not valid", create, name="x", uri="go")
    refused("permission", create, name="x", uri="127.0.0.1:1/go:1")
    refused("permission", create, name="x", uri="elsewhere.example/go:1")


def python(functions):
    answer, error, log = invoke(functions, "python", {"x": "ü"})
    assert error is None, (answer, log)
    expected = {
        "event": {"x": "ü"}, "user": 993, "directory": "/var/task", "greeting": "from the image",
        "colour": "blue", "handler": "app.handler", "runtime": None, "wrote": "OSError", "hidden": False,
        "hosts": True, "shell": False, "set_user": False,
        "arn": "arn:aws:lambda:us-east-1:000000000000:function:python",
    }
    root = answer.pop("root")
    assert answer == expected, answer
    assert {"dev", "etc", "proc", "srv", "tmp", "usr", "var"} <= set(root), root
    assert not {"home", "root", "sys", "run"} & set(root), root
    for _ in range(50):
        if "an extension of the image was told" in log:
            break
        time.sleep(0.1)
        log += invoke(functions, "python", {})[2]
    assert "an extension of the image was told" in log, log


def again():
    functions = clients()
    assert invoke(functions, "go", {"c": 3})[:2] == ({"c": 3}, None)
    assert invoke(functions, "layout", {"d": 4})[:2] == ({"d": 4}, None)
    python(functions)


{"build": build, "deploy": deploy, "again": again}[sys.argv[1]](*sys.argv[2:])
