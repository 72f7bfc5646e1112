//! A function that answers every event with `null`, and nothing else: what is measured with it is
//! the platform's own share. The Runtime API by hand over one kept connection.

#![expect(
    clippy::disallowed_methods,
    reason = "a function is told everything by its environment"
)]

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;

fn main() -> std::io::Result<()> {
    let api = std::env::var("AWS_LAMBDA_RUNTIME_API").map_err(std::io::Error::other)?;
    // Some who speak it do so below a path of theirs.
    let (api, path) = api.split_once('/').unwrap_or((&api[..], ""));
    let mut out = TcpStream::connect(api)?;
    out.set_nodelay(true)?;
    let mut answers = BufReader::new(out.try_clone()?);
    let slash = if path.is_empty() { "" } else { "/" };
    let base = format!("{slash}{path}/2018-06-01/runtime/invocation");
    loop {
        write!(out, "GET {base}/next HTTP/1.1\r\nHost: {api}\r\n\r\n")?;
        let id = answer(&mut answers)?;
        let head = format!("POST {base}/{id}/response HTTP/1.1\r\nHost: {api}\r\n");
        out.write_all(format!("{head}Content-Length: 4\r\n\r\nnull").as_bytes())?;
        answer(&mut answers)?;
    }
}

/// Reads one answer to its end and returns the request id that it names, if any.
fn answer(from: &mut BufReader<TcpStream>) -> std::io::Result<String> {
    let (mut id, mut length) = (String::new(), 0);
    let mut line = String::new();
    loop {
        line.clear();
        if from.read_line(&mut line)? == 0 {
            // The platform has hung up: this instance is no longer wanted.
            std::process::exit(0);
        }
        let Some((name, value)) = line.trim_end().split_once(": ") else {
            if line == "\r\n" {
                break;
            }
            continue;
        };
        match name.to_ascii_lowercase().as_str() {
            "lambda-runtime-aws-request-id" => value.clone_into(&mut id),
            "content-length" => length = value.parse().map_err(std::io::Error::other)?,
            _ => {}
        }
    }
    std::io::copy(&mut from.take(length), &mut std::io::sink())?;
    Ok(id)
}
