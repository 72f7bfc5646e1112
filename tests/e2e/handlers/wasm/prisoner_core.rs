//! The same by the core ABI. Made with `rustc` alone.

mod deeds;
mod preview1;

#[link(wasm_import_module = "tidemill")]
unsafe extern "C" {
    fn log(text: *const u8, length: usize);
}

#[unsafe(no_mangle)]
extern "C" fn tidemill_alloc(length: usize) -> *mut u8 {
    Vec::with_capacity(length).leak().as_mut_ptr()
}

#[unsafe(no_mangle)]
extern "C" fn tidemill_handle(event: *const u8, length: usize) -> u64 {
    let event = unsafe { std::slice::from_raw_parts(event, length) };
    let (answer, is_error) = match deeds::act(std::str::from_utf8(event).unwrap(), act) {
        Ok(result) => (result, 0),
        Err(wrong) => {
            let (kind, message) = (wrong.kind, wrong.message);
            let told = format!(r#"{{"errorType":"{kind}","errorMessage":"{message}"}}"#);
            (told.into_bytes(), 1 << 31)
        }
    };
    place(answer.leak()) | is_error
}

fn place(bytes: &[u8]) -> u64 {
    (bytes.as_ptr() as u64) << 32 | bytes.len() as u64
}

fn act(name: &str) -> Option<String> {
    match name {
        "log" => {
            let text = "by the import\n";
            unsafe { log(text.as_ptr(), text.len()) };
            Some(String::new())
        }
        "log from nowhere" => {
            unsafe { log(u32::MAX as *const u8, 16) };
            None
        }
        _ => preview1::act(name),
    }
}
