//! Attacks whose cost is measured, each in a process of its own.

use std::fs;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};

/// Says to the test binary that it is the process in which one test runs alone.
const ALONE: &str = "TIDEMILL_TEST_ALONE";
/// The address space of that process, in KiB: memory that is set aside counts even when nothing is
/// written to it.
const ADDRESS_SPACE: usize = 6 << 20;

/// Set by any panic, since a runtime catches those of its tasks.
static PANICKED: AtomicBool = AtomicBool::new(false);

/// Runs the attack of the test of that name in another process. It fails when that one runs out of
/// its address space, panics anywhere, or ends otherwise than well.
pub(super) fn alone<F: Future<Output = ()>>(test: &str, attack: impl FnOnce() -> F) {
    if std::env::var_os(ALONE).is_some() {
        let report = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |panic| {
            PANICKED.store(true, Ordering::SeqCst);
            report(panic);
        }));
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        runtime.block_on(attack());
        assert!(!PANICKED.load(Ordering::SeqCst), "something panicked");
        return;
    }
    let output = Command::new("sh")
        .arg("-c")
        .arg(format!("ulimit -v {ADDRESS_SPACE} && exec \"$0\" \"$@\""))
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", test, "--nocapture", "--test-threads=1"])
        .env(ALONE, "1")
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(
        output.status.success() && said.contains("1 passed"),
        "{test} ended with {}:\n{said}{}",
        output.status,
        String::from_utf8_lossy(&output.stderr)
    );
}

/// How much memory the process takes more than at a moment before.
pub(super) struct Growth {
    before: usize,
}

impl Growth {
    pub(super) fn begin() -> Self {
        // From here on the peak is that of now.
        let reset = fs::write("/proc/self/clear_refs", "5");
        let before = if reset.is_ok() { "VmRSS:" } else { "VmHWM:" };
        Self {
            before: status(before),
        }
    }

    /// Holds that the process never took more than `most` bytes beside what it had.
    pub(super) fn assert_within(&self, most: usize, what: &str) {
        let grown = status("VmHWM:").saturating_sub(self.before);
        assert!(
            grown <= most,
            "{what} took {} MiB of {}",
            grown >> 20,
            most >> 20
        );
    }
}

/// A figure of the process, in bytes.
fn status(name: &str) -> usize {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with(name)).unwrap();
    let kib = line.split_whitespace().nth(1).unwrap();
    kib.parse::<usize>().unwrap() << 10
}
