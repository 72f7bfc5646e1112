//! Counts the words of `{"text": "…"}`, or of every record of a batch from a topic.
//!
//! The event is standard input, the result standard output, and whatever is printed to standard error
//! is the log. An exit with another status than zero is an error of the function's, whose type and
//! message are what it has printed.

use std::io::{Read, Write};
use std::process::ExitCode;

use serde_json::json;

mod count;

fn main() -> ExitCode {
    let mut event = String::new();
    let read = std::io::stdin().read_to_string(&mut event);
    let counted = read
        .map_err(|error| error.to_string())
        .and_then(|_| serde_json::from_str(&event).map_err(|error| error.to_string()))
        .and_then(|event| count::count(&event));
    let (answer, code) = match counted {
        Ok(answer) => (answer, ExitCode::SUCCESS),
        Err(message) => (
            json!({"errorType": "BadEvent", "errorMessage": message}),
            ExitCode::FAILURE,
        ),
    };
    match writeln!(std::io::stdout(), "{answer}") {
        Ok(()) => code,
        Err(_) => ExitCode::FAILURE,
    }
}
