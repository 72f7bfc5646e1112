"""aiokafka: the list that every Kafka client goes through."""
import asyncio
import os
import time
import uuid

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewTopic

BOOTSTRAP = os.environ["KAFKA_BOOTSTRAP"]
RUN = uuid.uuid4().hex[:8]
TOPIC = f"aiokafka-{RUN}"


async def member(group, topic=TOPIC, **settings):
    consumer = AIOKafkaConsumer(topic, bootstrap_servers=BOOTSTRAP, group_id=group, auto_offset_reset="earliest",
                                enable_auto_commit=False, heartbeat_interval_ms=500, **settings)
    await consumer.start()
    return consumer


async def until(consumers, done, seen, seconds=60):
    deadline = time.time() + seconds
    while not done():
        assert time.time() < deadline, (len(seen), [c.assignment() for c in consumers])
        for consumer in consumers:
            for records in (await consumer.getmany(timeout_ms=100)).values():
                seen.extend(record.value.decode() for record in records)


async def main():
    began = int(time.time() * 1000)
    admin = AIOKafkaAdminClient(bootstrap_servers=BOOTSTRAP)
    await admin.start()
    await admin.create_topics([NewTopic(TOPIC, 4, 1)])
    described = [{"partitions": []}]
    while not described[0]["partitions"]:
        # A broker may hear of a topic a moment after it was created.
        described = await admin.describe_topics([TOPIC])
    assert len(described[0]["partitions"]) == 4, described

    sent = set()
    for compression in [None, "gzip", "snappy", "lz4", "zstd"]:
        producer = AIOKafkaProducer(bootstrap_servers=BOOTSTRAP, compression_type=compression, enable_idempotence=True)
        await producer.start()
        for n in range(100):
            sent.add(f"{compression}-{n}")
            await producer.send(TOPIC, key=str(n).encode(), value=f"{compression}-{n}".encode())
        await producer.stop()

    group, seen = f"group-{RUN}", []
    one = await member(group)
    await until([one], lambda: len(seen) == len(sent), seen)
    assert set(seen) == sent
    await one.commit()
    two = await member(group)
    await until([one, two], lambda: len(one.assignment()) == len(two.assignment()) == 2, seen)
    await two.stop()
    await until([one], lambda: len(one.assignment()) == 4, seen)
    assert len(seen) == len(sent), "what was committed is not read again"
    times = await one.offsets_for_times({TopicPartition(TOPIC, p): began for p in range(4)})
    assert [place.offset for place in times.values()] == [0] * 4, times
    await one.stop()
    offsets = await admin.list_consumer_group_offsets(group)
    assert sum(place.offset for place in offsets.values()) == len(sent), offsets

    outcome = f"outcome-{RUN}"
    await admin.create_topics([NewTopic(outcome, 1, 1)])
    producer = AIOKafkaProducer(bootstrap_servers=BOOTSTRAP, transactional_id=f"t-{RUN}")
    await producer.start()
    for word in ["kept", "dropped", "kept"]:
        await producer.begin_transaction()
        for n in range(10):
            await producer.send_and_wait(outcome, value=f"{word}-{n}".encode())
        if word == "kept":
            await producer.send_offsets_to_transaction({TopicPartition(TOPIC, 0): 5}, group)
            await producer.commit_transaction()
        else:
            await producer.abort_transaction()
    await producer.stop()
    deadline = time.time() + 60
    while (offsets := await admin.list_consumer_group_offsets(group))[TopicPartition(TOPIC, 0)].offset != 5:
        # Kafka answers for a commit before its offsets are there to be read.
        assert time.time() < deadline, offsets
    for level, want in [("read_committed", 20), ("read_uncommitted", 30)]:
        seen = []
        consumer = await member(f"{level}-{RUN}", outcome, isolation_level=level)
        await until([consumer], lambda: len(seen) >= want, seen)
        assert not [m for m in seen if level == "read_committed" and m.startswith("dropped")], seen
        await consumer.stop()
    await admin.delete_topics([outcome])

    await admin.delete_topics([TOPIC])
    await admin.close()


asyncio.run(main())
print("ok", flush=True)
os._exit(0)
