"""confluent-kafka: a group outlives the kill of a member and of the server, in both group protocols.

The server is killed by whoever runs this: it prints `kill` and reads a line once the server is back.
"""
import os
import signal
import subprocess
import sys
import time
import uuid

from confluent_kafka import Consumer, KafkaException, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic

BOOTSTRAP = {"bootstrap.servers": os.environ["KAFKA_BOOTSTRAP"], "reconnect.backoff.max.ms": 200}
PROTOCOLS = {"classic": {"session.timeout.ms": 6000}, "consumer": {"group.protocol": "consumer"}}


def member(group, topic, settings):
    consumer = Consumer({**BOOTSTRAP, "group.id": group, "auto.offset.reset": "earliest",
                         "enable.auto.commit": False, **settings})
    consumer.subscribe([topic])
    return consumer


def other(group, topic, protocol):
    """A member that is there to be killed."""
    consumer = member(group, topic, PROTOCOLS[protocol])
    while True:
        consumer.poll(0.1)
        if consumer.assignment():
            print("assigned", flush=True)


def until(consumer, done, seen, seconds=60):
    deadline = time.time() + seconds
    while not done():
        assert time.time() < deadline, (len(seen), consumer.assignment())
        message = consumer.poll(0.05)
        if message is not None and not message.error():
            seen.append(message.value().decode())


def survive(protocol):
    run = uuid.uuid4().hex[:8]
    topic, group = f"survivors-{run}", f"{protocol}-{run}"
    admin = AdminClient(BOOTSTRAP)
    admin.create_topics([NewTopic(topic, num_partitions=4, replication_factor=1)])[topic].result(20)
    producer = Producer(BOOTSTRAP)

    def produce(words):
        for word in words:
            producer.produce(topic, key=word, value=word)
        assert producer.flush(60) == 0

    seen = []
    one = member(group, topic, PROTOCOLS[protocol])
    until(one, lambda: len(one.assignment()) == 4, seen)
    two = subprocess.Popen([sys.executable, __file__, group, topic, protocol], stdout=subprocess.PIPE, text=True)
    until(one, lambda: len(one.assignment()) == 2, seen)
    assert two.stdout.readline() == "assigned\n"
    two.send_signal(signal.SIGKILL)
    two.wait()
    first = {f"first-{n}" for n in range(100)}
    produce(first)
    until(one, lambda: len(one.assignment()) == 4 and first <= set(seen), seen)
    one.commit(asynchronous=False)

    print("kill", flush=True)
    sys.stdin.readline()
    second = {f"second-{n}" for n in range(100)}
    produce(second)
    until(one, lambda: second <= set(seen), seen)

    def committed():
        # Until the member has joined again, its commits are refused; then it reads on from the last one taken.
        try:
            one.commit(asynchronous=False)
        except KafkaException:
            return False
        offsets = one.committed([TopicPartition(topic, p) for p in range(4)], 20)
        return sum(place.offset for place in offsets) == 200

    until(one, committed, seen)
    assert set(seen) == first | second
    one.close()


if len(sys.argv) > 1:
    other(*sys.argv[1:])
for protocol in PROTOCOLS:
    survive(protocol)
print("ok", flush=True)
os._exit(0)
