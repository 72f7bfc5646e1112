//! Counting what ran.

use std::fmt;

/// How many tests passed, failed and were skipped; printed as the one closing line.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Tally {
    pub(crate) passed: u64,
    pub(crate) failed: u64,
    pub(crate) skipped: u64,
}

impl Tally {
    /// Reads the line with which a Rust test binary closes; `None` for any other line.
    ///
    /// Ignored tests count as skipped, filtered ones not at all.
    pub(crate) fn of_line(line: &str) -> Option<Self> {
        let (_verdict, counts) = line.strip_prefix("test result: ")?.split_once(". ")?;
        let mut tally = Self::default();
        for part in counts.split("; ") {
            let (number, what) = part.split_once(' ')?;
            match what {
                "passed" => tally.passed = number.parse().ok()?,
                "failed" => tally.failed = number.parse().ok()?,
                "ignored" => tally.skipped = number.parse().ok()?,
                _ => {}
            }
        }
        Some(tally)
    }

    /// Adds another count to this one.
    pub(crate) fn add(&mut self, other: Self) {
        self.passed += other.passed;
        self.failed += other.failed;
        self.skipped += other.skipped;
    }

    /// Counts `tests` that the runner took for passed as what they said they were: skipped.
    pub(crate) fn passed_were_skipped(&mut self, tests: u64) {
        self.passed = self.passed.saturating_sub(tests);
        self.skipped += tests;
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} passed, {} failed, {} skipped",
            self.passed, self.failed, self.skipped
        )
    }
}

/// The skips that tests wrote down (see [`crate::contract::SKIPS`]), without the leading word.
pub(crate) fn skips_in(text: &str) -> impl Iterator<Item = &str> {
    text.lines()
        .filter_map(|line| line.strip_prefix("skipped: "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_closing_line_of_a_test_binary_is_counted() {
        let line = "test result: ok. 12 passed; 0 failed; 3 ignored; 0 measured; 4 filtered out; finished in 0.15s";
        assert_eq!(
            Tally::of_line(line),
            Some(Tally {
                passed: 12,
                failed: 0,
                skipped: 3
            })
        );
        let line = "test result: FAILED. 1 passed; 2 failed; 0 ignored; 0 measured; 0 filtered out; finished in 1.00s";
        assert_eq!(
            Tally::of_line(line),
            Some(Tally {
                passed: 1,
                failed: 2,
                skipped: 0
            })
        );
    }

    #[test]
    fn other_lines_are_not_counted() {
        for line in [
            "running 3 tests",
            "test a ... ok",
            "test result: none",
            "  test result: ok. 1 passed; 0 failed",
        ] {
            assert_eq!(Tally::of_line(line), None, "{line}");
        }
    }

    #[test]
    fn a_test_that_said_it_skipped_is_not_counted_as_passed() {
        let mut tally = Tally {
            passed: 5,
            failed: 1,
            skipped: 0,
        };
        tally.passed_were_skipped(
            skips_in("skipped: a: no kcat\nnoise\nskipped: b: no kafka\n").count() as u64,
        );
        assert_eq!(tally.to_string(), "3 passed, 1 failed, 2 skipped");
    }
}
