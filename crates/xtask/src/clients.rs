//! Unmodified clients that tests drive Tidemill with, the way its users do.

mod debezium;
mod emulators;
mod examples;
mod kafka;
mod minio;
mod moto;
mod runtimes;
mod s3;
mod s3s_e2e;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use anyhow::{Context as _, Result};
use clap::ValueEnum;

use crate::cache::Cache;
use crate::checkout::Checkout;
use crate::command::{self, output};
use crate::contract::{self, Export};
use crate::debian::{self, Tool};
use crate::golang::Go;

const REQUIREMENTS: &str = include_str!("clients/requirements.txt");
const PYTHON: Tool = Tool {
    program: "python3",
    package: "python3",
};
const NPM: Tool = Tool {
    program: "npm",
    package: "npm",
};
const CRUN: Tool = Tool {
    program: "crun",
    package: "crun",
};

/// What `cargo xtask clients` is asked for.
#[derive(clap::Args)]
#[command(
    after_help = "The lines printed are for your shell, to run a single test by cargo itself."
)]
pub(crate) struct Args {
    /// Which ones
    #[arg(required = true)]
    clients: Vec<Client>,
}

/// Brings the clients to this machine and prints how tests find them.
///
/// # Errors
/// When one cannot be had.
pub(crate) fn run(checkout: &Checkout, args: &Args) -> Result<ExitCode> {
    for client in &args.clients {
        let exports = client
            .installed(checkout.cache())
            .with_context(|| format!("bring {}", client.name()))?;
        contract::print(&exports);
    }
    Ok(ExitCode::SUCCESS)
}

/// A program that a test runs.
#[derive(Clone, Copy, ValueEnum)]
pub(crate) enum Client {
    /// kcat, the small Kafka client.
    Kcat,
    /// Python with the AWS and Kafka libraries, and the AWS command line.
    Python,
    /// Python with the Kafka libraries that it has.
    KafkaPython,
    /// The Java client and command-line tools of Apache Kafka.
    KafkaJava,
    /// kafkajs, for Node.js.
    Kafkajs,
    /// franz-go, the Kafka client in Go.
    Franz,
    /// awslambdaric, AWS's runtime interface client for Python.
    RicPython,
    /// aws-lambda-ric, the one for Node.js.
    RicNode,
    /// The one for Java.
    RicJava,
    /// A function on aws-lambda-go.
    RicGo,
    /// Node.js, which runs functions.
    Node,
    /// Ruby, likewise.
    Ruby,
    /// Mono, and functions that it runs.
    Csharp,
    /// Rust's libraries for WebAssembly programs.
    WasmTarget,
    /// The examples that are WebAssembly programs in Go and C.
    WasmExamples,
    /// Debezium's PostgreSQL connector, which tests compare with.
    Debezium,
    /// moto, a server that speaks DynamoDB, SQS and S3.
    Moto,
    /// s3s-e2e, which judges S3 servers.
    #[value(name = "s3s-e2e")]
    S3sE2e,
    /// The AWS SDK for JavaScript.
    AwsSdkJs,
    /// The AWS SDK for Java.
    AwsSdkJava,
    /// A program on the AWS SDK for Go.
    AwsSdkGo,
    /// rclone, which copies files to and from stores.
    Rclone,
    /// mc, MinIO's client.
    Mc,
    /// sqlite3, which writes SQLite databases.
    Sqlite3,
    /// skopeo, which copies container images.
    Skopeo,
    /// strace, which shows that an idle server is idle, and puts faults into system calls.
    Strace,
    /// xfs_io, which cuts the power of a file system.
    XfsIo,
    /// mkfs.ext4, which makes file systems for that.
    MkfsExt4,
    /// A browser without a window.
    Chromium,
    /// AWS's emulator of Lambda's runtime interface, which benchmarks compare with.
    Rie,
    /// cargo-lambda, which has another.
    CargoLambda,
    /// crun, which runs containers.
    Crun,
    /// podman, which has crun run them.
    Podman,
    /// MinIO, whose webhooks benchmarks compare with.
    Minio,
}

