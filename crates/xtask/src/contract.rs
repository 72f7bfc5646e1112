//! The names under which tests find what was started for them.
//!
//! A test reads these from its environment. Where a name is missing, the thing could not be had on
//! this machine, and the test skips: it returns early after appending one line
//! `skipped: <test>: <reason>` to the file that [`SKIPS`] names (`O_APPEND`, one `write` for the
//! whole line, since tests run in parallel). cargo hides the output of tests that pass, which is
//! why a file carries the message. A skipped test is counted as skipped instead of passed, and
//! under `CI=true` a skip fails the run.

/// Path of the `tidemill` binary, built from this checkout with debug assertions
/// (with optimisations for `bench` and `crash --release`).
pub(crate) const BIN: &str = "TIDEMILL_TEST_BIN";
/// Path of the compiled `bootstrap` of the example function `order-total`, built likewise.
pub(crate) const BOOTSTRAP: &str = "TIDEMILL_TEST_BOOTSTRAP";
/// Path of the file that a skipping test appends its line to.
pub(crate) const SKIPS: &str = "TIDEMILL_SKIPS";

/// `127.0.0.1:PORT` of an Apache Kafka broker (KRaft, one node, plaintext, creates topics on use).
pub(crate) const KAFKA: &str = "TIDEMILL_TEST_KAFKA";
/// Path of the script that starts one node of a cluster of three; its head says how.
pub(crate) const KAFKA_BROKER: &str = "TIDEMILL_TEST_KAFKA_BROKER";
/// The folder with Apache Kafka's jars, for that script.
pub(crate) const KAFKA_JARS: &str = "TIDEMILL_TEST_KAFKA_JARS";
/// `127.0.0.1:PORT,…` of a cluster of three nodes that `cargo xtask servers kafka-cluster` started.
pub(crate) const KAFKA_CLUSTER: &str = "TIDEMILL_TEST_KAFKA_CLUSTER";
/// `postgres://postgres@127.0.0.1:PORT/postgres`: a superuser without password, `wal_level=logical`.
pub(crate) const POSTGRES: &str = "TIDEMILL_TEST_POSTGRES";
/// The folder of PostgreSQL's server programs, for tests that kill a server of their own.
pub(crate) const POSTGRES_PROGRAMS: &str = "TIDEMILL_TEST_POSTGRES_PROGRAMS";
/// `mysql://root@127.0.0.1:PORT/mysql`: a MariaDB without passwords whose log has every row.
pub(crate) const MARIADB: &str = "TIDEMILL_TEST_MARIADB";
/// Path of MariaDB's server, for tests that kill one of their own.
pub(crate) const MARIADB_PROGRAM: &str = "TIDEMILL_TEST_MARIADB_PROGRAM";
/// A data folder with nothing but the server's own tables, for them to copy.
pub(crate) const MARIADB_TEMPLATE: &str = "TIDEMILL_TEST_MARIADB_TEMPLATE";
/// `http://127.0.0.1:PORT` of an S3-compatible store that is not ours; region `us-east-1`.
pub(crate) const S3: &str = "TIDEMILL_TEST_S3";
/// Access key of that store's owner.
pub(crate) const S3_ACCESS_KEY: &str = "TIDEMILL_TEST_S3_ACCESS_KEY";
/// Secret key of that store's owner.
pub(crate) const S3_SECRET_KEY: &str = "TIDEMILL_TEST_S3_SECRET_KEY";
/// Path of that store's program (the Versity S3 Gateway), for tests that kill a store of their own.
pub(crate) const S3_PROGRAM: &str = "TIDEMILL_TEST_S3_PROGRAM";

/// `http://127.0.0.1:PORT/ACCOUNT` of an account at an emulator of Azure Blob Storage.
pub(crate) const AZURE: &str = "TIDEMILL_TEST_AZURE";
/// That account's key.
pub(crate) const AZURE_KEY: &str = "TIDEMILL_TEST_AZURE_KEY";
/// `http://127.0.0.1:PORT` of an emulator of Google Cloud Storage, which asks nobody for a token.
pub(crate) const GCS: &str = "TIDEMILL_TEST_GCS";
/// `127.0.0.1:PORT` of a registry of container images that speaks plain HTTP and wants a password.
pub(crate) const REGISTRY: &str = "TIDEMILL_TEST_REGISTRY";
/// The user that it knows.
pub(crate) const REGISTRY_USER: &str = "TIDEMILL_TEST_REGISTRY_USER";
/// That user's password.
pub(crate) const REGISTRY_PASSWORD: &str = "TIDEMILL_TEST_REGISTRY_PASSWORD";
/// Path of skopeo, which copies container images.
pub(crate) const SKOPEO: &str = "TIDEMILL_TEST_SKOPEO";

