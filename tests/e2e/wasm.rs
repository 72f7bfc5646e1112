//! WebAssembly functions: deployed and invoked like any other, behind the same walls.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use anyhow::{Context, Result, ensure};
use aws_sdk_s3::primitives::ByteStream;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};
use tests::{
    Cli, Line, Server, charged, eventually, program, repository, skip, topic_lines, until_settled,
    zip_file,
};

use crate::clients::on_a_server_with;

/// Of Rust's, those for modules and for components.
const WASIP1: &str = "wasm32-wasip1";
const WASIP2: &str = "wasm32-wasip2";

#[test]
fn a_wasm_command_answers_fails_and_sees_as_it_should() -> Result<()> {
    let test = "a_wasm_command_answers_fails_and_sees_as_it_should";
    match prisoner(test)? {
        Some(module) => goes_through_the_table(module, "command"),
        None => Ok(()),
    }
}

#[test]
fn a_component_that_is_a_command_answers_fails_and_sees_as_it_should() -> Result<()> {
    let test = "a_component_that_is_a_command_answers_fails_and_sees_as_it_should";
    if !has_target(test, WASIP2)? {
        return Ok(());
    }
    let component = compiled("prisoner", WASIP2, &[])?;
    goes_through_the_table(&component, "component command")
}

#[test]
fn a_typed_component_answers_fails_and_sees_as_it_should() -> Result<()> {
    let test = "a_typed_component_answers_fails_and_sees_as_it_should";
    if !has_target(test, WASIP2)? {
        return Ok(());
    }
    let world = repository().join("functions/wit/function.wit");
    let world = format!("link-arg=--component-type={}", world.display());
    let options = ["--crate-type", "cdylib", "-C", &world];
    let component = compiled("prisoner_typed", WASIP2, &options)?;
    goes_through_the_table(&component, "typed component")
}

#[test]
fn a_module_with_the_core_abi_answers_fails_and_sees_as_it_should() -> Result<()> {
    let test = "a_module_with_the_core_abi_answers_fails_and_sees_as_it_should";
    if !has_target(test, WASIP1)? {
        return Ok(());
    }
    let module = compiled("prisoner_core", WASIP1, &["--crate-type", "cdylib"])?;
    goes_through_the_table(&module, "core")
}

#[test]
fn the_example_with_the_core_abi_counts_words() -> Result<()> {
    let test = "the_example_with_the_core_abi_counts_words";
    counts_words(test, ("word-count-core", WASIP1, "word_count_core.wasm"))
}

#[test]
fn the_example_that_is_a_typed_component_counts_words() -> Result<()> {
    let test = "the_example_that_is_a_typed_component_counts_words";
    let example = ("word-count-component", WASIP2, "word_count_component.wasm");
    counts_words(test, example)
}

