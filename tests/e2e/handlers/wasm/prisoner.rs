//! A WebAssembly function that does what its event names, good or bad. Made with `rustc` alone.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::process::exit;
use std::time::{Duration, Instant};

#[link(wasm_import_module = "wasi_snapshot_preview1")]
unsafe extern "C" {
    fn path_open(
        fd: u32,
        flags: u32,
        path: *const u8,
        length: usize,
        open: u32,
        rights: u64,
        inherited: u64,
        more: u32,
        opened: *mut u32,
    ) -> u32;
    fn sock_accept(fd: u32, flags: u32, accepted: *mut u32) -> u32;
    fn fd_read(fd: u32, parts: *const u32, count: u32, read: *mut u32) -> u32;
    fn fd_write(fd: u32, parts: *const u32, count: u32, written: *mut u32) -> u32;
    fn random_get(to: u32, length: u32) -> u32;
    fn environ_get(places: u32, texts: u32) -> u32;
    fn poll_oneoff(from: u32, to: u32, count: u32, told: u32) -> u32;
}

fn main() {
    let mut event = String::new();
    std::io::stdin().read_to_string(&mut event).unwrap();
    let word = |name: &str| {
        let rest = event.split_once(&format!("\"{name}\":"))?.1.trim_start();
        let rest = rest.trim_start_matches('"');
        rest.split(['"', ',', '}']).next()
    };
    let number = word("n").and_then(|n| n.parse().ok()).unwrap_or(0_usize);
    match word("do").unwrap_or("echo") {
        "echo" => print!("{event}"),
        "exit" => exit(number as i32),
        "report" => {
            print!(r#"{{"errorType":"Order.Empty","errorMessage":"nothing in it"}}"#);
            exit(1);
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
            print!(
                "{}",
                begun.elapsed() >= Duration::from_millis(number as u64)
            );
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
            print!("{}", held.len());
        }
        "recurse" => print!("{}", deeper(1)),
        "shout" => (0..number).for_each(|line| eprintln!("line {line}")),
        "flood" => {
            let piece = vec![b'x'; 1 << 16];
            let mut left = number;
            while left > 0 {
                let now = left.min(piece.len());
                std::io::stdout().write_all(&piece[..now]).unwrap();
                left -= now;
            }
        }
        "plant" => {
            let secret = secret();
            let copies: Vec<[u8; 16]> = vec![secret; 1 << 16];
            std::hint::black_box(&copies);
            print!("{}", found());
        }
        "look" => print!("{}", found()),
        "files" => print!("{}", files()),
        "sockets" => print!("{}", sockets()),
        "pointers" => print!("{:?}", pointers()),
        "environment" => {
            let variables: BTreeMap<String, String> = std::env::vars().collect();
            let members: Vec<_> = variables
                .iter()
                .map(|(name, value)| format!("{name:?}:{value:?}"))
                .collect();
            print!("{{{}}}", members.join(","));
        }
        other => panic!("what is {other}?"),
    }
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
    for path in [
        "/",
        ".",
        "..",
        "/etc/passwd",
        "../../etc/passwd",
        "/var/artifacts",
        "/tmp/x",
    ] {
        opened += usize::from(std::fs::read(path).is_ok());
        opened += usize::from(std::fs::read_dir(path).is_ok());
        opened += usize::from(std::fs::write(path, "x").is_ok());
        for fd in (0..64).chain([u32::MAX]) {
            let mut to = 0;
            for open in 0..16 {
                let (at, length) = (path.as_ptr(), path.len());
                let answer = unsafe { path_open(fd, 1, at, length, open, !0, !0, 0, &mut to) };
                opened += usize::from(answer == 0);
            }
        }
    }
    for fd in (3..64).chain([u32::MAX]) {
        let (part, mut read) = ([0_u32; 2], 0);
        opened += usize::from(unsafe { fd_read(fd, part.as_ptr(), 1, &mut read) } == 0);
        opened += usize::from(unsafe { fd_write(fd, part.as_ptr(), 1, &mut read) } == 0);
    }
    opened
}

/// What could be connected or accepted.
fn sockets() -> usize {
    let addresses = ["127.0.0.1:9001", "127.0.0.1:4566", "169.254.169.254:80"];
    let connected = addresses
        .iter()
        .filter(|address| TcpStream::connect(address).is_ok())
        .count();
    let mut to = 0;
    let accepted = (0..64)
        .filter(|fd| unsafe { sock_accept(*fd, 0, &mut to) } == 0)
        .count();
    connected + accepted
}

/// What calls say that are handed addresses outside of the memory, or lengths that reach out of it.
fn pointers() -> Vec<u32> {
    let (far, part, mut told) = (u32::MAX - 3, [16_u32, u32::MAX], 0);
    unsafe {
        vec![
            random_get(far, 64),
            random_get(16, u32::MAX),
            environ_get(far, far),
            fd_write(1, far as *const u32, 1, &mut told),
            fd_write(1, part.as_ptr(), 1, &mut told),
            fd_write(1, part.as_ptr(), u32::MAX, &mut told),
            fd_read(0, part.as_ptr(), 1, far as *mut u32),
            poll_oneoff(far, 16, 1, 16),
            poll_oneoff(16, 16, u32::MAX, 16),
        ]
    }
}