/// Path of kcat.
pub(crate) const KCAT: &str = "TIDEMILL_TEST_KCAT";
/// Path of a Python that imports `boto3`, `confluent_kafka` and `kafka` (kafka-python).
pub(crate) const PYTHON: &str = "TIDEMILL_TEST_PYTHON";
/// Path of the AWS command line, from the same environment.
pub(crate) const AWS: &str = "TIDEMILL_TEST_AWS";
/// Path of a Python that imports `aiokafka`, `confluent_kafka` and `kafka` (kafka-python), with
/// every compression.
pub(crate) const KAFKA_PYTHON: &str = "TIDEMILL_TEST_KAFKA_PYTHON";
/// Path of a Java that runs source files.
pub(crate) const JAVA: &str = "TIDEMILL_TEST_JAVA";
/// Folder of the jars of Apache Kafka's clients and tools.
pub(crate) const KAFKA_TOOLS: &str = "TIDEMILL_TEST_KAFKA_TOOLS";
/// Folder of Node.js modules with kafkajs.
pub(crate) const KAFKAJS: &str = "TIDEMILL_TEST_KAFKAJS";
/// Path of a program that takes franz-go through the list of `tests/e2e/kafka_clients.rs`.
pub(crate) const FRANZ: &str = "TIDEMILL_TEST_FRANZ";
/// Folder of a package with awslambdaric for the system's Python.
pub(crate) const RIC_PYTHON: &str = "TIDEMILL_TEST_RIC_PYTHON";
/// Folder of a package with aws-lambda-ric for the system's Node.js, below `node_modules`.
pub(crate) const RIC_NODE: &str = "TIDEMILL_TEST_RIC_NODE";
/// Folder of a package with Java's runtime interface client below `lib`, and the compiled handlers of
/// `tests/e2e/handlers/java`.
pub(crate) const RIC_JAVA: &str = "TIDEMILL_TEST_RIC_JAVA";
/// Path of the `bootstrap` that is built of `tests/e2e/handlers/go`.
pub(crate) const RIC_GO: &str = "TIDEMILL_TEST_RIC_GO";
/// Folder of `checksum.wasm` and `median.wasm`, built of the examples in C and Go.
pub(crate) const EXAMPLES: &str = "TIDEMILL_TEST_EXAMPLES";
/// Path of Node.js.
pub(crate) const NODE: &str = "TIDEMILL_TEST_NODE";
/// Path of Ruby.
pub(crate) const RUBY: &str = "TIDEMILL_TEST_RUBY";
/// Folder of a package with the compiled handlers of `tests/e2e/handlers/csharp`.
pub(crate) const CSHARP: &str = "TIDEMILL_TEST_CSHARP";
/// Folder of the jars of Debezium's PostgreSQL connector and its embedded engine.
pub(crate) const DEBEZIUM: &str = "TIDEMILL_TEST_DEBEZIUM";
/// Path of moto's server, which speaks DynamoDB, SQS and S3.
pub(crate) const MOTO: &str = "TIDEMILL_TEST_MOTO";
/// Folder of Node.js modules with the AWS SDK for JavaScript.
pub(crate) const AWS_SDK_JS: &str = "TIDEMILL_TEST_AWS_SDK_JS";
/// Folder of the jars of the AWS SDK for Java and its transfer manager.
pub(crate) const AWS_SDK_JAVA: &str = "TIDEMILL_TEST_AWS_SDK_JAVA";
/// Path of a program that takes the AWS SDK for Go through the story of `tests/e2e/s3_clients.rs`.
pub(crate) const AWS_SDK_GO: &str = "TIDEMILL_TEST_AWS_SDK_GO";
/// Path of rclone.
pub(crate) const RCLONE: &str = "TIDEMILL_TEST_RCLONE";
/// Path of mc, MinIO's client.
pub(crate) const MC: &str = "TIDEMILL_TEST_MC";
/// Path of s3s-e2e, the test suite for S3 servers of the s3s project.
pub(crate) const S3S_E2E: &str = "TIDEMILL_TEST_S3S_E2E";
/// Path of `sqlite3`, the command line of SQLite.
pub(crate) const SQLITE3: &str = "TIDEMILL_TEST_SQLITE3";
/// Path of strace.
pub(crate) const STRACE: &str = "TIDEMILL_TEST_STRACE";
/// Path of xfs_io, which cuts the power of a file system.
pub(crate) const XFS_IO: &str = "TIDEMILL_TEST_XFS_IO";
/// Path of mkfs.ext4.
pub(crate) const MKFS_EXT4: &str = "TIDEMILL_TEST_MKFS_EXT4";
/// Path of Chromium.
pub(crate) const CHROMIUM: &str = "TIDEMILL_TEST_CHROMIUM";

/// `127.0.0.1:PORT` of an Apache Kafka broker that syncs every message, for benchmarks.
pub(crate) const BENCH_KAFKA_FLUSHING: &str = "TIDEMILL_BENCH_KAFKA_FLUSHING";
/// `127.0.0.1:PORT` of a NATS server whose JetStream syncs every message, for benchmarks.
pub(crate) const BENCH_NATS: &str = "TIDEMILL_BENCH_NATS";
/// `127.0.0.1:PORT` of a durable-streams server with its write-ahead log, for benchmarks.
pub(crate) const BENCH_STREAMS: &str = "TIDEMILL_BENCH_STREAMS";
/// Path of AWS's emulator of Lambda's runtime interface, for benchmarks.
pub(crate) const BENCH_RIE: &str = "TIDEMILL_BENCH_RIE";
/// Path of cargo-lambda, for benchmarks.
pub(crate) const BENCH_CARGO_LAMBDA: &str = "TIDEMILL_BENCH_CARGO_LAMBDA";
/// Path of crun, for benchmarks.
pub(crate) const BENCH_CRUN: &str = "TIDEMILL_BENCH_CRUN";
/// Path of podman, for benchmarks.
pub(crate) const BENCH_PODMAN: &str = "TIDEMILL_BENCH_PODMAN";
/// Path of MinIO's server, for benchmarks.
pub(crate) const BENCH_MINIO: &str = "TIDEMILL_BENCH_MINIO";

/// How many rounds a crash test plays; a few when absent.
pub(crate) const CRASH_ROUNDS: &str = "TIDEMILL_CRASH_ROUNDS";

/// One of these names with its value.
pub(crate) type Export = (&'static str, String);

/// Prints `exports` as lines for a shell.
pub(crate) fn print(exports: &[Export]) {
    for (name, value) in exports {
        println!("export {name}={value}");
    }
}
