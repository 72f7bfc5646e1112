//! The command line.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};

use crate::config::IsolationKind;
use crate::connectors::{ConnectorName, Settings};

/// Functions on events: AWS Lambda's model, self-hosted.
///
/// Drop a file into a bucket or publish to a topic, and functions run; usage becomes a bill. Use
/// the AWS CLI, boto3, kcat or any Kafka client against it.
#[derive(Debug, Parser)]
#[command(name = "tidemill", version, propagate_version = true)]
pub(crate) struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Run the server.
    Serve(Serve),
    /// Run the whole job once on real files, from an empty folder to the bill.
    Demo(Demo),
    /// Show what a function printed.
    Logs(Logs),
    /// Read bills, and check them.
    Billing(Billing),
    /// Show triggers: where they are, how far behind, what became of their events.
    Status(Status),
    /// Read foreign sources: other databases' tables, other clusters' topics, other stores' buckets.
    Connector(Connector),
    /// Look into the event log of a server that has stopped.
    Log(Log),
    /// Run WebAssembly functions for a server, which starts this itself.
    #[command(hide = true)]
    WasmWorker(WasmWorker),
}

/// What a server tells a worker.
#[derive(Debug, Args)]
pub(crate) struct WasmWorker {
    /// The memory that it may use, in bytes
    pub(crate) memory: u64,
}

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  tidemill serve
  tidemill serve --data-dir /srv/tidemill --http 127.0.0.1:4566
  tidemill serve --config tidemill.toml --print-config
  sudo tidemill serve --user tidemill --data-dir /var/lib/tidemill

Kafka clients on other machines, in tidemill.toml:
  [kafka]
  listen = \"0.0.0.0:9092\"
  advertised = \"tidemill.example.org:9092\"
  sasl = true
  tls = { certificate = \"cert.pem\", key = \"key.pem\" }

On the first start it writes credentials into the data folder and prints the lines to export; then
`aws s3 mb s3://inbox`, `aws lambda create-function …` and `kcat -b 127.0.0.1:9092 -L` work as they
are.")]
pub(crate) struct Serve {
    /// Where everything is kept; created when absent [default: ./tidemill-data]
    #[arg(long, value_name = "DIR")]
    pub(crate) data_dir: Option<PathBuf>,
    /// The user that a server which is started as root becomes [default: root's rights are kept]
    #[arg(long, value_name = "NAME")]
    pub(crate) user: Option<String>,
    /// Where S3, the Lambda API and the dashboard listen [default: 127.0.0.1:4566]
    #[arg(long, value_name = "ADDR")]
    pub(crate) http: Option<SocketAddr>,
    /// Where the Kafka protocol listens; beyond loopback only with SASL and TLS, which the
    /// configuration file sets [default: 127.0.0.1:9092]
    #[arg(long, value_name = "ADDR")]
    pub(crate) kafka: Option<SocketAddr>,
    /// Whether functions run in sandboxes [default: sandbox]
    #[arg(long, value_enum, value_name = "KIND")]
    pub(crate) isolation: Option<IsolationKind>,
    /// A TOML file with settings; the options above override it
    #[arg(long, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
    /// Print the effective settings as TOML and exit
    #[arg(long)]
    pub(crate) print_config: bool,
}

#[derive(Debug, Args)]
pub(crate) struct Demo {
    /// Keep serving afterwards and print the lines to export
    #[arg(long)]
    pub(crate) keep: bool,
    /// Records to publish to each topic
    #[arg(long, default_value_t = 2_000, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub(crate) records: u32,
    /// Whether functions run in sandboxes
    #[arg(long, value_enum, value_name = "KIND", default_value = "sandbox")]
    pub(crate) isolation: IsolationKind,
    /// Deploy this compiled `bootstrap` of functions/order-total instead of compiling it
    #[arg(long, value_name = "FILE")]
    pub(crate) order_total: Option<PathBuf>,
}

/// How a client command finds the server.
#[derive(Clone, Debug, Args)]
pub(crate) struct Server {
    /// The server's address; else the one recorded in the data folder
    #[arg(long, env = "AWS_ENDPOINT_URL", value_name = "URL", global = true)]
    pub(crate) endpoint_url: Option<String>,
    /// The data folder of a local server, for its address and credentials
    #[arg(
        long,
        value_name = "DIR",
        default_value = "./tidemill-data",
        global = true
    )]
    pub(crate) data_dir: PathBuf,
}

#[derive(Debug, Args)]
pub(crate) struct Logs {
    /// The function's name
    pub(crate) function: String,
    /// Go on as new lines come, until interrupted
    #[arg(long, short)]
    pub(crate) follow: bool,
    #[command(flatten)]
    pub(crate) server: Server,
}

#[derive(Debug, Args)]
pub(crate) struct Billing {
    #[command(subcommand)]
    pub(crate) command: BillingCommand,
    #[command(flatten)]
    pub(crate) server: Server,
}

#[derive(Debug, Subcommand)]
pub(crate) enum BillingCommand {
    /// Print the bill, read from the billing topic.
    Report(Report),
    /// Recount raw usage with separate code and compare: exit 0 when the difference is 0.
    Verify,
}