impl Client {
    /// What people call it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Kcat => "kcat",
            Self::Python => "Python clients",
            Self::KafkaPython => "Python Kafka clients",
            Self::KafkaJava => "Java Kafka clients",
            Self::Kafkajs => "kafkajs",
            Self::Franz => "franz-go",
            Self::RicPython => "awslambdaric",
            Self::RicNode => "aws-lambda-ric",
            Self::RicJava => "aws-lambda-java-runtime-interface-client",
            Self::RicGo => "aws-lambda-go",
            Self::Node => "Node.js",
            Self::Ruby => "Ruby",
            Self::Csharp => "Mono",
            Self::WasmTarget => "Rust for WebAssembly",
            Self::WasmExamples => "examples in Go and C",
            Self::Debezium => "Debezium",
            Self::Moto => "moto",
            Self::S3sE2e => "s3s-e2e",
            Self::AwsSdkJs => "AWS SDK for JavaScript",
            Self::AwsSdkJava => "AWS SDK for Java",
            Self::AwsSdkGo => "AWS SDK for Go",
            Self::Rclone => "rclone",
            Self::Mc => "mc",
            Self::Sqlite3 => "sqlite3",
            Self::Skopeo => "skopeo",
            Self::Strace => "strace",
            Self::XfsIo => "xfs_io",
            Self::MkfsExt4 => "mkfs.ext4",
            Self::Chromium => "Chromium",
            Self::Rie => "aws-lambda-rie",
            Self::CargoLambda => "cargo-lambda",
            Self::Crun => "crun",
            Self::Podman => "podman",
            Self::Minio => "MinIO",
        }
    }

    /// Brings it to this machine, and returns the names under which tests find it.
    ///
    /// # Errors
    /// When it cannot be had here: tests that need it then skip.
    pub(crate) fn installed(self, cache: &Cache) -> Result<Vec<Export>> {
        match self {
            Self::Kcat => program(
                contract::KCAT,
                Tool {
                    program: "kcat",
                    package: "kcat",
                },
            ),
            Self::Python => python(cache),
            Self::KafkaPython => kafka::python(cache),
            Self::KafkaJava => kafka::java(cache),
            Self::Kafkajs => kafka::kafkajs(cache),
            Self::Franz => kafka::franz(cache),
            Self::RicPython => runtimes::python(cache),
            Self::RicNode => runtimes::node(cache),
            Self::RicJava => runtimes::java(cache),
            Self::RicGo => runtimes::go(cache),
            Self::Node => program(
                contract::NODE,
                Tool {
                    program: "node",
                    package: "nodejs",
                },
            ),
            Self::Ruby => program(
                contract::RUBY,
                Tool {
                    program: "ruby",
                    package: "ruby",
                },
            ),
            Self::Csharp => runtimes::csharp(cache),
            Self::WasmTarget => wasm_target(),
            Self::WasmExamples => examples::built(cache),
            Self::Debezium => debezium::java(cache),
            Self::Moto => moto::server(cache),
            Self::S3sE2e => s3s_e2e::built(cache),
            Self::AwsSdkJs => s3::javascript(cache),
            Self::AwsSdkJava => s3::java(cache),
            Self::AwsSdkGo => s3::go(cache),
            Self::Rclone => s3::rclone(cache),
            Self::Mc => s3::mc(cache),
            Self::Sqlite3 => program(
                contract::SQLITE3,
                Tool {
                    program: "sqlite3",
                    package: "sqlite3",
                },
            ),
            Self::Skopeo => program(
                contract::SKOPEO,
                Tool {
                    program: "skopeo",
                    package: "skopeo",
                },
            ),
            Self::Strace => program(
                contract::STRACE,
                Tool {
                    program: "strace",
                    package: "strace",
                },
            ),
            Self::XfsIo => program(
                contract::XFS_IO,
                Tool {
                    program: "xfs_io",
                    package: "xfsprogs",
                },
            ),
            Self::MkfsExt4 => program(
                contract::MKFS_EXT4,
                Tool {
                    program: "mkfs.ext4",
                    package: "e2fsprogs",
                },
            ),
            Self::Chromium => program(
                contract::CHROMIUM,
                Tool {
                    program: "chromium",
                    package: "chromium",
                },
            ),
            Self::Rie => emulators::rie(cache),
            Self::CargoLambda => emulators::cargo_lambda(cache),
            Self::Crun => program(contract::BENCH_CRUN, CRUN),
            Self::Podman => {
                CRUN.installed()?;
                program(
                    contract::BENCH_PODMAN,
                    Tool {
                        program: "podman",
                        package: "podman",
                    },
                )
            }
            Self::Minio => minio::built(cache),
        }
    }
}

