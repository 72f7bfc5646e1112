// The Java client: the list that every Kafka client goes through, in both group protocols.

import java.time.Duration;
import java.util.*;
import java.util.concurrent.ExecutionException;
import java.util.function.BooleanSupplier;
import org.apache.kafka.clients.admin.*;
import org.apache.kafka.clients.consumer.*;
import org.apache.kafka.clients.producer.*;
import org.apache.kafka.common.*;
import org.apache.kafka.common.errors.UnknownTopicOrPartitionException;
import org.apache.kafka.common.serialization.*;

public class JavaClient {
    static final String BOOTSTRAP = System.getenv("KAFKA_BOOTSTRAP");
    static final String RUN = UUID.randomUUID().toString().substring(0, 8);
    static final String TOPIC = "java-" + RUN;

    static void check(boolean holds, Object what) {
        if (!holds) throw new AssertionError(what);
    }

    static Producer<String, String> producer(Map<String, Object> settings) {
        Map<String, Object> all = new HashMap<>(settings);
        all.put("bootstrap.servers", BOOTSTRAP);
        return new KafkaProducer<>(all, new StringSerializer(), new StringSerializer());
    }

    static Consumer<String, String> member(String group, String topic, Map<String, Object> settings) {
        Map<String, Object> all = new HashMap<>(settings);
        all.put("bootstrap.servers", BOOTSTRAP);
        all.put("group.id", group);
        all.put("auto.offset.reset", "earliest");
        all.put("enable.auto.commit", "false");
        Consumer<String, String> consumer =
            new KafkaConsumer<>(all, new StringDeserializer(), new StringDeserializer());
        consumer.subscribe(List.of(topic));
        return consumer;
    }

    static void until(List<Consumer<String, String>> consumers, BooleanSupplier done, List<String> seen) {
        long deadline = System.currentTimeMillis() + 60_000;
        while (!done.getAsBoolean()) {
            check(System.currentTimeMillis() < deadline,
                seen.size() + " " + consumers.stream().map(Consumer::assignment).toList());
            for (Consumer<String, String> consumer : consumers) {
                consumer.poll(Duration.ofMillis(50)).forEach(record -> seen.add(record.value()));
            }
        }
    }

    /** A broker may hear of a topic a moment after it was created. */
    static int partitions(Admin admin) throws Exception {
        for (long deadline = System.currentTimeMillis() + 60_000;;) {
            try {
                return admin.describeTopics(List.of(TOPIC)).allTopicNames().get().get(TOPIC).partitions().size();
            } catch (ExecutionException refused) {
                check(refused.getCause() instanceof UnknownTopicOrPartitionException
                    && System.currentTimeMillis() < deadline, refused);
            }
        }
    }

    public static void main(String[] arguments) throws Exception {
        long began = System.currentTimeMillis();
        Admin admin = Admin.create(Map.of("bootstrap.servers", BOOTSTRAP));
        admin.createTopics(List.of(new NewTopic(TOPIC, 4, (short) 1))).all().get();
        check(partitions(admin) == 4, "partitions");

        Set<String> sent = new HashSet<>();
        for (String compression : List.of("none", "gzip", "snappy", "lz4", "zstd")) {
            try (var producer = producer(Map.of("compression.type", compression))) {
                for (int n = 0; n < 100; n++) {
                    sent.add(compression + "-" + n);
                    producer.send(new ProducerRecord<>(TOPIC, "" + n, compression + "-" + n));
                }
                producer.flush();
            }
        }

        Map<String, Map<String, Object>> protocols = new LinkedHashMap<>();
        for (String assignor : List.of("RangeAssignor", "RoundRobinAssignor", "CooperativeStickyAssignor")) {
            protocols.put(assignor, Map.of("partition.assignment.strategy",
                "org.apache.kafka.clients.consumer." + assignor, "heartbeat.interval.ms", "500"));
        }
        protocols.put("uniform", Map.of("group.protocol", "consumer", "group.remote.assignor", "uniform"));
        protocols.put("range", Map.of("group.protocol", "consumer", "group.remote.assignor", "range"));
        for (var protocol : protocols.entrySet()) {
            String group = protocol.getKey() + "-" + RUN;
            boolean served = protocol.getValue().containsKey("group.protocol");
            List<String> seen = new ArrayList<>();
            var one = member(group, TOPIC, protocol.getValue());
            until(List.of(one), () -> seen.size() == sent.size(), seen);
            check(new HashSet<>(seen).equals(sent), "what was sent is what was seen");
            one.commitSync();
            var two = member(group, TOPIC, protocol.getValue());
            until(List.of(one, two), () -> one.assignment().size() == 2 && two.assignment().size() == 2, seen);
            var described = admin.describeConsumerGroups(List.of(group)).all().get().get(group);
            check(described.members().size() == 2, described);
            check(described.type() == (served ? GroupType.CONSUMER : GroupType.CLASSIC), described);
            two.close();
            until(List.of(one), () -> one.assignment().size() == 4, seen);
            check(seen.size() == sent.size(), "what was committed is not read again");
            one.close();
            long committed = admin.listConsumerGroupOffsets(group).partitionsToOffsetAndMetadata().get()
                .values().stream().mapToLong(OffsetAndMetadata::offset).sum();
            check(committed == sent.size(), committed);
            admin.deleteConsumerGroups(List.of(group)).all().get();
        }

        try (var reader = member("reader-" + RUN, TOPIC, Map.of())) {
            Map<TopicPartition, Long> times = new HashMap<>();
            for (int partition = 0; partition < 4; partition++) times.put(new TopicPartition(TOPIC, partition), began);
            reader.offsetsForTimes(times).values().forEach(found -> check(found.offset() == 0, found));
        }

        String outcome = "outcome-" + RUN;
        admin.createTopics(List.of(new NewTopic(outcome, 1, (short) 1))).all().get();
        var place = new TopicPartition(TOPIC, 0);
        for (String protocol : List.of("classic", "consumer")) {
            try (var producer = producer(Map.of("transactional.id", "t-" + RUN));
                 var source = member("source-" + protocol + RUN, TOPIC, Map.of("group.protocol", protocol))) {
                producer.initTransactions();
                until(List.of(source), () -> source.assignment().size() == 4, new ArrayList<>());
                for (String word : List.of("kept", "dropped", "kept")) {
                    producer.beginTransaction();
                    for (int n = 0; n < 10; n++) producer.send(new ProducerRecord<>(outcome, word + "-" + n));
                    producer.flush();
                    if (word.equals("kept")) {
                        producer.sendOffsetsToTransaction(Map.of(place, new OffsetAndMetadata(5)), source.groupMetadata());
                        producer.commitTransaction();
                    } else {
                        producer.abortTransaction();
                    }
                }
                check(source.committed(Set.of(place)).get(place).offset() == 5, "offsets of the transaction");
            }
        }
        for (String level : List.of("read_committed", "read_uncommitted")) {
            List<String> seen = new ArrayList<>();
            boolean committed = level.equals("read_committed");
            try (var consumer = member(level + RUN, outcome, Map.of("isolation.level", level))) {
                until(List.of(consumer), () -> seen.size() >= (committed ? 40 : 60), seen);
            }
            check(!committed || seen.stream().noneMatch(value -> value.startsWith("dropped")), seen);
        }
        admin.deleteTopics(List.of(outcome)).all().get();
        admin.deleteTopics(List.of(TOPIC)).all().get();
        admin.close();
        System.out.println("ok");
        System.exit(0);
    }
}
