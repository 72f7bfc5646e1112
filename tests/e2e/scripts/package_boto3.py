"""A function's package: app.py, and the boto3 that this Python has, with what S3 needs of it.

package_boto3.py APP ZIP
"""

import importlib.util
import pathlib
import sys
import zipfile

app, package = sys.argv[1:]
MODULES = ["boto3", "botocore", "dateutil", "jmespath", "s3transfer", "six", "urllib3"]


def needed(path):
    parts = path.parts
    if "__pycache__" in parts or path.is_dir():
        return False
    # Models of services: of some hundred only S3's.
    inside = "data" in parts and "botocore" in parts and len(parts) > parts.index("data") + 2
    return not inside or "s3" in parts


with zipfile.ZipFile(package, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
    archive.write(app, "app.py")
    for name in MODULES:
        place = pathlib.Path(importlib.util.find_spec(name).origin)
        if place.name != "__init__.py":
            archive.write(place, place.name)
            continue
        root = place.parent.parent
        for path in place.parent.rglob("*"):
            if needed(path.relative_to(root)):
                archive.write(path, path.relative_to(root))
