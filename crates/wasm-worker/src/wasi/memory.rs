//! A program's memory, as a call sees it.

use wasmtime::Caller;

use super::{Errno, Host};

/// A program's linear memory and its world.
pub(super) struct Guest<'a> {
    memory: &'a mut [u8],
    pub(super) host: &'a mut Host,
}

impl<'a> Guest<'a> {
    /// The memory of whoever calls.
    pub(super) fn of(caller: &'a mut Caller<'_, Host>) -> Result<Self, Errno> {
        let memory = caller.get_export("memory").and_then(|it| it.into_memory());
        let (memory, host) = memory.ok_or(Errno::Fault)?.data_and_store_mut(caller);
        Ok(Self { memory, host })
    }

    /// `length` bytes from `address` on.
    pub(super) fn bytes(&mut self, address: u32, length: u32) -> Result<&mut [u8], Errno> {
        Ok(self.both(address, length)?.0)
    }

    /// The same, and the world beside it.
    pub(super) fn both(
        &mut self,
        address: u32,
        length: u32,
    ) -> Result<(&mut [u8], &mut Host), Errno> {
        let (from, length) = (address as usize, length as usize);
        let to = from.checked_add(length).ok_or(Errno::Fault)?;
        let bytes = self.memory.get_mut(from..to).ok_or(Errno::Fault)?;
        Ok((bytes, self.host))
    }

    pub(super) fn write(&mut self, address: u32, bytes: &[u8]) -> Result<(), Errno> {
        let length = u32::try_from(bytes.len()).map_err(|_| Errno::Fault)?;
        self.bytes(address, length)?.copy_from_slice(bytes);
        Ok(())
    }

    pub(super) fn read<const N: usize>(&mut self, address: u32) -> Result<[u8; N], Errno> {
        let from = address as usize;
        let bytes = self.memory.get(from..).and_then(|rest| rest.first_chunk());
        bytes.copied().ok_or(Errno::Fault)
    }

    /// The address and length that make the part with this number, in an array of such at `parts`.
    pub(super) fn part(&mut self, parts: u32, number: u32) -> Result<(u32, u32), Errno> {
        let at = parts.checked_add(number * 8).ok_or(Errno::Fault)?;
        let part = u64::from_le_bytes(self.read(at)?);
        #[expect(clippy::cast_possible_truncation, reason = "two halves of one number")]
        Ok((part as u32, (part >> 32) as u32))
    }
}
