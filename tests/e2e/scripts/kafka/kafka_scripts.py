"""The administration scripts of Apache Kafka's distribution, by what they do: kafka-topics.sh, kafka-configs.sh,
kafka-consumer-groups.sh, kafka-groups.sh, kafka-get-offsets.sh, kafka-delete-records.sh, kafka-log-dirs.sh,
kafka-transactions.sh, kafka-cluster.sh and kafka-broker-api-versions.sh. Each is a line of shell around a class, which
Scripts.java runs. What they did is asked of another client wherever there is one."""
import datetime
import json
import os
import pathlib
import subprocess
import tempfile
import time
import uuid

from confluent_kafka import Consumer, ConsumerGroupTopicPartitions, Producer, TopicPartition
from confluent_kafka.admin import AdminClient

SERVER = os.environ["KAFKA_BOOTSTRAP"]
RUN = uuid.uuid4().hex[:8]
TOPIC, OTHER, GROUP = f"scripts-{RUN}", f"other-{RUN}", f"scripts-{RUN}"
SCRIPTS = {
    "topics": "org.apache.kafka.tools.TopicCommand",
    "configs": "kafka.admin.ConfigCommand",
    "consumer-groups": "org.apache.kafka.tools.consumer.group.ConsumerGroupCommand",
    "groups": "org.apache.kafka.tools.GroupsCommand",
    "get-offsets": "org.apache.kafka.tools.GetOffsetShell",
    "delete-records": "org.apache.kafka.tools.DeleteRecordsCommand",
    "log-dirs": "org.apache.kafka.tools.LogDirsCommand",
    "transactions": "org.apache.kafka.tools.TransactionsCommand",
    "cluster": "org.apache.kafka.tools.ClusterTool",
    "broker-api-versions": "org.apache.kafka.tools.BrokerApiVersionsCommand",
}
admin = AdminClient({"bootstrap.servers": SERVER})


scripts = subprocess.Popen([os.environ["JAVA"], "-XX:+UseSerialGC", "-cp", os.environ["KAFKA_JARS"] + "/*",
                            pathlib.Path(__file__).with_name("Scripts.java")], stdin=subprocess.PIPE,
                           stdout=subprocess.PIPE)


def run(script, line, fails=False, before=()):
    """What a script printed; it must succeed, unless it may fail."""
    words = [SCRIPTS[script], *before, "--bootstrap-server", SERVER, *line.split()]
    scripts.stdin.write("\t".join(words).encode() + b"\n")
    scripts.stdin.flush()
    code, size = map(int, scripts.stdout.readline().split())
    said = scripts.stdout.read(size).decode()
    assert fails or code == 0, (script, line, said)
    return said


def rows(said):
    """A table as dictionaries; other lines are left out."""
    lines = [line.split() for line in said.splitlines() if line.strip()]
    heads = [line for line in lines if "GROUP" in line]
    return [dict(zip(heads[0], line)) for line in lines if heads and line not in heads and len(line) >= len(heads[0]) - 1]


def committed(group=GROUP, topic=TOPIC):
    """What another client finds committed, by partition."""
    found = admin.list_consumer_group_offsets([ConsumerGroupTopicPartitions(group)])[group].result()
    return {it.partition: it.offset for it in found.topic_partitions if it.topic == topic and it.offset >= 0}


def commit(group, offsets, topic=TOPIC):
    places = [TopicPartition(topic, partition, offset) for partition, offset in offsets.items()]
    admin.alter_consumer_group_offsets([ConsumerGroupTopicPartitions(group, places)])[group].result()


def partitions(topic):
    return len(admin.list_topics(topic, timeout=30).topics[topic].partitions)


def becomes(expected, read, *arguments):
    """Kafka answers for a change when the controller has it; the broker that is asked hears of it a moment later."""
    until = time.time() + 30
    while (found := read(*arguments)) != expected:
        assert time.time() < until, (found, expected)


