"""Run with `python3 -m unittest` in this folder."""

import datetime
import http.server
import json
import os
import threading
import unittest
from unittest import mock

import app
import s3

# The credentials of the examples in AWS's documentation.
CREDENTIALS = {
    "AWS_ACCESS_KEY_ID": "AKIAIOSFODNN7EXAMPLE",
    "AWS_SECRET_ACCESS_KEY": "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY",
    "AWS_REGION": "us-east-1",
}


class Summary(unittest.TestCase):
    def test_columns_are_counted_and_numbers_measured(self):
        summary = app.summarise("name,mass\nada,3\nbo,NA\nada,4.5\n\n")
        self.assertEqual(summary["rows"], 3)
        name, mass = summary["columns"]
        self.assertEqual(name["top"], [{"value": "ada", "count": 2}, {"value": "bo", "count": 1}])
        self.assertNotIn("numeric", name)
        self.assertEqual((mass["count"], mass["nulls"], mass["distinct"]), (2, 1, 2))
        self.assertEqual(mass["numeric"], {"min": 3.0, "max": 4.5, "mean": 3.75})

    def test_a_line_with_too_many_fields_is_named(self):
        with self.assertRaisesRegex(ValueError, "line 3 has 2 fields"):
            app.summarise("a\n1\n2,3\n")

    def test_an_empty_file_is_refused(self):
        with self.assertRaisesRegex(ValueError, "empty"):
            app.summarise("")


class Signature(unittest.TestCase):
    @mock.patch.dict(os.environ, CREDENTIALS)
    def test_the_example_of_aws_is_signed_as_aws_does(self):
        # "Example: GET Object" of the S3 API reference, "Authenticating Requests".
        now = datetime.datetime(2013, 5, 24, tzinfo=datetime.timezone.utc)
        headers = {"range": "bytes=0-9"}
        host = "examplebucket.s3.amazonaws.com"
        signed = s3.sign("GET", host, "/test.txt", headers, b"", "us-east-1", now)
        expected = "f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41"
        self.assertTrue(signed["authorization"].endswith(f"Signature={expected}"))


class Store(http.server.BaseHTTPRequestHandler):
    objects = {}

    def do_GET(self):
        body = self.objects.get(self.path)
        self.send_response(200 if body is not None else 404)
        self.end_headers()
        self.wfile.write(body or b"<Code>NoSuchKey</Code>")

    def do_PUT(self):
        self.objects[self.path] = self.rfile.read(int(self.headers["content-length"]))
        self.send_response(200)
        self.end_headers()

    def log_message(self, *_):
        pass


class Handler(unittest.TestCase):
    def setUp(self):
        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Store)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        endpoint = f"http://127.0.0.1:{self.server.server_port}"
        environment = {**CREDENTIALS, "AWS_ENDPOINT_URL": endpoint, "OUTPUT_BUCKET": "out"}
        patch = mock.patch.dict(os.environ, environment)
        patch.start()
        self.addCleanup(patch.stop)
        self.addCleanup(self.server.server_close)
        self.addCleanup(self.server.shutdown)

    def event(self, key):
        return {"Records": [{"s3": {"bucket": {"name": "in"}, "object": {"key": key}}}]}

    def test_the_summary_is_written_beside_the_key(self):
        Store.objects["/in/a%20b%C3%BC.csv"] = b"x\n1\n"
        result = app.handler(self.event("a+b%C3%BC.csv"), None)
        self.assertEqual(result["written"], ["a bü.csv.summary.json"])
        summary = json.loads(Store.objects["/out/a%20b%C3%BC.csv.summary.json"])
        self.assertEqual(summary["source"], {"bucket": "in", "key": "a bü.csv", "bytes": 4})

    def test_its_own_output_is_left_alone(self):
        self.assertEqual(app.handler(self.event("a.csv.summary.json"), None)["written"], [])

    def test_a_missing_object_fails_the_invocation(self):
        with self.assertRaises(Exception):
            app.handler(self.event("missing.csv"), None)


if __name__ == "__main__":
    unittest.main()
