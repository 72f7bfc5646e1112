//! The engine's settings.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::num::NonZeroUsize;

use wasmtime::{
    Config, Enabled, Engine, InstanceAllocationStrategy, OptLevel, PoolingAllocationConfig,
};

/// How many invocations can be under way at a time. The server sends no more.
pub(crate) const PLACES: u32 = 256;

/// The address space of one linear memory: all that 32 bits can reach, so that no access needs a check.
const RESERVATION: usize = 4 << 30;

/// How much of a memory is cleared by writing zeros instead of being given back to the kernel. Rust's
/// programs touch a mebibyte of stack before anything else, so that two cover a small program's whole
/// dirty set. What is cleared so stays resident, in [`PLACES`] places at most.
pub(crate) const KEEP_RESIDENT: usize = 2 << 20;

/// The same for each table.
const KEEP_TABLE: usize = 64 << 10;

/// Of what a program may have in tables.
pub(crate) const TABLE_ELEMENTS: usize = 65_536;

const TABLES_PER_MODULE: u32 = 4;

/// Of what a component may have. Rust's consist of 3 modules, componentize-js's of 4 and componentize-py's of
/// 14 and what libraries add; all have 2 tables, and one memory, which their modules share. A component that
/// is composed of others has several.
const MODULES_PER_COMPONENT: u32 = 32;
const TABLES_PER_COMPONENT: u32 = 8;
const MEMORIES_PER_COMPONENT: u32 = 1;

/// What the engine needs to know of an instance, in bytes, at most: of a module, and of a component with all
/// of its modules. It grows with their functions and globals; the interpreter of componentize-py has 400 KB.
pub(crate) const INSTANCE_BYTES: usize = 2 << 20;

/// What one place may keep of memory and tables while nothing runs in it, in bytes.
pub(crate) const PLACE_BYTES: usize =
    MEMORIES_PER_COMPONENT as usize * KEEP_RESIDENT + TABLES_PER_COMPONENT as usize * KEEP_TABLE;

/// How deep a program's calls may go, in bytes of native stack.
const STACK: usize = 1 << 20;

/// Frames shown of a trap.
const FRAMES: NonZeroUsize = NonZeroUsize::new(20).expect("not zero");

/// The engine with room for `places` invocations, which compiles what it can run and nothing else.
///
/// Memory is cleared by writing to it or by giving it back, never by asking the kernel which pages were
/// written to: in wasmtime 48 that forgets pages that are swapped out, and the next instance finds them.
pub(crate) fn new(places: u32) -> wasmtime::Result<Engine> {
    let mut pool = PoolingAllocationConfig::new();
    pool.total_core_instances(places * MODULES_PER_COMPONENT)
        .total_component_instances(places)
        .total_memories(places * MEMORIES_PER_COMPONENT)
        .total_tables(places * TABLES_PER_COMPONENT)
        .total_stacks(places)
        .max_memory_size(RESERVATION)
        .max_memories_per_module(1)
        .max_tables_per_module(TABLES_PER_MODULE)
        .max_core_instance_size(INSTANCE_BYTES)
        .max_core_instances_per_component(MODULES_PER_COMPONENT)
        .max_memories_per_component(MEMORIES_PER_COMPONENT)
        .max_tables_per_component(TABLES_PER_COMPONENT)
        .max_component_instance_size(INSTANCE_BYTES)
        .table_elements(TABLE_ELEMENTS)
        .linear_memory_keep_resident(KEEP_RESIDENT)
        .table_keep_resident(KEEP_TABLE)
        .max_unused_warm_slots(places)
        .pagemap_scan(Enabled::No);
    let mut config = config();
    config.allocation_strategy(InstanceAllocationStrategy::Pooling(pool));
    Engine::new(&config)
}

fn config() -> Config {
    let mut config = Config::new();
    config
        .cranelift_opt_level(OptLevel::Speed)
        .epoch_interruption(true)
        .max_wasm_stack(STACK)
        .async_stack_size(2 * STACK)
        .memory_init_cow(true)
        .memory_guaranteed_dense_image_size(64 << 20)
        .memory_may_move(false)
        .memory_reservation(RESERVATION as u64)
        .memory_guard_size(32 << 20)
        .wasm_backtrace_max_frames(Some(FRAMES))
        .wasm_memory64(false)
        .wasm_multi_memory(false)
        .concurrency_support(false)
        .gc_support(false);
    config
}

/// A name for what `engine` compiles: artifacts of engines with equal names are exchangeable.
pub(crate) fn fingerprint(engine: &Engine) -> String {
    let mut hasher = DefaultHasher::new();
    engine.precompile_compatibility_hash().hash(&mut hasher);
    format!("{:016x}", hasher.finish())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_pool_is_no_part_of_the_name() {
        assert_eq!(
            fingerprint(&new(1).unwrap()),
            fingerprint(&new(PLACES).unwrap())
        );
    }
}
