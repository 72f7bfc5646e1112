//! The sandbox's network: a loopback interface of its own, and on it the listeners it was granted.
//!
//! There is no other interface and no way to make one. The listeners' descriptors go to the server:
//! whoever connects to one inside talks to the server, and to nobody else. So do sockets that are
//! connected to nothing: they belong to this network wherever they are, and take the server to what
//! listens inside, and to nothing else.

use std::collections::BTreeSet;
use std::io;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::os::fd::{AsRawFd, OwnedFd};

use rustix::net::{AddressFamily, SocketFlags, SocketType, sockopt};

use super::{At, Failure};

/// Connections that may wait to be accepted, on each listener.
const BACKLOG: i32 = 128;

/// Brings the loopback interface up.
pub(super) fn up() -> Result<(), Failure> {
    request("lo", libc::SIOCSIFFLAGS, |request| {
        request.ifr_ifru.ifru_flags = (libc::IFF_UP | libc::IFF_RUNNING) as libc::c_short;
    })
    .at("bring the loopback interface up")
}

/// Gives the loopback interface another address. What is sent there arrives here, as the kernel finds
/// its own addresses before it looks for a way.
fn add(address: Ipv4Addr, number: usize) -> Result<(), Failure> {
    request(&format!("lo:{number}"), libc::SIOCSIFADDR, |request| {
        let [a, b, c, d] = address.octets();
        let raw = [0, 0, a, b, c, d, 0, 0, 0, 0, 0, 0, 0, 0].map(|byte: u8| byte as libc::c_char);
        request.ifr_ifru.ifru_addr = libc::sockaddr {
            sa_family: libc::AF_INET as libc::sa_family_t,
            sa_data: raw,
        };
    })
    .at(format_args!("give the loopback interface {address}"))
}

/// Asks for a change of the interface with this name, which is short.
fn request(name: &str, number: libc::Ioctl, fill: impl FnOnce(&mut libc::ifreq)) -> io::Result<()> {
    let flags = SocketFlags::CLOEXEC;
    let socket = rustix::net::socket_with(AddressFamily::INET, SocketType::DGRAM, flags, None)?;
    #[expect(unsafe_code, reason = "no safe call changes an interface")]
    // SAFETY: the structure is valid when zero, names the interface with a terminator, as it is longer
    // than any name here, and carries what this request reads; the kernel writes nothing into it.
    let result = unsafe {
        let mut request: libc::ifreq = std::mem::zeroed();
        let room = request.ifr_name.len() - 1;
        for (to, from) in request.ifr_name[..room].iter_mut().zip(name.bytes()) {
            *to = from as libc::c_char;
        }
        fill(&mut request);
        libc::ioctl(socket.as_raw_fd(), number, &raw const request)
    };
    if result == 0 {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}

/// A listener on each address, in order.
pub(super) fn listen(addresses: &[SocketAddrV4]) -> Result<Vec<OwnedFd>, Failure> {
    let elsewhere: BTreeSet<_> = addresses
        .iter()
        .map(|address| *address.ip())
        .filter(|address| !address.is_loopback())
        .collect();
    for (number, address) in elsewhere.into_iter().enumerate() {
        add(address, number)?;
    }
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
