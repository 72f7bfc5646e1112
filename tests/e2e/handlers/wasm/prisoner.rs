//! A WebAssembly function that does what its event names, as a command. Made with `rustc` alone.

use std::io::{Read, Write};
use std::process::exit;

mod deeds;
mod preview1;

fn main() {
    let mut event = String::new();
    std::io::stdin().read_to_string(&mut event).unwrap();
    match deeds::act(&event, preview1::act) {
        Ok(result) => std::io::stdout().write_all(&result).unwrap(),
        Err(wrong) => {
            let (kind, message) = (wrong.kind, wrong.message);
            print!(r#"{{"errorType":"{kind}","errorMessage":"{message}"}}"#);
            exit(1);
        }
    }
}