# kafka-topics.sh
run("topics", f"--create --topic {TOPIC} --partitions 2 --config retention.ms=3600000")
run("topics", f"--create --topic {OTHER} --partitions 1")
becomes(2, partitions, TOPIC)
assert "exists" in run("topics", f"--create --topic {OTHER}", fails=True)
run("topics", f"--create --if-not-exists --topic {OTHER}")
run("topics", f"--alter --topic {TOPIC} --partitions 3")
becomes(3, partitions, TOPIC)
assert {TOPIC, OTHER} <= set(run("topics", "--list").split())
described = run("topics", f"--describe --topic {TOPIC}")
assert "PartitionCount: 3" in described and "retention.ms=3600000" in described, described
assert described.count("Leader: 1") == 3 and described.count("Isr: 1") == 3, described
assert TOPIC in run("topics", "--describe --topics-with-overrides")
for unwell in ["under-replicated", "unavailable", "under-min-isr"]:
    assert TOPIC not in run("topics", f"--describe --{unwell}-partitions")

# Records: 10, 20 and 30, an hour apart in two halves.
now = int(time.time() * 1000)
hour = 3_600_000
producer = Producer({"bootstrap.servers": SERVER})
for partition, count in [(0, 10), (1, 20), (2, 30)]:
    for number in range(count):
        at = now - 2 * hour if number < count // 2 else now - hour // 60
        producer.produce(TOPIC, b"%d" % number, partition=partition, timestamp=at)
producer.produce(OTHER, b"x")
assert producer.flush(30) == 0
ENDS = {0: 10, 1: 20, 2: 30}

# kafka-get-offsets.sh


def offsets(line):
    return {int(row.split(":")[1]): int(row.split(":")[2]) for row in run("get-offsets", line).split() if TOPIC in row}


assert offsets(f"--topic {TOPIC}") == ENDS
assert offsets(f"--topic {TOPIC} --time earliest") == {0: 0, 1: 0, 2: 0}
assert offsets(f"--topic-partitions {TOPIC}:1-2 --time latest") == {1: 20}
assert offsets(f"--topic {TOPIC} --time {now - hour}") == {0: 5, 1: 10, 2: 15}
assert offsets(f"--topic {TOPIC} --time max-timestamp") == {0: 5, 1: 10, 2: 15}

# kafka-configs.sh


def configured(entity, line="--describe"):
    said = run("configs", f"{line} --entity-type {entity}")
    settings = [line.split()[0].split("=", 1) for line in said.splitlines() if "synonyms=" in line]
    # A broker of Kafka 4 sets this for every topic.
    return {name: value for name, value in settings if name != "min.insync.replicas" or "brokers" in entity}


topic = f"topics --entity-name {TOPIC}"
becomes({"retention.ms": "3600000"}, configured, topic)
run("configs", f"--alter --entity-type {topic} --add-config cleanup.policy=compact,max.message.bytes=2000000")
becomes({"retention.ms": "3600000", "cleanup.policy": "compact", "max.message.bytes": "2000000"}, configured, topic)
run("configs", f"--alter --entity-type {topic} --delete-config cleanup.policy,max.message.bytes")
becomes({"retention.ms": "3600000"}, configured, topic)
everything = configured(topic, "--describe --all")
assert everything["cleanup.policy"] == "delete" and everything["retention.ms"] == "3600000", everything
assert "num.partitions" in configured("brokers --entity-name 1", "--describe --all")
refused = run("configs", f"--alter --entity-type {topic} --add-config no.such.setting=1", fails=True)
assert "no.such.setting" in refused, refused
becomes({"retention.ms": "3600000"}, configured, topic)

