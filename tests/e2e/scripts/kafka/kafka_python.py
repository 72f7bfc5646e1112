"""kafka-python: the list that every Kafka client goes through."""
import os
import time
import uuid

from kafka import KafkaConsumer, KafkaProducer, TopicPartition
from kafka.admin import KafkaAdminClient, NewTopic
from kafka.structs import OffsetAndMetadata

BOOTSTRAP = os.environ["KAFKA_BOOTSTRAP"]
RUN = uuid.uuid4().hex[:8]
TOPIC = f"kafka-python-{RUN}"
admin = KafkaAdminClient(bootstrap_servers=BOOTSTRAP)
began = int(time.time() * 1000)

admin.create_topics([NewTopic(TOPIC, 4, 1)])
described = [{"partitions": []}]
while not described[0]["partitions"]:
    # A broker may hear of a topic a moment after it was created.
    described = admin.describe_topics([TOPIC])
assert len(described[0]["partitions"]) == 4, described

sent = set()
for compression in [None, "gzip", "snappy", "lz4", "zstd"]:
    producer = KafkaProducer(bootstrap_servers=BOOTSTRAP, compression_type=compression, enable_idempotence=True)
    for n in range(100):
        sent.add(f"{compression}-{n}")
        producer.send(TOPIC, key=str(n).encode(), value=f"{compression}-{n}".encode())
    producer.flush(30)
    producer.close()


def member(group, *topics, **settings):
    return KafkaConsumer(*(topics or [TOPIC]), bootstrap_servers=BOOTSTRAP, group_id=group,
                         auto_offset_reset="earliest", enable_auto_commit=False, session_timeout_ms=10_000,
                         heartbeat_interval_ms=500, metadata_max_age_ms=2_000, **settings)


def until(consumers, done, seen, seconds=180):
    deadline = time.time() + seconds
    while not done():
        assert time.time() < deadline, (len(seen), [c.assignment() for c in consumers])
        for consumer in consumers:
            for records in consumer.poll(timeout_ms=500).values():
                seen.extend(record.value.decode() for record in records)


group, seen = f"group-{RUN}", []
one = member(group)
until([one], lambda: len(seen) == len(sent), seen)
assert set(seen) == sent
one.commit()
two = member(group)
until([one, two], lambda: len(one.assignment()) == len(two.assignment()) == 2, seen)
two.close()
until([one], lambda: len(one.assignment()) == 4, seen)
assert len(seen) == len(sent), "what was committed is not read again"
assert sum(one.committed(TopicPartition(TOPIC, p)) for p in range(4)) == len(sent)
times = one.offsets_for_times({TopicPartition(TOPIC, p): began for p in range(4)})
assert [place.offset for place in times.values()] == [0] * 4, times
one.close()
assert group in str(admin.list_groups())
admin.delete_groups([group])

outcome = f"outcome-{RUN}"
admin.create_topics([NewTopic(outcome, 1, 1)])
producer = KafkaProducer(bootstrap_servers=BOOTSTRAP, transactional_id=f"t-{RUN}")
producer.init_transactions()
source = member(f"source-{RUN}")
until([source], lambda: source.assignment(), [])
for word in ["kept", "dropped", "kept"]:
    producer.begin_transaction()
    for n in range(10):
        producer.send(outcome, value=f"{word}-{n}".encode())
    producer.flush(30)
    if word == "kept":
        place = {TopicPartition(TOPIC, 0): OffsetAndMetadata(5, "", -1)}
        producer.send_offsets_to_transaction(place, source.group_metadata())
        producer.commit_transaction()
    else:
        producer.abort_transaction()
deadline = time.time() + 60
while (committed := source.committed(TopicPartition(TOPIC, 0))) != 5:
    # Kafka answers for a commit before its offsets are there to be read.
    assert time.time() < deadline, committed
source.close()
for level, want in [("read_committed", 20), ("read_uncommitted", 30)]:
    seen = []
    consumer = member(f"{level}-{RUN}", outcome, isolation_level=level)
    until([consumer], lambda: len(seen) >= want, seen)
    assert not [m for m in seen if level == "read_committed" and m.startswith("dropped")], seen
    consumer.close()
admin.delete_topics([outcome])

admin.delete_topics([TOPIC])
print("ok", flush=True)
# Everything is asserted; a client that is torn down with the interpreter may wait for ever.
os._exit(0)
