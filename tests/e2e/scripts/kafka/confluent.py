"""confluent-kafka (librdkafka): the list that every Kafka client goes through, in both group protocols."""
import os
import time
import uuid

from confluent_kafka import Consumer, ConsumerGroupTopicPartitions, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic

BOOTSTRAP = {"bootstrap.servers": os.environ["KAFKA_BOOTSTRAP"]}
RUN = uuid.uuid4().hex[:8]
TOPIC = f"confluent-{RUN}"
admin = AdminClient(BOOTSTRAP)
began = int(time.time() * 1000)

admin.create_topics([NewTopic(TOPIC, num_partitions=4, replication_factor=1)])[TOPIC].result(20)
while not (partitions := admin.list_topics(TOPIC, 20).topics[TOPIC].partitions):
    # A broker may hear of a topic a moment after it was created.
    pass
assert len(partitions) == 4, partitions

sent = set()
for compression in ["none", "gzip", "snappy", "lz4", "zstd"]:
    producer = Producer({**BOOTSTRAP, "enable.idempotence": True, "compression.type": compression})
    failures = []
    for n in range(100):
        sent.add(f"{compression}-{n}")
        producer.produce(TOPIC, key=str(n), value=f"{compression}-{n}",
                         on_delivery=lambda error, _: error and failures.append(error))
    assert producer.flush(30) == 0 and not failures, failures


def member(group, settings, topic=TOPIC):
    consumer = Consumer({**BOOTSTRAP, "group.id": group, "auto.offset.reset": "earliest",
                         "enable.auto.commit": False, **settings})
    consumer.subscribe([topic])
    return consumer


def until(consumers, done, seen, seconds=60):
    deadline = time.time() + seconds
    while not done():
        assert time.time() < deadline, (len(seen), [c.assignment() for c in consumers])
        for consumer in consumers:
            message = consumer.poll(0.05)
            if message is not None and not message.error():
                seen.append(message.value().decode())


PROTOCOLS = {
    "range": {"partition.assignment.strategy": "range", "session.timeout.ms": 6000},
    "roundrobin": {"partition.assignment.strategy": "roundrobin", "session.timeout.ms": 6000},
    "sticky": {"partition.assignment.strategy": "cooperative-sticky", "session.timeout.ms": 6000},
    "uniform": {"group.protocol": "consumer", "group.remote.assignor": "uniform"},
    "ranges": {"group.protocol": "consumer", "group.remote.assignor": "range"},
}
for name, settings in PROTOCOLS.items():
    group, seen = f"{name}-{RUN}", []
    one = member(group, settings)
    until([one], lambda: len(one.assignment()) == 4 and len(seen) == len(sent), seen)
    assert set(seen) == sent
    one.commit(asynchronous=False)
    two = member(group, settings)
    until([one, two], lambda: len(one.assignment()) == len(two.assignment()) == 2, seen)
    assert len(seen) == len(sent), "what was committed is not read again"
    two.close()
    until([one], lambda: len(one.assignment()) == 4, seen)
    offsets = one.committed([TopicPartition(TOPIC, p) for p in range(4)], 20)
    assert sum(place.offset for place in offsets) == len(sent), offsets
    listed = admin.list_consumer_groups(request_timeout=20).result()
    kind = "CONSUMER" if "group.protocol" in settings else "CLASSIC"
    found = [g for g in listed.valid if g.group_id == group]
    assert found and found[0].type.name == kind, (found, [g.group_id for g in listed.valid])
    one.close()
    assert sum(p.offset for p in admin.list_consumer_group_offsets(
        [ConsumerGroupTopicPartitions(group)])[group].result(20).topic_partitions) == len(sent)
    admin.delete_consumer_groups([group], request_timeout=20)[group].result(20)

# A static member that comes back finds what it had, without a rebalance of the others.
for name, settings in PROTOCOLS.items():
    group, seen = f"static-{name}-{RUN}", []
    fixed = lambda instance: member(group, {**settings, "group.instance.id": instance})
    one, two = fixed("one"), fixed("two")
    until([one, two], lambda: len(one.assignment()) == len(two.assignment()) == 2, seen)
    had = {place.partition for place in two.assignment()}
    two.close()
    two = fixed("two")
    until([one, two], lambda: len(two.assignment()) == 2, seen)
    assert {place.partition for place in two.assignment()} == had and len(one.assignment()) == 2
    one.close()
    two.close()

reader = Consumer({**BOOTSTRAP, "group.id": f"reader-{RUN}"})
times = reader.offsets_for_times([TopicPartition(TOPIC, p, began) for p in range(4)], 20)
assert [place.offset for place in times] == [0] * 4, times
late = reader.offsets_for_times([TopicPartition(TOPIC, 0, int(time.time() * 1000) + 60_000)], 20)
assert late[0].offset < 0, late
reader.close()

outcome = f"outcome-{RUN}"
admin.create_topics([NewTopic(outcome, num_partitions=1, replication_factor=1)])[outcome].result(20)
producer = Producer({**BOOTSTRAP, "transactional.id": f"t-{RUN}"})
producer.init_transactions(30)
source = member(f"source-{RUN}", {})
until([source], lambda: len(source.assignment()) == 4, [])
for word in ["kept", "dropped", "kept"]:
    producer.begin_transaction()
    for n in range(10):
        producer.produce(outcome, value=f"{word}-{n}")
    producer.flush(30)
    if word == "kept":
        position = [TopicPartition(TOPIC, 0, 5)]
        producer.send_offsets_to_transaction(position, source.consumer_group_metadata(), 30)
        producer.commit_transaction(30)
    else:
        producer.abort_transaction(30)
assert source.committed([TopicPartition(TOPIC, 0)], 20)[0].offset == 5
source.close()
for level, want in [("read_committed", 20), ("read_uncommitted", 30)]:
    seen = []
    consumer = member(f"{level}-{RUN}", {"isolation.level": level}, outcome)
    until([consumer], lambda: len(seen) >= want, seen)
    assert not [m for m in seen if level == "read_committed" and m.startswith("dropped")], seen
    consumer.close()
admin.delete_topics([outcome])[outcome].result(20)

admin.delete_topics([TOPIC])[TOPIC].result(20)
print("ok", flush=True)
# Everything is asserted; a client that is torn down with the interpreter may wait for ever.
os._exit(0)
