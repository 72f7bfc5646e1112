//! Memory that reads fill, used again once nobody holds what was read.
//!
//! New memory has to be zeroed before it may be read into, which costs as much as reading from the page
//! cache does. What comes from here is overwritten from end to end instead.

use bytes::Bytes;
use parking_lot::Mutex;

/// Reads below this take memory of their own: zeroing is cheap, and a small answer that lives long
/// would keep a large buffer.
const LARGE: usize = 64 << 10;
/// Bytes that wait to be used again, at most.
const MAX_IDLE: usize = 16 << 20;

static IDLE: Mutex<Vec<Vec<u8>>> = Mutex::new(Vec::new());

/// Memory that goes back when the last view of it is dropped.
struct Lent {
    memory: Vec<u8>,
    len: usize,
}

impl AsRef<[u8]> for Lent {
    fn as_ref(&self) -> &[u8] {
        &self.memory[..self.len]
    }
}

impl Drop for Lent {
    fn drop(&mut self) {
        let memory = std::mem::take(&mut self.memory);
        let mut idle = IDLE.lock();
        let kept: usize = idle.iter().map(Vec::len).sum();
        if kept + memory.len() <= MAX_IDLE {
            idle.push(memory);
        }
    }
}

/// Bytes that `fill` wrote, `len` of them. It must write every one when it succeeds: what stands there
/// before may be what another read has left.
pub(super) fn filled<E>(
    len: usize,
    fill: impl FnOnce(&mut [u8]) -> Result<(), E>,
) -> Result<Bytes, E> {
    if len < LARGE {
        let mut bytes = vec![0; len];
        fill(&mut bytes)?;
        return Ok(bytes.into());
    }
    let memory = take(len).unwrap_or_else(|| vec![0; len.next_multiple_of(LARGE)]);
    let mut lent = Lent { memory, len };
    fill(&mut lent.memory[..len])?;
    Ok(Bytes::from_owner(lent))
}

/// The smallest that waits and is large enough, though at most twice as large.
fn take(len: usize) -> Option<Vec<u8>> {
    let mut idle = IDLE.lock();
    let fitting = idle
        .iter()
        .enumerate()
        .filter(|(_, memory)| (len..=len.saturating_mul(2)).contains(&memory.len()));
    let (index, _) = fitting.min_by_key(|(_, memory)| memory.len())?;
    Some(idle.swap_remove(index))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn full_of(byte: u8, len: usize) -> Bytes {
        let fill = |bytes: &mut [u8]| {
            bytes.fill(byte);
            Ok::<_, ()>(())
        };
        filled(len, fill).unwrap()
    }

    #[test]
    fn what_is_held_is_not_lent_again() {
        let first = full_of(1, LARGE);
        let view = first.slice(10..20);
        drop(first);
        let others: Vec<Bytes> = (0..8).map(|_| full_of(2, LARGE)).collect();
        assert!(view.iter().all(|byte| *byte == 1));
        assert!(others.iter().flatten().all(|byte| *byte == 2));
    }

    #[test]
    fn only_so_much_waits_to_be_used_again() {
        let many: Vec<Bytes> = (0..64).map(|_| full_of(3, 1 << 20)).collect();
        drop(many);
        let kept: usize = IDLE.lock().iter().map(Vec::len).sum();
        assert!(kept <= MAX_IDLE, "{kept} bytes wait");
    }
}