# kafka-consumer-groups.sh, --list and --describe: a group of either protocol with a member, and one without
config = {"bootstrap.servers": SERVER, "auto.offset.reset": "earliest", "enable.auto.commit": False}
for protocol in ["classic", "consumer"]:
    name = f"{protocol}-{RUN}"
    member = Consumer(config | {"group.id": name, "group.protocol": protocol, "client.id": "me"})
    member.subscribe([TOPIC])
    count, until = 0, time.time() + 60
    while count < 60 and time.time() < until:
        message = member.poll(1)
        count += message is not None and not message.error()
    assert count == 60, count
    member.commit(asynchronous=False)
    table = rows(run("consumer-groups", f"--describe --group {name}"))
    found = {int(row["PARTITION"]): (int(row["CURRENT-OFFSET"]), int(row["LOG-END-OFFSET"]), row["LAG"]) for row in table}
    assert found == {partition: (end, end, "0") for partition, end in ENDS.items()}, table
    assert {row["CLIENT-ID"] for row in table} == {"me"} and table[0]["CONSUMER-ID"] != "-", table
    state = run("consumer-groups", f"--describe --group {name} --state")
    assert "Stable" in state and rows(state)[0]["#MEMBERS"] == "1", state
    members = run("consumer-groups", f"--describe --group {name} --members --verbose")
    assert rows(members)[0]["#PARTITIONS"] == "3" and f"{TOPIC}:0,1,2" in members.replace("(", ":").replace(")", ""), members
    listed = run("consumer-groups", "--list --state")
    assert any(line.split()[0] == name and "Stable" in line for line in listed.splitlines()), listed
    listed = run("consumer-groups", f"--list --type {protocol}").split()
    assert name in listed, listed
    assert name in run("groups", "--list --protocol consumer")
    # What members read is not touched.
    said = run("consumer-groups", f"--reset-offsets --group {name} --topic {TOPIC} --to-earliest --execute", fails=True)
    assert "inactive" in said and committed(name) == ENDS, said
    said = run("consumer-groups", f"--delete-offsets --group {name} --topic {TOPIC}", fails=True)
    assert committed(name) == ENDS, said
    said = run("consumer-groups", f"--delete --group {name}", fails=True)
    assert committed(name) == ENDS, said
    member.close()
    table = rows(run("consumer-groups", f"--describe --group {name}"))
    assert len(table) == 3 and {row["CONSUMER-ID"] for row in table} == {"-"}, table
    run("consumer-groups", f"--delete --group {name}")
    assert committed(name) == {} and name not in run("consumer-groups", "--list").split()

# --reset-offsets in all its forms


def reset(form, expected, scope=f"--topic {TOPIC}", start={0: 5, 1: 5, 2: 5}):
    commit(GROUP, start)
    line = f"--reset-offsets --group {GROUP} {scope} {form}"
    planned = rows(run("consumer-groups", f"{line} --dry-run"))
    assert {int(row["PARTITION"]): int(row["NEW-OFFSET"]) for row in planned} == expected, (form, planned)
    assert committed() == start, "a dry run changes nothing"
    run("consumer-groups", f"{line} --execute")
    assert committed() == start | expected, (form, committed())


def moment(at):
    return datetime.datetime.fromtimestamp(at / 1000, datetime.timezone.utc).strftime("%Y-%m-%dT%H:%M:%S.000Z")


reset("--to-earliest", {0: 0, 1: 0, 2: 0})
reset("--to-latest", ENDS)
reset("--to-offset 7", {0: 7, 1: 7, 2: 7})
reset("--to-offset 15", {0: 10, 1: 15, 2: 15})
reset("--shift-by 2", {0: 7, 1: 7, 2: 7})
reset("--shift-by -3", {0: 2, 1: 2, 2: 2})
reset("--to-current", {0: 5, 1: 5, 2: 5})
reset(f"--to-datetime {moment(now - hour)}", {0: 5, 1: 10, 2: 15})
reset("--by-duration PT1H", {0: 5, 1: 10, 2: 15})
reset("--to-earliest", {1: 0, 2: 0}, scope=f"--topic {TOPIC}:1,2")
reset("--to-latest", ENDS, scope="--all-topics")
with tempfile.NamedTemporaryFile("w", suffix=".csv") as plan:
    commit(GROUP, {0: 5, 1: 5, 2: 5})
    exported = run("consumer-groups", f"--reset-offsets --group {GROUP} --topic {TOPIC} --to-latest --export --dry-run")
    wanted = [line.strip() for line in exported.splitlines() if TOPIC in line]
    assert len(wanted) == 3, exported
    plan.write("\n".join(wanted) + "\n")
    plan.flush()
    reset(f"--from-file {plan.name}", ENDS, scope="")

