"""Apache Kafka's own command-line tools: topics, console clients, verifiable clients, groups, offsets."""
import json
import os
import subprocess
import uuid

BOOTSTRAP = ["--bootstrap-server", os.environ["KAFKA_BOOTSTRAP"]]
RUN = uuid.uuid4().hex[:8]
TOPIC = f"tools-{RUN}"
PACKAGE = "org.apache.kafka.tools."


def tool(name, *arguments, text=None):
    done = subprocess.run([os.environ["JAVA"], "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-cp",
                           os.environ["KAFKA_JARS"] + "/*", PACKAGE + name, *BOOTSTRAP, *arguments],
                          input=text, capture_output=True, text=True, timeout=90)
    assert done.returncode == 0, (name, arguments, done.stdout, done.stderr)
    return done.stdout


tool("TopicCommand", "--create", "--topic", TOPIC, "--partitions", "3")
assert "PartitionCount: 3" in tool("TopicCommand", "--describe", "--topic", TOPIC)
tool("ConsoleProducer", "--topic", TOPIC, "--compression-codec", "zstd", text="".join(f"line {n}\n" for n in range(50)))
read = tool("consumer.ConsoleConsumer", "--topic", TOPIC, "--from-beginning", "--max-messages", "50")
assert sorted(read.split("\n")[:50]) == sorted(f"line {n}" for n in range(50)), read

said = [json.loads(line) for line in tool("VerifiableProducer", "--topic", TOPIC, "--max-messages", "500").splitlines()]
summary = [line for line in said if line["name"] == "tool_data"][0]
assert (summary["sent"], summary["acked"]) == (500, 500), summary
for protocol in ["classic", "consumer"]:
    group = f"{protocol}-{RUN}"
    said = tool("VerifiableConsumer", "--topic", TOPIC, "--group-id", group, "--max-messages", "550",
                "--reset-policy", "earliest", "--group-protocol", protocol)
    said = [json.loads(line) for line in said.splitlines()]
    assert sum(line["count"] for line in said if line["name"] == "records_consumed") == 550, said[-5:]
    assert all(line["success"] for line in said if line["name"] == "offsets_committed"), said[-5:]
    described = tool("consumer.group.ConsumerGroupCommand", "--describe", "--group", group)
    lines = [line.split() for line in described.splitlines() if TOPIC in line]
    assert sum(int(line[3]) for line in lines) == 550 and {line[5] for line in lines} == {"0"}, described
    assert group in tool("consumer.group.ConsumerGroupCommand", "--list")
    tool("consumer.group.ConsumerGroupCommand", "--delete", "--group", group)
ends = tool("GetOffsetShell", "--topic", TOPIC)
assert sum(int(line.split(":")[2]) for line in ends.split()) == 550, ends
tool("TopicCommand", "--delete", "--topic", TOPIC)
for _ in range(10):
    # A broker may hear of a topic's end a moment after it was answered for.
    if TOPIC not in (listed := tool("TopicCommand", "--list")):
        break
assert TOPIC not in listed, listed
print("ok")
