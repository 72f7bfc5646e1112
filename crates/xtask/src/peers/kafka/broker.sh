#!/bin/sh
# One node (broker and controller) of a cluster of three on loopback. Runs until it is killed; started
# again on the same folder, it comes back as the same node.
#
#   broker.sh JARS FOLDER ID "PORT PORT PORT" "PORT PORT PORT"
#
# JARS: the folder with Apache Kafka's jars. FOLDER: the node's data. ID: 1, 2 or 3. Then the ports of
# the three brokers, and those of the three controllers.
set -eu
jars=$1 folder=$2 id=$3
at() { # the Nth of a list
    n=$1; shift; shift $((n - 1)); echo "$1"
}
# shellcheck disable=SC2086
port=$(at "$id" $4)
# shellcheck disable=SC2086
controller=$(at "$id" $5)
voters=
for other in 1 2 3; do
    # shellcheck disable=SC2086
    voters="$voters${voters:+,}$other@127.0.0.1:$(at $other $5)"
done
mkdir -p "$folder"
properties=$folder/server.properties
# Everything is kept three times and acknowledged by two, so that any one node may be missing. A node
# that is gone is noticed within seconds; buffers are small, since three of them share a test machine.
cat > "$properties" <<EOF
process.roles=broker,controller
node.id=$id
controller.listener.names=CONTROLLER
controller.quorum.voters=$voters
listeners=PLAINTEXT://127.0.0.1:$port,CONTROLLER://127.0.0.1:$controller
log.dirs=$folder/data
num.partitions=6
default.replication.factor=3
min.insync.replicas=2
offsets.topic.num.partitions=6
offsets.topic.replication.factor=3
transaction.state.log.num.partitions=6
transaction.state.log.replication.factor=3
transaction.state.log.min.isr=2
share.coordinator.state.topic.num.partitions=3
share.coordinator.state.topic.replication.factor=3
share.coordinator.state.topic.min.isr=2
group.initial.rebalance.delay.ms=0
broker.session.timeout.ms=6000
broker.heartbeat.interval.ms=1000
log.cleaner.dedupe.buffer.size=4194304
num.network.threads=2
num.io.threads=2
EOF
if ! [ -e "$folder/data/meta.properties" ]; then
    java -Xmx128m -XX:+UseSerialGC -XX:TieredStopAtLevel=1 -cp "$jars/*" kafka.tools.StorageTool \
        format --cluster-id AAAAAAAAQACAAAAAAAAAAA --config "$properties" > "$folder/format.log" 2>&1
fi
exec java -Xms96m -Xmx256m -XX:+UseSerialGC -XX:TieredStopAtLevel=1 -cp "$jars/*" \
    kafka.Kafka "$properties"