#[derive(Debug, Args)]
pub(crate) struct Report {
    /// How to print it
    #[arg(long, value_enum, default_value_t = Format::Table)]
    pub(crate) format: Format,
    /// Which price sheet to apply: aws-2026 (1 ms steps) or classic (100 ms steps)
    #[arg(long, value_name = "SHEET", default_value = "aws-2026")]
    pub(crate) prices: String,
    /// Usage that ended at or after this moment (RFC 3339); whole hours
    #[arg(long, value_name = "TIME")]
    pub(crate) from: Option<String>,
    /// Usage that ended before this moment (RFC 3339); whole hours
    #[arg(long, value_name = "TIME")]
    pub(crate) to: Option<String>,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum Format {
    /// Columns for people
    Table,
    /// Comma-separated values
    Csv,
    /// JSON
    Json,
    /// FOCUS 1.0, the FinOps foundation's bill format, as CSV
    Focus,
}

#[derive(Debug, Args)]
pub(crate) struct Status {
    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,
    #[command(flatten)]
    pub(crate) server: Server,
}

#[derive(Debug, Args)]
#[command(after_help = "\
Everything that a source commits becomes an event in a topic, exactly once, whatever crashes.
Passwords are never given themselves: file:PATH or env:NAME say where the server finds them.

Examples:
  tidemill connector add postgres --name shop --url postgres://ada@db.example/shop \\
      --password file:/etc/tidemill/shop.password --tables orders,customers
  tidemill connector list
  tidemill connector status shop
  tidemill connector pause shop
  tidemill connector remove shop --keep-slot

The same in tidemill.toml:
  [[connectors]]
  name = \"shop\"
  kind = \"postgres\"
  url = \"postgres://ada@db.example/shop\"
  password = \"file:/etc/tidemill/shop.password\"
  tables = [\"orders\", \"customers\"]")]
pub(crate) struct Connector {
    #[command(subcommand)]
    pub(crate) command: ConnectorCommand,
    #[command(flatten)]
    pub(crate) server: Server,
}

#[derive(Debug, Subcommand)]
pub(crate) enum ConnectorCommand {
    /// Begin to read a source.
    Add(Box<AddConnector>),
    /// Show connectors, where they read, and the streams to attach functions to.
    List(ListConnectors),
    /// Show state, position, lag, the last error, and what to do.
    Status(ConnectorStatus),
    /// Stop reading until it is resumed, also over restarts; nothing is lost.
    Pause(OneConnector),
    /// Go on after a pause, or after a failure that was seen to.
    Resume(OneConnector),
    /// Stop reading and forget; what it made at the source is taken back.
    Remove(RemoveConnector),
}

#[derive(Debug, Args)]
pub(crate) struct AddConnector {
    /// What to call it: part of the names of topics and streams
    #[arg(long, global = true)]
    pub(crate) name: Option<ConnectorName>,
    #[command(subcommand)]
    pub(crate) settings: Settings,
}

#[derive(Debug, Args)]
pub(crate) struct ListConnectors {
    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct ConnectorStatus {
    /// This one only
    pub(crate) name: Option<ConnectorName>,
    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct OneConnector {
    /// The connector
    pub(crate) name: ConnectorName,
}

#[derive(Debug, Args)]
pub(crate) struct RemoveConnector {
    /// The connector
    pub(crate) name: ConnectorName,
    /// Leave what the connector has made at its source: PostgreSQL's replication slot and publication, or
    /// triggers and the table of changes in a SQLite file. The database then keeps what it notes there
    /// until somebody drops it
    #[arg(long)]
    pub(crate) keep_slot: bool,
}

#[derive(Debug, Args)]
#[command(after_help = "\
These commands look into the data folder of a server that has stopped, and change nothing in it.
They refuse the folder of a running server, whose log moves under their hands, and keep a server
from starting until they are done. Of a running one, `tidemill status` tells where its triggers
are, and any Kafka client reads its topics.

Examples:
  tidemill log check --data-dir /srv/tidemill
  tidemill log stat --json
  tidemill log dump orders --partition 3 --from 1200 --limit 10
  tidemill log dump tidemill.billing --values --json | jq .value")]
pub(crate) struct Log {
    #[command(subcommand)]
    pub(crate) command: LogCommand,
    /// The data folder
    #[arg(
        long,
        value_name = "DIR",
        default_value = "./tidemill-data",
        global = true
    )]
    pub(crate) data_dir: PathBuf,
    /// Print JSON
    #[arg(long, global = true)]
    pub(crate) json: bool,
}

#[derive(Debug, Subcommand)]
pub(crate) enum LogCommand {
    /// Read every byte and verify every checksum: exit 0 when all is sound, 3 when something is damaged.
    ///
    /// Names each damaged range by file and byte, and the offsets that it cost. Damage that a start
    /// can live with (it always can, unless this says otherwise) is quarantined: readers of these
    /// offsets get an error, and everything else is served.
    Check,
    /// Print the records of a partition: what is known of each, and with --values what is in it.
    ///
    /// Records are printed as they are stored, those of undecided and aborted transactions among
    /// them. Offsets that damage has taken are named, and the command then ends with exit code 1.
    Dump(Dump),
    /// Show topics, partitions, segments and checkpoints, as a start would find them.
    Stat,
}

#[derive(Debug, Args)]
pub(crate) struct Dump {
    /// The topic
    pub(crate) topic: String,
    /// The partition
    #[arg(long, default_value_t = 0)]
    pub(crate) partition: u32,
    /// The first offset [default: the first that is kept]
    #[arg(long, value_name = "OFFSET")]
    pub(crate) from: Option<u64>,
    /// Print so many records at most
    #[arg(long, value_name = "RECORDS")]
    pub(crate) limit: Option<u64>,
    /// Print keys, values and headers too: they belong to whoever wrote them
    #[arg(long)]
    pub(crate) values: bool,
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_well_formed() {
        Cli::command().debug_assert();
    }
}
