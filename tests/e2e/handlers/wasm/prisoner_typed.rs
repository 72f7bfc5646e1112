//! The same as a typed component, with the canonical ABI by hand. Made with `rustc` alone, whose linker is
//! told the type.

use std::alloc::{Layout, alloc, realloc};

mod deeds;
mod preview2;

/// The room for what is handed over.
#[unsafe(no_mangle)]
unsafe extern "C" fn cabi_realloc(
    old: *mut u8,
    old_size: usize,
    align: usize,
    size: usize,
) -> *mut u8 {
    let layout = |size| Layout::from_size_align(size, align).unwrap();
    match (old_size, size) {
        (0, 0) => align as *mut u8,
        (0, _) => unsafe { alloc(layout(size)) },
        _ => unsafe { realloc(old, layout(old_size), size) },
    }
}

/// Returns where it says whether it is an error, and where the answer is and how long.
#[unsafe(no_mangle)]
unsafe extern "C" fn handle(event: *const u8, length: usize) -> *const [usize; 3] {
    let event = unsafe { std::slice::from_raw_parts(event, length) };
    let event = std::str::from_utf8(event).unwrap();
    let (answer, is_error) = match deeds::act(event, preview2::act) {
        Ok(result) => (result, 0),
        Err(wrong) => {
            let (kind, message) = (wrong.kind, wrong.message);
            let told = format!(r#"{{"errorType":"{kind}","errorMessage":"{message}"}}"#);
            (told.into_bytes(), 1)
        }
    };
    let answer = answer.leak();
    Box::leak(Box::new([is_error, answer.as_ptr() as usize, answer.len()]))
}
