//! What functions of any kind do when an event names it, good or bad. Made with `rustc` alone.

use std::collections::BTreeMap;
use std::io::Read;
use std::net::TcpStream;
use std::process::exit;
use std::time::{Duration, Instant};

/// An error with its type.
pub struct Wrong {
    pub kind: &'static str,
    pub message: &'static str,
}

/// Does what the event names; what it does not know, `more` does.
pub fn act(event: &str, more: impl FnOnce(&str) -> Option<String>) -> Result<Vec<u8>, Wrong> {
    let word = |name: &str| {
        let rest = event.split_once(&format!("\"{name}\":"))?.1.trim_start();
        let rest = rest.trim_start_matches('"');
        rest.split(['"', ',', '}']).next()
    };
    let number = word("n").and_then(|n| n.parse().ok()).unwrap_or(0_usize);
    let said = match word("do").unwrap_or("echo") {
        "echo" => event.to_owned(),
        "exit" => exit(number as i32),
        "report" => {
            return Err(Wrong {
                kind: "Order.Empty",
                message: "nothing in it",
            });
        }
        "trap" => std::process::abort(),
        "panic" => panic!("out of cheese"),
        "spin" => loop {
            std::hint::black_box(number);
        },
        "sleep" => {
            eprintln!("about to sleep");
            let begun = Instant::now();
            std::thread::sleep(Duration::from_millis(number as u64));
            let slept = begun.elapsed() >= Duration::from_millis(number as u64);
            slept.to_string()
        }
        "balloon" => {
            let mut held = Vec::new();
            loop {
                held.push(vec![1_u8; 1 << 20]);
                std::hint::black_box(&held);
            }
        }
        "modest" => {
            let mut held: Vec<Vec<u8>> = Vec::new();
            loop {
                let mut more = Vec::new();
                if more.try_reserve_exact(1 << 20).is_err() {
                    break;
                }
                held.push(more);
            }
            held.len().to_string()
        }
        "recurse" => deeper(1).to_string(),
        "shout" => {
            (0..number).for_each(|line| eprintln!("line {line}"));
            String::new()
        }
        "rant" => {
            let line = "x".repeat(999);
            (0..number).for_each(|_| eprintln!("{line}"));
            String::new()
        }
        "flood" => return Ok(vec![b'x'; number]),
        "plant" => {
            let secret = secret();
            let copies: Vec<[u8; 16]> = vec![secret; 1 << 16];
            std::hint::black_box(&copies);
            found().to_string()
        }
        "look" => found().to_string(),
        "files" => files().to_string(),
        "sockets" => sockets().to_string(),
        "environment" => {
            let variables: BTreeMap<String, String> = std::env::vars().collect();
            let members: Vec<_> = variables
                .iter()
                .map(|(name, value)| format!("{name:?}:{value:?}"))
                .collect();
            format!("{{{}}}", members.join(","))
        }
        "streams" => {
            println!("on standard output");
            let mut input = String::new();
            std::io::stdin().read_to_string(&mut input).unwrap();
            format!("{input:?}")
        }
        other => more(other).unwrap_or_else(|| panic!("what is {other}?")),
    };
    Ok(said.into_bytes())
}

/// Not to be found in the program itself.
fn secret() -> [u8; 16] {
    std::hint::black_box(*b"uljqhplq\"vhfuhw$").map(|byte| byte - 3)
}

/// How often the secret lies in the whole of this memory, beside the copy that is looked for.
fn found() -> usize {
    let secret = std::hint::black_box(secret());
    let end = core::arch::wasm32::memory_size(0) << 16;
    // From the end of the stack, whose frames hold the one that is looked for.
    let from = (&raw const secret) as usize + 4096;
    let memory = unsafe { core::slice::from_raw_parts(from as *const u8, end - from) };
    memory.windows(16).filter(|it| *it == secret).count()
}

#[expect(unconditional_recursion)]
fn deeper(depth: usize) -> usize {
    let here = std::hint::black_box([depth; 64]);
    deeper(depth + 1) + here[depth % 64]
}

/// What could be opened.
fn files() -> usize {
    let mut opened = 0;
    for path in PATHS {
        opened += usize::from(std::fs::read(path).is_ok());
        opened += usize::from(std::fs::read_dir(path).is_ok());
        opened += usize::from(std::fs::write(path, "x").is_ok());
    }
    opened
}

pub const PATHS: [&str; 7] = [
    "/",
    ".",
    "..",
    "/etc/passwd",
    "../../etc/passwd",
    "/var/artifacts",
    "/tmp/x",
];

/// What could be connected.
fn sockets() -> usize {
    let addresses = ["127.0.0.1:9001", "127.0.0.1:4566", "169.254.169.254:80"];
    let connected = addresses.iter().filter(|it| TcpStream::connect(it).is_ok());
    connected.count()
}
