"""confluent-kafka: idempotent producing, every compression, groups that resume and rebalance."""
import json
import os
import time

from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaError, KafkaException, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic

BOOTSTRAP = os.environ["KAFKA_BOOTSTRAP"]
admin = AdminClient({"bootstrap.servers": BOOTSTRAP})
admin.create_topics([NewTopic("pairs", num_partitions=4)])["pairs"].result(10)
assert len(admin.list_topics("pairs", 10).topics["pairs"].partitions) == 4

sent = set()
for compression in ["none", "gzip", "snappy", "lz4", "zstd"]:
    producer = Producer({"bootstrap.servers": BOOTSTRAP, "enable.idempotence": True, "compression.type": compression})
    failures = []
    for n in range(500):
        value = f"{compression}-{n}"
        sent.add(value)
        producer.produce("pairs", key=str(n % 11), value=value, headers={"n": str(n)},
                         on_delivery=lambda error, _: failures.append(error) if error else None)
    assert producer.flush(30) == 0 and not failures, failures


def member(group):
    consumer = Consumer({"bootstrap.servers": BOOTSTRAP, "group.id": group, "auto.offset.reset": "earliest",
                         "enable.auto.commit": False, "session.timeout.ms": 6000,
                         "partition.assignment.strategy": "cooperative-sticky"})
    consumer.subscribe(["pairs"])
    return consumer


def commit(consumer, message=None):
    what = {"message": message} if message else {}
    try:
        consumer.commit(asynchronous=False, **what)
    except KafkaException as error:
        # A commit that meets a rebalance is refused; whoever gets the partition reads its records again.
        # Where the latest message was committed just now, there is nothing left to commit.
        passing = (KafkaError.ILLEGAL_GENERATION, KafkaError.REBALANCE_IN_PROGRESS, KafkaError._NO_OFFSET)
        if error.args[0].code() not in passing:
            raise


def drain(consumers, want, seconds=120):
    seen, deadline = set(), time.time() + seconds
    while len(seen) < want and time.time() < deadline:
        for consumer in consumers:
            message = consumer.poll(0.01)
            if message is not None and not message.error():
                seen.add(message.value().decode())
                commit(consumer, message) if len(seen) % 50 == 0 else None
    return seen


one = member("g")
first = drain([one], 1000)
commit(one)
one.close()
two, three = member("g"), member("g")
rest = drain([two, three], len(sent) - len(first))
assert first | rest == sent and not first & rest, (len(first), len(rest), len(sent))
assert two.assignment() and three.assignment(), "both members have partitions"
two.close()
three.close()

# Committed offsets are what the group reads back; seeking and timestamps work.
reader = Consumer({"bootstrap.servers": BOOTSTRAP, "group.id": "g", "enable.auto.commit": False})
committed = reader.committed([TopicPartition("pairs", p) for p in range(4)], 10)
ends = [reader.get_watermark_offsets(TopicPartition("pairs", p), 10)[1] for p in range(4)]
assert sum(ends) == len(sent) and all(p.offset <= end for p, end in zip(committed, ends)), (committed, ends)
times = reader.offsets_for_times([TopicPartition("pairs", 0, 0)], 10)
assert times[0].offset == 0, times
reader.assign([TopicPartition("pairs", 0, OFFSET_BEGINNING)])
message = reader.poll(20)
assert message.offset() == 0 and message.headers()[0][0] == "n"
reader.close()
admin.delete_topics(["pairs"])["pairs"].result(10)
print(json.dumps({"ok": True}), flush=True)
# Everything is asserted; a client that is torn down with the interpreter may wait for ever.
os._exit(0)
