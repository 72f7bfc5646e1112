import io.debezium.engine.ChangeEvent;
import io.debezium.engine.DebeziumEngine;
import io.debezium.engine.format.Json;
import java.io.PrintStream;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Properties;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.TimeUnit;

/**
 * Prints what Debezium reads of a table, one change a line, until a row with the given key comes:
 * its key and its value as JSON, with a tab between. A deletion's second record (a tombstone) is left out.
 */
public class Debezium {
    public static void main(String[] arguments) throws Exception {
        String host = arguments[0], port = arguments[1], database = arguments[2];
        String table = arguments[3], slot = arguments[4], last = "\"id\":" + arguments[5];
        Path folder = Files.createTempDirectory("debezium");
        Properties with = new Properties();
        with.setProperty("name", "oracle");
        with.setProperty("connector.class", "io.debezium.connector.postgresql.PostgresConnector");
        with.setProperty("offset.storage", "org.apache.kafka.connect.storage.FileOffsetBackingStore");
        with.setProperty("offset.storage.file.filename", folder.resolve("offsets").toString());
        with.setProperty("offset.flush.interval.ms", "60000");
        with.setProperty("topic.prefix", "oracle");
        with.setProperty("database.hostname", host);
        with.setProperty("database.port", port);
        with.setProperty("database.user", "postgres");
        with.setProperty("database.password", "");
        with.setProperty("database.dbname", database);
        with.setProperty("plugin.name", "pgoutput");
        with.setProperty("slot.name", slot);
        with.setProperty("publication.name", slot);
        with.setProperty("table.include.list", "public." + table);
        with.setProperty("snapshot.mode", "no_data");
        with.setProperty("tombstones.on.delete", "false");
        with.setProperty("key.converter.schemas.enable", "false");
        with.setProperty("value.converter.schemas.enable", "false");
        PrintStream out = new PrintStream(new java.io.FileOutputStream(java.io.FileDescriptor.out), false, "UTF-8");
        CountDownLatch done = new CountDownLatch(1);
        DebeziumEngine<ChangeEvent<String, String>> engine = DebeziumEngine.create(Json.class)
                .using(with)
                .notifying(event -> {
                    if (event.key() == null || done.getCount() == 0) {
                        return;
                    }
                    out.println(event.key() + "\t" + event.value());
                    if (event.key().contains(last)) {
                        out.flush();
                        done.countDown();
                    }
                })
                .using((success, message, error) -> {
                    if (!success) {
                        System.err.println(message + ": " + error);
                        System.exit(1);
                    }
                })
                .build();
        Thread thread = new Thread(engine, "engine");
        thread.start();
        if (!done.await(600, TimeUnit.SECONDS)) {
            System.err.println("the last row did not come");
            System.exit(1);
        }
        // The slot goes with its database.
        Runtime.getRuntime().halt(0);
    }
}
