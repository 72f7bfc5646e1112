//! How the server, the spawner and the first process of a sandbox talk: one message, one datagram,
//! descriptors beside it.
//!
//! All ends are the same executable, so that the format has no versions.

use std::ffi::OsStr;
use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::net::SocketAddrV4;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, SocketFlags, SocketType,
};

/// The largest message: arguments and environment, of which AWS Lambda allows 4 KiB for variables.
const MESSAGE: usize = 128 * 1024;

/// The most descriptors beside a message.
const DESCRIPTORS: usize = 16;

/// Two connected ends.
pub(crate) fn pair() -> io::Result<(OwnedFd, OwnedFd)> {
    Ok(rustix::net::socketpair(
        AddressFamily::UNIX,
        SocketType::SEQPACKET,
        SocketFlags::CLOEXEC,
        None,
    )?)
}

/// Sends a message. It is small and the other end reads, so this does not block for long.
pub(crate) fn send(
    to: BorrowedFd<'_>,
    message: &Writer,
    with: &[BorrowedFd<'_>],
) -> io::Result<()> {
    if message.0.len() > MESSAGE || with.len() > DESCRIPTORS {
        return Err(io::Error::from(io::ErrorKind::ArgumentListTooLong));
    }
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(DESCRIPTORS))];
    let mut beside = SendAncillaryBuffer::new(&mut space);
    if !with.is_empty() {
        beside.push(SendAncillaryMessage::ScmRights(with));
    }
    let bytes = [IoSlice::new(&message.0)];
    rustix::net::sendmsg(to, &bytes, &mut beside, SendFlags::NOSIGNAL)?;
    Ok(())
}

/// Receives a message; `None` when the other end is gone. Blocks unless `from` does not, and then
/// fails with `WouldBlock`.
pub(crate) fn receive(from: BorrowedFd<'_>) -> io::Result<Option<Message>> {
    // No more room than it takes: what a forked process writes to, the kernel copies page by page.
    let Some(length) = length_of_next(from)? else {
        return Ok(None);
    };
    let mut bytes = vec![0; length];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(DESCRIPTORS))];
    let mut beside = RecvAncillaryBuffer::new(&mut space);
    let received = loop {
        let mut into = [IoSliceMut::new(&mut bytes)];
        match rustix::net::recvmsg(from, &mut into, &mut beside, RecvFlags::CMSG_CLOEXEC) {
            Err(rustix::io::Errno::INTR) => {}
            received => break received?,
        }
    };
    let mut descriptors = Vec::new();
    for message in beside.drain() {
        if let RecvAncillaryMessage::ScmRights(received) = message {
            descriptors.extend(received);
        }
    }
    bytes.truncate(received.bytes);
    Ok(Some(Message {
        bytes,
        descriptors,
        read: 0,
    }))
}

/// How long the next message is, which stays where it is; `None` when the other end is gone. No message
/// is empty.
fn length_of_next(from: BorrowedFd<'_>) -> io::Result<Option<usize>> {
    let look = RecvFlags::PEEK | RecvFlags::TRUNC;
    loop {
        match rustix::net::recv(from, &mut [0_u8; 0], look) {
            Err(rustix::io::Errno::INTR) => {}
            // A peer that died with messages of ours unread.
            Err(rustix::io::Errno::CONNRESET) | Ok((_, 0)) => return Ok(None),
            Ok((_, length)) => return Ok(Some(length)),
            Err(error) => return Err(error.into()),
        }
    }
}

/// A received message, read from its beginning.
pub(crate) struct Message {
    bytes: Vec<u8>,
    read: usize,
    pub(crate) descriptors: Vec<OwnedFd>,
}

/// A message that is being written.
#[derive(Default)]
pub(crate) struct Writer(Vec<u8>);

impl Writer {
    pub(crate) fn number(mut self, number: u64) -> Self {
        self.0.extend(number.to_ne_bytes());
        self
    }

    pub(crate) fn text(self, text: impl AsRef<OsStr>) -> Self {
        let bytes = text.as_ref().as_bytes();
        let mut longer = self.number(bytes.len() as u64);
        longer.0.extend(bytes);
        longer
    }

    pub(crate) fn each<T>(self, all: &[T], write: impl Fn(Self, &T) -> Self) -> Self {
        let counted = self.number(all.len() as u64);
        all.iter().fold(counted, write)
    }

    pub(crate) fn address(self, address: &SocketAddrV4) -> Self {
        self.number(u64::from(address.ip().to_bits()))
            .number(u64::from(address.port()))
    }
}

impl Message {
    fn take(&mut self, length: usize) -> io::Result<&[u8]> {
        let end = self.read.checked_add(length);
        let taken = end.and_then(|end| self.bytes.get(self.read..end));
        let taken = taken.ok_or_else(|| io::Error::from(io::ErrorKind::UnexpectedEof))?;
        self.read += length;
        Ok(taken)
    }

    pub(crate) fn number(&mut self) -> io::Result<u64> {
        let bytes = self.take(size_of::<u64>())?;
        Ok(u64::from_ne_bytes(
            bytes.try_into().map_err(io::Error::other)?,
        ))
    }

    pub(crate) fn small<T: TryFrom<u64>>(&mut self) -> io::Result<T> {
        T::try_from(self.number()?).map_err(|_| io::Error::from(io::ErrorKind::InvalidData))
    }

    pub(crate) fn path(&mut self) -> io::Result<PathBuf> {
        let length = self.small()?;
        Ok(Path::new(OsStr::from_bytes(self.take(length)?)).to_owned())
    }

    pub(crate) fn text(&mut self) -> io::Result<String> {
        let length = self.small()?;
        String::from_utf8(self.take(length)?.to_vec()).map_err(io::Error::other)
    }

    pub(crate) fn each<T>(
        &mut self,
        read: impl Fn(&mut Self) -> io::Result<T>,
    ) -> io::Result<Vec<T>> {
        let count: usize = self.small()?;
        (0..count).map(|_| read(self)).collect()
    }

    pub(crate) fn address(&mut self) -> io::Result<SocketAddrV4> {
        let ip: u32 = self.small()?;
        Ok(SocketAddrV4::new(ip.into(), self.small()?))
    }
}

/// Descriptors as they are lent to [`send`].
pub(crate) fn lend(owned: &[OwnedFd]) -> Vec<BorrowedFd<'_>> {
    owned.iter().map(AsFd::as_fd).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_sent_is_received_and_descriptors_beside_it() {
        let (ours, theirs) = pair().unwrap();
        let address: SocketAddrV4 = "127.0.0.1:9001".parse().unwrap();
        let written = Writer::default()
            .number(7)
            .text("grüße")
            .each(&["a", "b"], |to, text| to.text(text))
            .address(&address);
        let (_reader, writer) = io::pipe().unwrap();
        send(ours.as_fd(), &written, &[writer.as_fd()]).unwrap();
        let mut message = receive(theirs.as_fd()).unwrap().unwrap();
        assert_eq!(message.number().unwrap(), 7);
        assert_eq!(message.text().unwrap(), "grüße");
        let both = message.each(Message::text).unwrap();
        assert_eq!(both, ["a", "b"]);
        assert_eq!(message.address().unwrap(), address);
        assert_eq!(message.descriptors.len(), 1);
        assert!(message.number().is_err(), "nothing is left");
        drop(ours);
        assert!(receive(theirs.as_fd()).unwrap().is_none());
    }
}
