"""kafka-python: a second implementation of the protocol that shares no code with librdkafka."""
import json
import os

from kafka import KafkaConsumer, KafkaProducer
from kafka.admin import KafkaAdminClient

BOOTSTRAP = os.environ["KAFKA_BOOTSTRAP"]
producer = KafkaProducer(bootstrap_servers=BOOTSTRAP, acks="all")
for n in range(300):
    producer.send("numbers", key=str(n % 5).encode(), value=str(n).encode())
producer.flush(30)
consumer = KafkaConsumer("numbers", bootstrap_servers=BOOTSTRAP, group_id="py", auto_offset_reset="earliest",
                         enable_auto_commit=False, consumer_timeout_ms=15_000)
seen = []
for record in consumer:
    seen.append((record.key, int(record.value)))
    if len(seen) == 300:
        break
assert sorted(value for _, value in seen) == list(range(300))
for key in {key for key, _ in seen}:
    values = [value for other, value in seen if other == key]
    assert values == sorted(values), "one key keeps its order"
consumer.commit()
consumer.close()
assert "numbers" in KafkaAdminClient(bootstrap_servers=BOOTSTRAP).list_topics()
again = KafkaConsumer("numbers", bootstrap_servers=BOOTSTRAP, group_id="py", consumer_timeout_ms=3_000)
assert list(again) == [], "the group resumes where it committed"
again.close()
print(json.dumps({"ok": True}), flush=True)
# Everything is asserted; a client that is torn down with the interpreter may wait for ever.
os._exit(0)
