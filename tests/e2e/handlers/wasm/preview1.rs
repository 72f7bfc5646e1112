//! What only those can try that call WASI preview 1 themselves.

use crate::deeds::PATHS;

#[link(wasm_import_module = "wasi_snapshot_preview1")]
unsafe extern "C" {
    fn path_open(
        fd: u32,
        flags: u32,
        path: *const u8,
        length: usize,
        open: u32,
        rights: u64,
        inherited: u64,
        more: u32,
        opened: *mut u32,
    ) -> u32;
    fn sock_accept(fd: u32, flags: u32, accepted: *mut u32) -> u32;
    fn fd_read(fd: u32, parts: *const u32, count: u32, read: *mut u32) -> u32;
    fn fd_write(fd: u32, parts: *const u32, count: u32, written: *mut u32) -> u32;
    fn random_get(to: u32, length: u32) -> u32;
    fn environ_get(places: u32, texts: u32) -> u32;
    fn poll_oneoff(from: u32, to: u32, count: u32, told: u32) -> u32;
}

/// Does what the event names.
pub fn act(name: &str) -> Option<String> {
    match name {
        "calls on files" => Some(files().to_string()),
        "calls on sockets" => Some(sockets().to_string()),
        "pointers" => Some(format!("{:?}", pointers())),
        _ => None,
    }
}

/// What could be opened, by any number.
fn files() -> usize {
    let mut opened = 0;
    for path in PATHS {
        for fd in (0..64).chain([u32::MAX]) {
            let mut to = 0;
            for open in 0..16 {
                let (at, length) = (path.as_ptr(), path.len());
                let answer = unsafe { path_open(fd, 1, at, length, open, !0, !0, 0, &mut to) };
                opened += usize::from(answer == 0);
            }
        }
    }
    for fd in (3..64).chain([u32::MAX]) {
        let (part, mut read) = ([0_u32; 2], 0);
        opened += usize::from(unsafe { fd_read(fd, part.as_ptr(), 1, &mut read) } == 0);
        opened += usize::from(unsafe { fd_write(fd, part.as_ptr(), 1, &mut read) } == 0);
    }
    opened
}

/// What could be accepted.
fn sockets() -> usize {
    let mut to = 0;
    let accepted = (0..64).filter(|fd| unsafe { sock_accept(*fd, 0, &mut to) } == 0);
    accepted.count()
}

/// What calls say that are handed addresses outside of the memory, or lengths that reach out of it.
fn pointers() -> Vec<u32> {
    let (far, part, mut told) = (u32::MAX - 3, [16_u32, u32::MAX], 0);
    unsafe {
        vec![
            random_get(far, 64),
            random_get(16, u32::MAX),
            environ_get(far, far),
            fd_write(1, far as *const u32, 1, &mut told),
            fd_write(1, part.as_ptr(), 1, &mut told),
            fd_write(1, part.as_ptr(), u32::MAX, &mut told),
            fd_read(0, part.as_ptr(), 1, far as *mut u32),
            poll_oneoff(far, 16, 1, 16),
            poll_oneoff(16, 16, u32::MAX, 16),
        ]
    }
}
