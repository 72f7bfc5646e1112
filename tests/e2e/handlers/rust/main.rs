//! What the matrix of runtime clients invokes, in Rust. One program; the handler's name chooses.

#![expect(
    clippy::disallowed_methods,
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a function reads its environment, sleeps and prints"
)]

use std::fs::File;
use std::io::Write;
use std::process::{Command, exit};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, LazyLock};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use lambda_runtime::streaming::{Response, channel};
use lambda_runtime::{Diagnostic, Error, LambdaEvent, service_fn};
use serde_json::{Value, json};

static INSTANCE: LazyLock<String> = LazyLock::new(|| micros().to_string());
static CALLS: AtomicU64 = AtomicU64::new(0);
static TICKS: AtomicU64 = AtomicU64::new(0);

/// An error with a type of the function's own.
#[derive(Debug)]
struct Refused {
    error_type: &'static str,
    message: String,
}

impl From<Refused> for Diagnostic {
    fn from(refused: Refused) -> Self {
        Self {
            error_type: refused.error_type.to_owned(),
            error_message: refused.message,
        }
    }
}

impl<E: std::error::Error> From<E> for Refused {
    fn from(error: E) -> Self {
        Self {
            error_type: "Failed",
            message: error.to_string(),
        }
    }
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    let name: Arc<str> = std::env::var("_HANDLER")?.into();
    match &*name {
        "broken" => {
            eprintln!("no database");
            exit(1)
        }
        "streams" => lambda_runtime::run(service_fn(streams)).await,
        _ => {
            let handler = move |event| {
                let name = Arc::clone(&name);
                async move { handle(&name, event) }
            };
            lambda_runtime::run(service_fn(handler)).await
        }
    }
}

async fn streams(
    _: LambdaEvent<Value>,
) -> Result<Response<lambda_runtime::streaming::Body>, Error> {
    let (mut sender, body) = channel();
    tokio::spawn(async move {
        for piece in ["[\"one\"", ",\"two\"]"] {
            // Nobody reads any more: the instance is ending.
            let _ = sender.send_data(piece.into()).await;
        }
    });
    Ok(Response::from(body))
}

fn handle(name: &str, event: LambdaEvent<Value>) -> Result<Value, Refused> {
    let LambdaEvent { payload, context } = event;
    let number = |name: &str| payload[name].as_u64().unwrap_or_default();
    let counted = || CALLS.fetch_add(1, Ordering::Relaxed) + 1;
    Ok(match name {
        "echo" => payload,
        "nothing" => Value::Null,
        "length" => json!(payload["text"].as_str().map(str::len)),
        "repeat" => json!("x".repeat(usize::try_from(number("times"))?)),
        "throw" => {
            return Err(Refused {
                error_type: "Boom",
                message: "boom".to_owned(),
            });
        }
        "custom" => {
            return Err(Refused {
                error_type: "OrderRefused",
                message: "order 7: ¡no! 😀".to_owned(),
            });
        }
        "panics" => panic!("all is lost"),
        "exit_zero" => exit(0),
        "exit_one" => exit(1),
        "killed" => {
            let pid = std::process::id();
            let kill = format!("kill -9 {pid}");
            Command::new("/bin/sh").args(["-c", &kill]).status()?;
            Value::Null
        }
        "hang" => {
            if !payload["hang"].is_null() {
                std::thread::sleep(Duration::from_secs(60));
            }
            json!(*INSTANCE)
        }
        "crash_sometimes" => {
            if !payload["crash"].is_null() {
                exit(3);
            }
            json!({"instance": *INSTANCE, "calls": counted()})
        }
        "count" => {
            let mut file = File::options()
                .create(true)
                .append(true)
                .open("/tmp/calls")?;
            file.write_all(b"x")?;
            let kept = file.metadata()?.len();
            json!({"instance": *INSTANCE, "calls": counted(), "kept": kept})
        }
        "busy" => {
            let began = micros();
            std::thread::sleep(Duration::from_millis(300));
            json!({
                "instance": *INSTANCE, "request": context.request_id,
                "began": began, "ended": micros(),
            })
        }
        "context" => json!({
            "request_id": context.request_id,
            "name": context.env_config.function_name,
            "version": context.env_config.version,
            "arn": context.invoked_function_arn,
            "memory": context.env_config.memory,
            "log_group": context.env_config.log_group,
            "log_stream": context.env_config.log_stream,
            "remaining": context.deadline.saturating_sub(micros() / 1000),
            "client": context.client_context.map(|context| context.custom),
        }),
        "environment" => {
            let mut shown: Value = std::env::vars().collect();
            shown["PWD"] = json!(std::env::current_dir()?);
            shown
        }
        "trace" => json!(context.xray_trace_id),
        "ticking" => {
            if counted() == 1 {
                std::thread::spawn(|| {
                    loop {
                        std::thread::sleep(Duration::from_millis(1));
                        TICKS.fetch_add(1, Ordering::Relaxed);
                    }
                });
            }
            json!(TICKS.load(Ordering::Relaxed))
        }
        "log" => {
            println!("to standard output");
            eprintln!("to standard error");
            println!("unicode: grüße 😀");
            if number("long") > 0 {
                println!("{}", "y".repeat(usize::try_from(number("long"))?));
            }
            json!("logged")
        }
        "flood" => {
            let line = format!("{}\n", "z".repeat(1023));
            for _ in 0..number("kib") {
                std::io::stderr().write_all(line.as_bytes())?;
            }
            json!("flooded")
        }
        other => {
            return Err(Refused {
                error_type: "NoSuchHandler",
                message: other.to_owned(),
            });
        }
    })
}

/// Since the epoch.
fn micros() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(0, |since| since.as_micros() as u64)
}
