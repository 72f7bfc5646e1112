//! `cargo xtask fuzz`: has libFuzzer look for bytes that break the claims of the fuzz targets.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use anyhow::{Context as _, Result, bail};
use clap::ValueEnum;

use crate::checkout::Checkout;
use crate::command;

/// What has the compiler count which edges of a program were taken, and what was compared with what. It is
/// what cargo-fuzz asks of it, without the sanitizers that only a nightly compiler has.
const INSTRUMENTED: &[&str] = &[
    "-Cpasses=sancov-module",
    "-Cllvm-args=-sanitizer-coverage-level=4",
    "-Cllvm-args=-sanitizer-coverage-inline-8bit-counters",
    "-Cllvm-args=-sanitizer-coverage-pc-table",
    "-Cllvm-args=-sanitizer-coverage-trace-compares",
    "--cfg=fuzzing",
];

/// What `cargo xtask fuzz` is asked for.
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  cargo xtask fuzz
  cargo xtask fuzz package --seconds 600

What each target claims is said in tests/fuzz/src. Inputs that reach new code are kept below fuzz/corpus in \
the build folder, and the next run goes on from them. An input that breaks a claim ends the run and is \
written to fuzz/findings there; put it into tests/fuzz/regressions/TARGET, from where `cargo xtask test` and \
every later run take it. The first build takes some minutes.")]
pub(crate) struct Args {
    /// What is fuzzed; everything in turn when absent
    target: Option<Target>,
    /// How long, each
    #[arg(long, default_value_t = 60, value_parser = clap::value_parser!(u32).range(1..))]
    seconds: u32,
}

/// What can be fuzzed.
#[derive(Clone, Copy, ValueEnum)]
enum Target {
    /// Packages of code, as zip archives
    Package,
    /// Layers of container images, as tar archives
    Layers,
    /// The Runtime, Extensions and Telemetry APIs, as bytes on connections
    RuntimeApi,
}

impl Target {
    const fn name(self) -> &'static str {
        match self {
            Self::Package => "package",
            Self::Layers => "layers",
            Self::RuntimeApi => "runtime-api",
        }
    }
}

/// Builds the program and runs it for each target.
///
/// # Errors
/// When it does not build, or a claim was broken.
pub(crate) fn run(checkout: &Checkout, args: &Args) -> Result<ExitCode> {
    let folder = checkout.build_folder().join("fuzz");
    let program = build(checkout, &folder)?;
    let targets = match &args.target {
        Some(target) => std::slice::from_ref(target),
        None => Target::value_variants(),
    };
    for target in targets {
        fuzz(checkout, &folder, &program, *target, args.seconds)?;
    }
    Ok(ExitCode::SUCCESS)
}

fn build(checkout: &Checkout, folder: &Path) -> Result<PathBuf> {
    let package = checkout.root().join("tests/fuzz/libfuzzer");
    // Dependencies in the very versions of everything else, and libFuzzer.
    fs::copy(
        checkout.root().join("Cargo.lock"),
        package.join("Cargo.lock"),
    )
    .context("copy Cargo.lock")?;
    let host = command::output(Command::new("rustc").args(["--print", "host-tuple"]))?;
    let host = host.trim();
    // Named as another machine would be: what runs while building is then not instrumented.
    let mut cargo = checkout.cargo(&["build", "--release", "--target", host]);
    cargo
        .current_dir(&package)
        .env("CARGO_TARGET_DIR", folder)
        .env("CARGO_ENCODED_RUSTFLAGS", INSTRUMENTED.join("\u{1f}"));
    command::run(&mut cargo)?;
    Ok(folder.join(host).join("release/fuzz"))
}

fn fuzz(
    checkout: &Checkout,
    folder: &Path,
    program: &Path,
    target: Target,
    seconds: u32,
) -> Result<()> {
    let name = target.name();
    let corpus = folder.join("corpus").join(name);
    let findings = folder.join("findings").join(name);
    for folder in [&corpus, &findings] {
        fs::create_dir_all(folder).with_context(|| format!("make {}", folder.display()))?;
    }
    let regressions = checkout.root().join("tests/fuzz/regressions").join(name);
    let mut libfuzzer = Command::new(program);
    libfuzzer
        .env("TIDEMILL_FUZZ_TARGET", name)
        .env("TIDEMILL_FUZZ_SEEDS", &corpus)
        .arg(&corpus)
        .args(Some(regressions).filter(|folder| folder.is_dir()))
        .args(["-max_len=4096", "-timeout=20", "-rss_limit_mb=1024"])
        .args(["-print_final_stats=1", "-report_slow_units=5"])
        .arg(format!("-max_total_time={seconds}"))
        .arg(format!("-artifact_prefix={}/", findings.display()));
    println!("fuzz {name} for {seconds} s");
    if command::run(&mut libfuzzer).is_err() {
        bail!(
            "{name} breaks a claim: the input is in {}",
            findings.display()
        );
    }
    Ok(())
}
