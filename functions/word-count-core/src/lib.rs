//! The same as word-count, by the core ABI: the event is handed over in this module's memory, and the
//! answer is where the number says that is returned.
//!
//! Whatever is printed is the log. There is nothing to be freed: every event has an instance of its own.

#[path = "../../word-count/src/count.rs"]
mod count;

/// The bit of an answer's length that says that it is an error.
const IS_ERROR: u64 = 1 << 31;

/// Room for an event, or null.
#[unsafe(no_mangle)]
pub extern "C" fn tidemill_alloc(length: usize) -> *mut u8 {
    let mut room = Vec::new();
    match room.try_reserve_exact(length) {
        Ok(()) => room.leak().as_mut_ptr(),
        Err(_) => std::ptr::null_mut(),
    }
}

/// Handles the event in that room. Returns where the answer is, and how long.
///
/// # Safety
/// The event is where it is said to be.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tidemill_handle(event: *const u8, length: usize) -> u64 {
    let event = unsafe { std::slice::from_raw_parts(event, length) };
    let (answer, is_error) = match handle(event) {
        Ok(answer) => (answer, 0),
        Err(message) => (message, IS_ERROR),
    };
    let answer = answer.into_bytes().leak();
    (answer.as_ptr() as u64) << 32 | is_error | answer.len() as u64
}

fn handle(event: &[u8]) -> Result<String, String> {
    let event = serde_json::from_slice(event).map_err(|error| error.to_string())?;
    Ok(count::count(&event)?.to_string())
}
