//! What only those can try that call WASI 0.2 themselves, as the canonical ABI has it.

#[link(wasm_import_module = "wasi:filesystem/preopens@0.2.0")]
unsafe extern "C" {
    #[link_name = "get-directories"]
    fn directories(to: *mut u32);
}

#[link(wasm_import_module = "wasi:sockets/tcp-create-socket@0.2.0")]
unsafe extern "C" {
    #[link_name = "create-tcp-socket"]
    fn create_tcp_socket(family: u32, to: *mut u32);
}

#[link(wasm_import_module = "wasi:sockets/udp-create-socket@0.2.0")]
unsafe extern "C" {
    #[link_name = "create-udp-socket"]
    fn create_udp_socket(family: u32, to: *mut u32);
}

#[link(wasm_import_module = "wasi:sockets/instance-network@0.2.0")]
unsafe extern "C" {
    #[link_name = "instance-network"]
    fn network() -> u32;
}

#[link(wasm_import_module = "wasi:sockets/ip-name-lookup@0.2.0")]
unsafe extern "C" {
    #[link_name = "resolve-addresses"]
    fn resolve(network: u32, name: *const u8, length: usize, to: *mut u32);
}

#[link(wasm_import_module = "wasi:random/random@0.2.0")]
unsafe extern "C" {
    #[link_name = "get-random-bytes"]
    fn random(length: u64, to: *mut u32);
}

#[link(wasm_import_module = "wasi:cli/stdout@0.2.0")]
unsafe extern "C" {
    #[link_name = "get-stdout"]
    fn stdout() -> u32;
}

#[link(wasm_import_module = "wasi:io/streams@0.2.0")]
unsafe extern "C" {
    #[link_name = "[method]output-stream.write"]
    fn write(stream: u32, from: *const u8, length: usize, to: *mut u32);
    #[link_name = "[method]output-stream.write-zeroes"]
    fn write_zeroes(stream: u32, length: u64, to: *mut u32);
}

#[link(wasm_import_module = "wasi:io/poll@0.2.0")]
unsafe extern "C" {
    #[link_name = "[method]pollable.block"]
    fn block(pollable: u32);
}

#[link(wasm_import_module = "wasi:clocks/monotonic-clock@0.2.0")]
unsafe extern "C" {
    #[link_name = "subscribe-duration"]
    fn subscribe(nanoseconds: u64) -> u32;
}

/// Does what the event names.
pub fn act(name: &str) -> Option<String> {
    let mut to = [0; 8];
    let to = to.as_mut_ptr();
    match name {
        "calls on files" => return Some(files().to_string()),
        "calls on sockets" => return Some(sockets().to_string()),
        "pointers" => unsafe { write(stdout(), u32::MAX as *const u8, 16, to) },
        "another's handle" => unsafe { block(12_345) },
        "handles" => loop {
            std::hint::black_box(unsafe { subscribe(1) });
        },
        "much randomness" => unsafe { random(1 << 40, to) },
        "many zeroes" => unsafe { write_zeroes(stdout(), u64::MAX, to) },
        _ => return None,
    };
    Some("still here".to_owned())
}

/// How many folders there are to begin at.
fn files() -> u32 {
    let mut list = [0; 2];
    unsafe { directories(list.as_mut_ptr()) };
    list[1]
}

/// How many sockets there are, and names that are known. An error is a one in the first byte.
fn sockets() -> usize {
    let mut results = [[0; 8]; 5];
    let [tcp4, tcp6, udp4, udp6, known] = &mut results;
    let name = "localhost";
    unsafe {
        create_tcp_socket(0, tcp4.as_mut_ptr());
        create_tcp_socket(1, tcp6.as_mut_ptr());
        create_udp_socket(0, udp4.as_mut_ptr());
        create_udp_socket(1, udp6.as_mut_ptr());
        resolve(network(), name.as_ptr(), name.len(), known.as_mut_ptr());
    }
    results.iter().filter(|result| result[0] & 0xff == 0).count()
}
