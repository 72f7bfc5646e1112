"""Tells the key that functions of its role are given."""

import os


def handler(event, context):
    return [os.environ["AWS_ACCESS_KEY_ID"], os.environ["AWS_SECRET_ACCESS_KEY"]]
