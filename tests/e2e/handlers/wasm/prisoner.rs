//! A WebAssembly function that does what its event names, as a command. Made with `rustc` alone.

use std::io::{Read, Write};
use std::process::exit;

#[cfg_attr(target_env = "p1", path = "preview1.rs")]
#[cfg_attr(target_env = "p2", path = "preview2.rs")]
mod calls;
mod deeds;

fn main() {
    let mut event = String::new();
    std::io::stdin().read_to_string(&mut event).unwrap();
    match deeds::act(&event, calls::act) {
        Ok(result) => std::io::stdout().write_all(&result).unwrap(),
        Err(wrong) => {
            let (kind, message) = (wrong.kind, wrong.message);
            print!(r#"{{"errorType":"{kind}","errorMessage":"{message}"}}"#);
            exit(1);
        }
    }
}
