"""Summarises CSV files: reads each object that an S3 event names, and writes what its columns hold.

The summary of `s3://IN/KEY` goes to `s3://$OUTPUT_BUCKET/KEY.summary.json`. It depends on the
object alone, so that a repeated event writes the same bytes again.
"""

import collections
import csv
import io
import json
import math
import os
from urllib.parse import unquote_plus

from s3 import client

SUFFIX = ".summary.json"
# What means "no value" in the files people have.
NULLS = {"", "NA", "N/A", "null", "NULL", "None", "NaN"}
TOP = 5


def handler(event, context):
    output_bucket = os.environ["OUTPUT_BUCKET"]
    store = client()
    written = []
    for record in event.get("Records", []):
        entity = record["s3"]
        bucket = entity["bucket"]["name"]
        # S3 encodes keys in events as a form would.
        key = unquote_plus(entity["object"]["key"])
        if key.endswith(SUFFIX):
            # Our own output, when both buckets are one: summarising it would never end.
            continue
        body = store.get(bucket, key)
        summary = summarise(body.decode("utf-8-sig"))
        summary = {"source": {"bucket": bucket, "key": key, "bytes": len(body)}, **summary}
        text = json.dumps(summary, indent=2, ensure_ascii=False)
        store.put(output_bucket, key + SUFFIX, text.encode(), "application/json")
        print(f"{bucket}/{key}: {summary['rows']} rows, {len(summary['columns'])} columns")
        written.append(key + SUFFIX)
    return {"bucket": output_bucket, "written": written}


def summarise(text):
    """Rows and columns of a CSV file whose first line names its columns."""
    rows = csv.reader(io.StringIO(text, newline=""))
    names = next(rows, None)
    if not names:
        raise ValueError("the file is empty: it has no line that names its columns")
    columns = [Column(name) for name in names]
    count = 0
    for number, row in enumerate(rows, start=2):
        if not row:
            continue
        if len(row) > len(columns):
            raise ValueError(f"line {number} has {len(row)} fields; the first line names {len(columns)}")
        count += 1
        # A short line lacks its last values.
        for column, value in zip(columns, row + [""] * (len(columns) - len(row))):
            column.add(value.strip())
    return {"rows": count, "columns": [column.summary() for column in columns]}


class Column:
    """The values of one column, as they are counted."""

    def __init__(self, name):
        self.name = name
        self.nulls = 0
        self.values = collections.Counter()

    def add(self, value):
        if value in NULLS:
            self.nulls += 1
        else:
            self.values[value] += 1

    def summary(self):
        # By count, and among equals by value, so that the order does not depend on the rows'.
        top = sorted(self.values.items(), key=lambda pair: (-pair[1], pair[0]))[:TOP]
        count = sum(self.values.values())
        summary = {
            "name": self.name,
            "count": count,
            "nulls": self.nulls,
            "distinct": len(self.values),
            "top": [{"value": value, "count": times} for value, times in top],
        }
        numbers = self.numbers()
        if numbers:
            values = [number for number, _ in numbers]
            total = math.fsum(number * times for number, times in numbers)
            summary["numeric"] = {"min": min(values), "max": max(values), "mean": total / count}
        return summary

    def numbers(self):
        """Each value as a number with its count, or nothing when one of them is no number."""
        try:
            numbers = [(float(value), times) for value, times in self.values.items()]
        except ValueError:
            return []
        return numbers if all(math.isfinite(number) for number, _ in numbers) else []