/// Builds an example as its users do (its folder, its target, its file), and has it count.
fn counts_words(test: &str, (example, to, file): (&str, &str, &str)) -> Result<()> {
    if !has_target(test, to)? {
        return Ok(());
    }
    let server = Server::start()?;
    let Some(aws) = Cli::find(&server) else {
        skip(test, "the AWS CLI is not installed");
        return Ok(());
    };
    let target = tempfile::tempdir()?;
    let manifest = repository().join("functions").join(example);
    let output = Command::new("cargo")
        .args(["build", "--quiet", "--target", to, "--locked"])
        .arg("--manifest-path")
        .arg(manifest.join("Cargo.toml"))
        .arg("--target-dir")
        .arg(target.path())
        .output()
        .context("run cargo")?;
    ensure!(
        output.status.success(),
        "build the example: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    let module = target.path().join(to).join("debug").join(file);
    is_a_counter(&aws, &module, "neither a text nor a batch of records")
}

/// Where `cargo xtask` has put the examples that it has built; `None`, and a skip of `test`, where it has not.
fn examples(test: &str) -> Option<PathBuf> {
    let found = std::env::var_os("TIDEMILL_TEST_EXAMPLES").map(PathBuf::from);
    if found.is_none() {
        skip(test, "the examples in Go and C are not built");
    }
    found
}

#[test]
fn the_example_in_go_finds_the_median() -> Result<()> {
    let Some(examples) = examples("the_example_in_go_finds_the_median") else {
        return Ok(());
    };
    let server = Server::start()?;
    let aws = Cli::find(&server).context("the AWS CLI")?;
    deploy(&aws, &examples.join("median.wasm"), "median", &[])?;
    let answer = aws.invoke("median", r#"{"values": [3, 1, 2, 10]}"#)?;
    assert_eq!(answer, json!({"count": 4, "median": 2.5}));
    let refused = aws.invoke("median", r#"{"values": []}"#)?;
    let expected =
        json!({"errorType": "NoValues", "errorMessage": "there is no median of nothing"});
    assert_eq!(refused, expected);
    let logs = server.tidemill(&["logs", "median"])?;
    assert!(logs.contains("4 values"), "{logs}");
    Ok(())
}

#[test]
fn the_example_in_c_sums_its_event_up() -> Result<()> {
    let Some(examples) = examples("the_example_in_c_sums_its_event_up") else {
        return Ok(());
    };
    let server = Server::start()?;
    let aws = Cli::find(&server).context("the AWS CLI")?;
    deploy(&aws, &examples.join("checksum.wasm"), "checksum", &[])?;
    // The check value of CRC-32 is that of these nine digits, which are JSON too.
    let answer = aws.invoke("checksum", "123456789")?;
    assert_eq!(answer, json!({"bytes": 9, "crc32": "cbf43926"}));
    Ok(())
}

/// Python as a component: of all of these the most modules, and the most memory.
#[test]
fn the_example_in_python_counts_words() -> Result<()> {
    let test = "the_example_in_python_counts_words";
    let Some(tool) = componentize_py()? else {
        skip(test, "componentize-py is not installed");
        return Ok(());
    };
    let server = Server::start()?;
    let Some(aws) = Cli::find(&server) else {
        skip(test, "the AWS CLI is not installed");
        return Ok(());
    };
    let folder = tempfile::tempdir()?;
    let component = folder.path().join("words.wasm");
    let output = Command::new(tool)
        .args(["-d", "wit", "-w", "function", "componentize"])
        .args(["-p", "word-count-python", "app", "-o"])
        .arg(&component)
        .current_dir(repository().join("functions"))
        .output()
        .context("run componentize-py")?;
    ensure!(
        output.status.success(),
        "build the example: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    is_a_counter(&aws, &component, "not a text")
}

/// What makes components of Python, beside Python. The one that tests are told of has it.
fn componentize_py() -> Result<Option<PathBuf>> {
    const PYTHON: &str = "TIDEMILL_TEST_PYTHON";
    let Some(python) = program(PYTHON, "python3") else {
        return Ok(None);
    };
    let tool = python.with_file_name("componentize-py");
    let is_there = tool.is_file();
    ensure!(
        is_there || std::env::var_os(PYTHON).is_none(),
        "{PYTHON} has no {}",
        tool.display()
    );
    Ok(is_there.then_some(tool))
}

/// Deploys what counts words, and has it count, and refuse what it cannot.
fn is_a_counter(aws: &Cli<'_>, module: &Path, refusal: &str) -> Result<()> {
    deploy(aws, module, "counter", &[])?;
    let counted = aws.invoke("counter", r#"{"text": "one two three"}"#)?;
    assert_eq!(counted, json!({"words": 3}));
    let refused = aws.invoke("counter", r#"{"neither": "nor"}"#)?;
    assert_eq!(
        refused,
        json!({"errorType": "Unknown", "errorMessage": refusal})
    );
    Ok(())
}

/// One table is gone through with functions of all kinds.
fn goes_through_the_table(module: &Path, kind: &str) -> Result<()> {
    on_a_server_with("boto3_wasm.py", "boto3", &[module, Path::new(kind)])
}

/// The function that does what its event names, as a command; `None`, and a skip of `test`, where Rust
/// cannot be compiled to WebAssembly.
fn prisoner(test: &str) -> Result<Option<&'static PathBuf>> {
    static BUILT: OnceLock<PathBuf> = OnceLock::new();
    if let Some(built) = BUILT.get() {
        return Ok(Some(built));
    }
    if !has_target(test, WASIP1)? {
        return Ok(None);
    }
    let module = compiled("prisoner", WASIP1, &[])?;
    Ok(Some(BUILT.get_or_init(|| module)))
}

/// Whether Rust can be compiled to `target`; if not, `test` is skipped.
fn has_target(test: &str, target: &str) -> Result<bool> {
    let libraries = Command::new("rustc")
        .args(["--print", "target-libdir", "--target", target])
        .output()
        .context("run rustc")?;
    let libraries = String::from_utf8(libraries.stdout)?;
    let has = Path::new(libraries.trim()).is_dir();
    if !has {
        skip(test, &format!("Rust has not the target {target}"));
    }
    Ok(has)
}

/// One of the handlers, compiled by itself to `target`.
fn compiled(name: &str, target: &str, options: &[&str]) -> Result<PathBuf> {
    let folder = tempfile::tempdir()?.keep();
    let module = folder.join(name).with_extension("wasm");
    let handlers = repository().join("tests/e2e/handlers/wasm");
    let output = Command::new("rustc")
        .args(["--edition", "2024", "--target", target, "-O"])
        .args(["-C", "strip=debuginfo"])
        .args(options)
        .arg("-o")
        .arg(&module)
        .arg(handlers.join(name).with_extension("rs"))
        .output()
        .context("run rustc")?;
    ensure!(
        output.status.success(),
        "build {name}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    Ok(module)
}

/// Deploys the prisoner under this name.
fn deploy(aws: &Cli<'_>, prisoner: &Path, name: &str, options: &[&str]) -> Result<()> {
    let work = tempfile::tempdir()?;
    let module = std::fs::read(prisoner)?;
    let package = zip_file(work.path(), "code.zip", &[("prisoner.wasm", &module)])?;
    aws.create_function(name, ("wasm", "prisoner.wasm"), &package, options)
}

#[test]
fn a_worker_that_dies_takes_along_what_it_ran_and_nothing_else() -> Result<()> {
    let Some(prisoner) = prisoner("a_worker_that_dies")? else {
        return Ok(());
    };
    let server = Server::start()?;
    let Some(aws) = Cli::find(&server) else {
        skip("a_worker_that_dies", "the AWS CLI is not installed");
        return Ok(());
    };
    deploy(&aws, prisoner, "holder", &["--timeout", "60"])?;
    let echo = json!({"do": "echo"});
    assert_eq!(aws.invoke("holder", &echo.to_string())?, echo);
    let (died, killed) = std::thread::scope(|scope| {
        let holding = scope.spawn(|| aws.invoke("holder", r#"{"do": "sleep", "n": 60000}"#));
        let killed = kill_worker_once_it_holds(&server);
        (holding.join().expect("no panic"), killed)
    });
    killed?;
    let died = died?;
    assert_eq!(died["errorType"], "Sandbox.Failure", "{died}");
    let message = died["errorMessage"].as_str().unwrap_or_default();
    assert!(message.contains("has ended: signal: killed"), "{message}");
    assert_eq!(aws.invoke("holder", &echo.to_string())?, echo);
    Ok(())
}

/// What a function prints is seen as it prints it, which shows that it runs.
fn kill_worker_once_it_holds(server: &Server) -> Result<()> {
    let holds = eventually("the function runs", async || {
        let logs = server.tidemill(&["logs", "holder"])?;
        Ok(logs.contains("about to sleep").then_some(()))
    });
    tokio::runtime::Runtime::new()?.block_on(holds)?;
    let worker = worker_of(server.pid()?)?.context("a worker")?;
    let worker = Pid::from_raw(worker).context("a process id")?;
    Ok(kill_process(worker, Signal::KILL)?)
}

/// The process below `server` that is its worker.
fn worker_of(server: u32) -> Result<Option<i32>> {
    for entry in std::fs::read_dir("/proc")? {
        let Ok(pid) = entry?.file_name().to_string_lossy().parse::<i32>() else {
            continue;
        };
        let read = |file: &str| std::fs::read_to_string(format!("/proc/{pid}/{file}"));
        let (Ok(words), Ok(stat)) = (read("cmdline"), read("stat")) else {
            continue;
        };
        let is_worker = words.split('\0').any(|word| word == "wasm-worker");
        if is_worker && is_below(&stat, server) {
            return Ok(Some(pid));
        }
    }
    Ok(None)
}

/// Whether the process with this `/proc/PID/stat` has `ancestor` above it.
fn is_below(stat: &str, ancestor: u32) -> bool {
    let parent = stat.rsplit_once(')').and_then(|(_, rest)| {
        let parent = rest.split_whitespace().nth(1)?;
        parent.parse::<u32>().ok()
    });
    match parent {
        Some(parent) if parent == ancestor => true,
        Some(0) | None => false,
        Some(parent) => std::fs::read_to_string(format!("/proc/{parent}/stat"))
            .is_ok_and(|stat| is_below(&stat, ancestor)),
    }
}

#[tokio::test]
async fn an_object_runs_a_wasm_function_and_the_run_is_billed() -> Result<()> {
    let Some(prisoner) = prisoner("an_object_runs_a_wasm_function")? else {
        return Ok(());
    };
    let server = Server::start()?;
    let Some(aws) = Cli::find(&server) else {
        skip(
            "an_object_runs_a_wasm_function",
            "the AWS CLI is not installed",
        );
        return Ok(());
    };
    deploy(&aws, prisoner, "seen", &[])?;
    aws.run(&["s3", "mb", "s3://inbox"])?;
    aws.notify("inbox", "seen", &["s3:ObjectCreated:*"])?;
    let s3 = tests::s3(&server)?;
    for n in 0..30 {
        let put = s3.put_object().bucket("inbox").key(format!("{n}.txt"));
        put.body(ByteStream::from_static(b"x")).send().await?;
    }
    let triggers = until_settled(&server).await?;
    let mut of_bucket = triggers.iter().filter(|it| it["topic"] == "bucket.inbox");
    let trigger = of_bucket.next().context("the bucket's trigger")?;
    assert_eq!(trigger["succeeded"], 30, "{trigger:#?}");
    eventually("the bill covers all runs", async || {
        let report = server.tidemill(&["billing", "report", "--format", "json"])?;
        let report: Value = serde_json::from_str(&report)?;
        Ok((charged(&report) == 30).then_some(()))
    })
    .await?;
    let usage = topic_lines(&server, "tidemill.usage")?;
    assert_eq!(usage.len(), 30);
    for Line { value, .. } in &usage {
        assert_eq!(value["outcome"], "success", "{value}");
        assert!(value["billed_ms"].as_u64() >= Some(1), "{value}");
    }
    server.tidemill(&["billing", "verify"])?;
    Ok(())
}
