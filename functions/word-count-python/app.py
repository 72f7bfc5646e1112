"""Counts the words of `{"text": "…"}`, as a component that componentize-py makes."""
import json

import wit_world
from componentize_py_types import Err


class WitWorld(wit_world.WitWorld):
    def handle(self, event: bytes) -> bytes:
        text = json.loads(event).get("text")
        if text is None:
            raise Err("not a text")
        words = len(text.split())
        print(f"a text of {words} words")
        return json.dumps({"words": words}).encode()
