//! Fuzz targets: for any bytes at all, what must not happen does not.
//!
//! A [`Target`] is a function of bytes that panics when a claim does not hold; its module says which.
//! `cargo xtask fuzz` has libFuzzer look for such bytes, guided by what code they reach; `cargo xtask
//! test` runs the same functions on their seeds, on inputs that once failed (`regressions/`), and on a
//! few thousand mutations that are the same in every run.
//!
//! Most bytes are refused at the first checksum or word. Therefore a target also reads bytes as a plan of
//! something well formed around what is strange in it.

mod layers;
mod memory;
mod mutation;
mod package;
mod plan;
mod runtime_api;
mod yard;

#[cfg(test)]
mod tests;

pub use memory::Counted;
pub use mutation::Mutations;

/// Something to hold against any bytes.
#[derive(Clone, Copy, Debug)]
pub struct Target {
    /// What `cargo xtask fuzz` calls it.
    pub name: &'static str,
    /// Panics when a claim does not hold.
    pub run: fn(&[u8]),
    /// Where to begin: inputs that reach far.
    pub seeds: fn() -> Vec<Vec<u8>>,
}

/// All of them.
pub const TARGETS: [Target; 3] = [
    Target {
        name: "package",
        run: package::run,
        seeds: package::seeds,
    },
    Target {
        name: "layers",
        run: layers::run,
        seeds: layers::seeds,
    },
    Target {
        name: "runtime-api",
        run: runtime_api::run,
        seeds: runtime_api::seeds,
    },
];

impl Target {
    /// The one of that name.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        TARGETS.into_iter().find(|target| target.name == name)
    }
}