/// The compiler finds it by itself, and so do tests.
fn wasm_target() -> Result<Vec<Export>> {
    let targets = ["wasm32-wasip1", "wasm32-wasip2"];
    let mut rustup = Command::new("rustup");
    command::run(rustup.args(["--quiet", "target", "add"]).args(targets))?;
    Ok(Vec::new())
}

fn program(name: &'static str, tool: Tool) -> Result<Vec<Export>> {
    Ok(vec![(name, text(tool.installed()?)?)])
}

fn python(cache: &Cache) -> Result<Vec<Export>> {
    let folder = environment(cache, "python", REQUIREMENTS)?;
    Ok(vec![
        (contract::PYTHON, text(folder.join("bin/python"))?),
        (contract::AWS, text(folder.join("bin/aws"))?),
    ])
}

/// A virtual environment of Python's with what `requirements` names.
fn environment(cache: &Cache, name: &str, requirements: &str) -> Result<PathBuf> {
    let python = PYTHON.installed()?;
    let version = output(Command::new(&python).arg("--version"))?;
    cache.fetched(name, &format!("{version}{requirements}"), |folder| {
        // Debian splits what `venv` needs off into a package of its own.
        if output(Command::new(&python).args(["-c", "import venv, ensurepip"])).is_err() {
            debian::install("python3-venv")?;
        }
        command::run(Command::new(&python).args(["-m", "venv"]).arg(folder))?;
        let file = folder.join("requirements.txt");
        fs::write(&file, requirements).context("write requirements.txt")?;
        command::run(
            Command::new(folder.join("bin/pip"))
                .args(["install", "--quiet", "--requirement"])
                .arg(&file),
        )
    })
}

/// The folder of Node.js modules with `packages`, which spaces part.
pub(crate) fn node_modules(cache: &Cache, name: &str, packages: &str) -> Result<PathBuf> {
    let folder = cache.fetched(name, packages, |folder| {
        let mut npm = Command::new(NPM.installed()?);
        npm.args(["install", "--silent", "--no-audit", "--no-fund", "--prefix"]);
        command::run(npm.arg(folder).args(packages.split(' ')))
    })?;
    Ok(folder.join("node_modules"))
}

/// The program called `program` that Go builds of the module whose files are `sources`.
fn go_program(
    cache: &Cache,
    (name, program): (&str, &str),
    sources: &[(&str, &str)],
) -> Result<PathBuf> {
    let recipe: String = sources.iter().map(|(_, source)| *source).collect();
    // The toolchain is fetched into the same cache, which one at a time may fill.
    let go = Go::installed(cache)?;
    let folder = cache.fetched(name, &recipe, |folder| {
        for (file, source) in sources {
            fs::write(folder.join(file), source).with_context(|| format!("write {file}"))?;
        }
        go.build(folder, Path::new(program))
    })?;
    Ok(folder.join(program))
}

fn text(path: PathBuf) -> Result<String> {
    path.into_os_string()
        .into_string()
        .ok()
        .context("a path that is not UTF-8 cannot be handed to tests")
}
