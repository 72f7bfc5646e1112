//! The sandbox's network: a loopback interface of its own, and on it the listeners it was granted.
//!
//! There is no other interface and no way to make one. The listeners' descriptors go to the server:
//! whoever connects to one inside talks to the server, and to nobody else. So do sockets that are
//! connected to nothing: they belong to this network wherever they are, and take the server to what
//! listens inside, and to nothing else.

use std::net::SocketAddrV4;
use std::os::fd::{AsRawFd, OwnedFd};

use rustix::net::{AddressFamily, SocketFlags, SocketType, sockopt};

use super::{At, Failure};

/// Connections that may wait to be accepted, on each listener.
const BACKLOG: i32 = 128;

/// Brings the loopback interface up.
pub(super) fn up() -> Result<(), Failure> {
    let flags = SocketFlags::CLOEXEC;
    let socket = rustix::net::socket_with(AddressFamily::INET, SocketType::DGRAM, flags, None)
        .at("open a socket")?;
    #[expect(unsafe_code, reason = "no safe call sets an interface's flags")]
    // SAFETY: the structure is valid when zero, names the interface with a terminator, and carries
    // the flags that this request reads; the kernel writes nothing into it.
    let result = unsafe {
        let mut request: libc::ifreq = std::mem::zeroed();
        request.ifr_name[0] = b'l' as libc::c_char;
        request.ifr_name[1] = b'o' as libc::c_char;
        request.ifr_ifru.ifru_flags = (libc::IFF_UP | libc::IFF_RUNNING) as libc::c_short;
        libc::ioctl(socket.as_raw_fd(), libc::SIOCSIFFLAGS, &raw const request)
    };
    if result == 0 {
        Ok(())
    } else {
        Err(std::io::Error::last_os_error()).at("bring the loopback interface up")
    }
}

/// A listener on each address, in order.
pub(super) fn listen(addresses: &[SocketAddrV4]) -> Result<Vec<OwnedFd>, Failure> {
    let listener = |address: &SocketAddrV4| {
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        let socket =
            rustix::net::socket_with(AddressFamily::INET, SocketType::STREAM, flags, None)?;
        sockopt::set_socket_reuseaddr(&socket, true)?;
        rustix::net::bind(&socket, address)?;
        rustix::net::listen(&socket, BACKLOG)?;
        Ok::<_, rustix::io::Errno>(socket)
    };
    addresses
        .iter()
        .map(|address| listener(address).at(format_args!("listen on {address} inside")))
        .collect()
}

/// Sockets that are not connected.
pub(super) fn sockets(count: usize) -> Result<Vec<OwnedFd>, Failure> {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket = || rustix::net::socket_with(AddressFamily::INET, SocketType::STREAM, flags, None);
    (0..count)
        .map(|_| socket().at("open a socket for the server"))
        .collect()
}
