//! Writes one byte and ends: when it has come, the program has been started.

use std::io::{Write, stdout};

fn main() -> std::io::Result<()> {
    let mut out = stdout();
    out.write_all(b"x")?;
    out.flush()
}
