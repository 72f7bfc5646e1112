//! Standard input, output and error.

use bytes::Buf;
use wasmtime::{Caller, Linker};

use super::memory::Guest;
use super::{Answer, Errno, Host, MODULE, MOST_PARTS, STDERR, STDIN, STDOUT, number};

/// The rights of the interface that matter here: to read, to write, to be polled.
const MAY_READ: u64 = 1 << 1;
const MAY_WRITE: u64 = 1 << 6;
const MAY_POLL: u64 = 1 << 27;

pub(super) fn link(linker: &mut Linker<Host>) -> wasmtime::Result<()> {
    type C<'a> = Caller<'a, Host>;
    linker.func_wrap(
        MODULE,
        "fd_read",
        |mut caller: C<'_>, fd, parts, count, read| {
            number(self::read(&mut caller, fd, parts, count, read))
        },
    )?;
    linker.func_wrap(
        MODULE,
        "fd_write",
        |mut caller: C<'_>, fd, parts, count, written| {
            number(write(&mut caller, fd, parts, count, written))
        },
    )?;
    linker.func_wrap(MODULE, "fd_close", |mut caller: C<'_>, fd| {
        number(close(caller.data_mut(), fd))
    })?;
    linker.func_wrap(MODULE, "fd_fdstat_get", |mut caller: C<'_>, fd, to| {
        number(describe(&mut caller, fd, to))
    })?;
    linker.func_wrap(
        MODULE,
        "fd_fdstat_set_flags",
        |caller: C<'_>, fd, _flags: u32| {
            // Nothing here ever blocks, so that asking not to be blocked changes nothing.
            number(caller.data().open(fd))
        },
    )?;
    linker.func_wrap(MODULE, "fd_filestat_get", |mut caller: C<'_>, fd, to| {
        number(file(&mut caller, fd, to))
    })?;
    Ok(())
}

fn read(caller: &mut Caller<'_, Host>, fd: u32, parts: u32, count: u32, to: u32) -> Answer {
    let mut guest = Guest::of(caller)?;
    guest.host.open(fd)?;
    if fd != STDIN {
        return Err(Errno::BadDescriptor);
    }
    if count > MOST_PARTS {
        return Err(Errno::Invalid);
    }
    let mut total = 0_u32;
    for number in 0..count {
        let (address, length) = guest.part(parts, number)?;
        let (bytes, host) = guest.both(address, length)?;
        let taken = bytes.len().min(host.event.len());
        host.event.copy_to_slice(&mut bytes[..taken]);
        // An event is no longer than a request may be.
        total += u32::try_from(taken).map_err(|_| Errno::Invalid)?;
        if taken < bytes.len() {
            break;
        }
    }
    guest.write(to, &total.to_le_bytes())
}

fn write(caller: &mut Caller<'_, Host>, fd: u32, parts: u32, count: u32, to: u32) -> Answer {
    let mut guest = Guest::of(caller)?;
    guest.host.open(fd)?;
    if count > MOST_PARTS {
        return Err(Errno::Invalid);
    }
    let mut total = 0_u32;
    for number in 0..count {
        let (address, length) = guest.part(parts, number)?;
        let Some(next) = total.checked_add(length) else {
            // The rest is for the next call, as the number says.
            break;
        };
        let (bytes, host) = guest.both(address, length)?;
        match fd {
            STDOUT => host.write(bytes),
            STDERR => host.print(bytes),
            _ => return Err(Errno::BadDescriptor),
        }
        total = next;
    }
    guest.write(to, &total.to_le_bytes())
}

fn close(host: &mut Host, fd: u32) -> Answer {
    host.open(fd)?;
    host.closed[fd as usize] = true;
    Ok(())
}

/// A pipe, as WASI describes it: of no file type that it knows.
fn describe(caller: &mut Caller<'_, Host>, fd: u32, to: u32) -> Answer {
    let mut guest = Guest::of(caller)?;
    guest.host.open(fd)?;
    let rights = MAY_POLL | if fd == STDIN { MAY_READ } else { MAY_WRITE };
    let mut description = [0; 24];
    description[8..16].copy_from_slice(&rights.to_le_bytes());
    guest.write(to, &description)
}

fn file(caller: &mut Caller<'_, Host>, fd: u32, to: u32) -> Answer {
    let mut guest = Guest::of(caller)?;
    guest.host.open(fd)?;
    guest.write(to, &[0; 64])
}