# --delete-offsets and --delete
commit(GROUP, {0: 1}, topic=OTHER)
run("consumer-groups", f"--delete-offsets --group {GROUP} --topic {TOPIC}:0")
assert committed() == {1: 20, 2: 30} and committed(topic=OTHER) == {0: 1}
run("consumer-groups", f"--delete-offsets --group {GROUP} --topic {TOPIC}")
assert committed() == {} and committed(topic=OTHER) == {0: 1}
said = run("consumer-groups", f"--delete-offsets --group absent-{RUN} --topic {TOPIC}", fails=True)
assert "does not exist" in said or "not found" in said.lower(), said
state = run("consumer-groups", f"--describe --group {GROUP} --state")
assert [GROUP, "Empty", "0"] in [[line.split()[0], *line.split()[-2:]] for line in state.splitlines() if line], state
assert GROUP in run("consumer-groups", "--list").split()
assert any(row["GROUP"] == GROUP for row in rows(run("consumer-groups", "--describe --all-groups")))
run("consumer-groups", f"--delete --group {GROUP}")
assert GROUP not in run("consumer-groups", "--list").split() and committed(topic=OTHER) == {}
said = run("consumer-groups", f"--describe --group {GROUP}", fails=True)
assert "does not exist" in said or "not found" in said, said

# kafka-log-dirs.sh
said = run("log-dirs", f"--describe --topic-list {TOPIC}")
described = json.loads([line for line in said.splitlines() if line.startswith("{")][0])
sizes = {it["partition"]: it["size"] for broker in described["brokers"] for log in broker["logDirs"] for it in log["partitions"]}
assert sorted(sizes) == [f"{TOPIC}-{partition}" for partition in range(3)], said
assert all(size > 0 for size in sizes.values()), said

# kafka-delete-records.sh
with tempfile.NamedTemporaryFile("w", suffix=".json") as plan:
    json.dump({"version": 1, "partitions": [{"topic": TOPIC, "partition": 2, "offset": 12}]}, plan)
    plan.flush()
    run("delete-records", f"--offset-json-file {plan.name}")
assert offsets(f"--topic {TOPIC} --time earliest") == {0: 0, 1: 0, 2: 12}

# kafka-transactions.sh
hanging = Producer({"bootstrap.servers": SERVER, "transactional.id": f"hangs-{RUN}"})
hanging.init_transactions(30)
hanging.begin_transaction()
hanging.produce(TOPIC, b"open", partition=1)
assert hanging.flush(30) == 0
assert f"hangs-{RUN}" in run("transactions", "list")
described = run("transactions", f"describe --transactional-id hangs-{RUN}")
assert "Ongoing" in described and f"{TOPIC}-1" in described, described
producers = run("transactions", f"describe-producers --topic {TOPIC} --partition 1")
open_since = [line.split()[-1] for line in producers.splitlines() if line[:1].isdigit()]
assert open_since == ["20"], producers
hanging.abort_transaction(30)
becomes(True, lambda: "CompleteAbort" in run("transactions", f"describe --transactional-id hangs-{RUN}"))

# kafka-cluster.sh and kafka-broker-api-versions.sh
assert admin.list_topics(timeout=30).cluster_id in run("cluster", "", before=["cluster-id"])
versions = run("broker-api-versions", "")
assert "OffsetDelete(47): 0" in versions and "DescribeLogDirs(35): 1 to" in versions, versions

run("topics", f"--delete --topic {TOPIC}")
run("topics", f"--delete --topic {OTHER}")
becomes(set(), lambda: {TOPIC, OTHER} & set(admin.list_topics(timeout=30).topics))
scripts.stdin.close()
assert scripts.wait(30) == 0
print("ok")
