//! What a group of attempts used, in whole numbers.

use std::ops::AddAssign;

use serde::{Deserialize, Serialize};

use crate::UsageOutcome;

/// Sums over attempts. Adding is associative and commutative, so that any split of the attempts
/// has the same sums.
///
/// Overflow: microseconds are the largest numbers that grow in 64 bits, and 2^64 of them are
/// 584,542 years of running time; one record adds at most a day (see [`crate::Fold`]). Products
/// with the memory size have 128 bits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Totals {
    /// Request units charged.
    pub requests: u64,
    /// Attempts by how they ended, void ones included.
    pub invocations: Invocations,
    /// Events in the batches of charged attempts.
    pub records: u64,
    /// Time of initialisation, microseconds.
    pub init_us: u64,
    /// Time of running, microseconds.
    pub duration_us: u64,
    /// Milliseconds charged: each attempt rounded up to 1 ms.
    pub billed_ms: u64,
    /// `billed_ms` × configured MiB.
    pub memory_mib_ms: u128,
    /// Units of 100 ms charged: each attempt rounded up to 100 ms.
    pub billed_100ms: u64,
    /// `billed_100ms` × configured MiB.
    pub memory_mib_100ms: u128,
}

/// Attempts by how they ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Invocations {
    /// The function returned a result.
    pub success: u64,
    /// The function reported an error.
    pub error: u64,
    /// They ran past their timeout.
    pub timeout: u64,
    /// They needed more memory than configured.
    pub out_of_memory: u64,
    /// Their process ended without an answer.
    pub crashed: u64,
    /// We cut them off: counted, never charged.
    pub void: u64,
}

impl Invocations {
    /// Counts one attempt.
    pub fn count(&mut self, outcome: UsageOutcome) {
        let counter = match outcome {
            UsageOutcome::Success => &mut self.success,
            UsageOutcome::Error => &mut self.error,
            UsageOutcome::Timeout => &mut self.timeout,
            UsageOutcome::OutOfMemory => &mut self.out_of_memory,
            UsageOutcome::Crashed => &mut self.crashed,
            UsageOutcome::Void => &mut self.void,
        };
        *counter += 1;
    }

    /// Attempts that are charged: all but the void ones.
    #[must_use]
    pub fn charged(&self) -> u64 {
        self.success + self.failed()
    }

    /// Charged attempts that did not succeed.
    #[must_use]
    pub fn failed(&self) -> u64 {
        self.error + self.timeout + self.out_of_memory + self.crashed
    }
}

impl AddAssign for Totals {
    fn add_assign(&mut self, other: Self) {
        self.requests += other.requests;
        self.invocations += other.invocations;
        self.records += other.records;
        self.init_us += other.init_us;
        self.duration_us += other.duration_us;
        self.billed_ms += other.billed_ms;
        self.memory_mib_ms += other.memory_mib_ms;
        self.billed_100ms += other.billed_100ms;
        self.memory_mib_100ms += other.memory_mib_100ms;
    }
}

impl AddAssign for Invocations {
    fn add_assign(&mut self, other: Self) {
        self.success += other.success;
        self.error += other.error;
        self.timeout += other.timeout;
        self.out_of_memory += other.out_of_memory;
        self.crashed += other.crashed;
        self.void += other.void;
    }
}
