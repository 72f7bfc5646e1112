//! Transactions put aside until it is known that they commit.
//!
//! A server may send a transaction before that, and nothing of it may reach our log. So its messages
//! are kept: the last ones in memory, earlier ones in a file without a name, which is gone with the
//! process. What a rolled-back part has sent is skipped when the transaction is read again.

use std::collections::HashSet;
use std::io::SeekFrom;
use std::path::Path;

use bytes::{Buf as _, BufMut as _, Bytes, BytesMut};
use tokio::fs::File;
use tokio::io::{AsyncReadExt as _, AsyncSeekExt as _, AsyncWriteExt as _, BufReader};

/// What one transaction may keep in memory.
const IN_MEMORY: usize = 1 << 20;

/// The messages of one transaction.
#[derive(Debug, Default)]
pub(crate) struct Spool {
    recent: BytesMut,
    file: Option<File>,
    /// Bytes in the file.
    written: u64,
    aborted: HashSet<u32>,
}

/// A committed transaction, read from its beginning.
#[derive(Debug)]
pub(crate) struct Replay {
    file: Option<BufReader<File>>,
    left_in_file: u64,
    recent: Bytes,
    aborted: HashSet<u32>,
}

impl Spool {
    /// Adds a message of (sub)transaction `xid`.
    pub(crate) async fn add(
        &mut self,
        xid: u32,
        message: &[u8],
        folder: &Path,
    ) -> std::io::Result<()> {
        let len = u32::try_from(message.len()).map_err(std::io::Error::other)?;
        self.recent.put_u32(len);
        self.recent.put_u32(xid);
        self.recent.put_slice(message);
        if self.recent.len() >= IN_MEMORY {
            let file = match &mut self.file {
                Some(file) => file,
                none => none.insert(File::from_std(tempfile::tempfile_in(folder)?)),
            };
            file.write_all(&self.recent).await?;
            self.written += self.recent.len() as u64;
            self.recent.clear();
        }
        Ok(())
    }

    /// Leaves out what subtransaction `xid` has sent.
    pub(crate) fn abort(&mut self, xid: u32) {
        self.aborted.insert(xid);
    }

    /// Reads it from its beginning.
    pub(crate) async fn replay(self) -> std::io::Result<Replay> {
        let file = match self.file {
            Some(mut file) => {
                file.flush().await?;
                file.seek(SeekFrom::Start(0)).await?;
                Some(BufReader::with_capacity(256 << 10, file))
            }
            None => None,
        };
        Ok(Replay {
            file,
            left_in_file: self.written,
            recent: self.recent.freeze(),
            aborted: self.aborted,
        })
    }
}

impl Replay {
    /// The next message that counts; none at the end.
    pub(crate) async fn next(&mut self) -> std::io::Result<Option<Bytes>> {
        loop {
            let Some((xid, message)) = self.entry().await? else {
                return Ok(None);
            };
            if !self.aborted.contains(&xid) {
                return Ok(Some(message));
            }
        }
    }

    async fn entry(&mut self) -> std::io::Result<Option<(u32, Bytes)>> {
        if let Some(file) = self.file.as_mut().filter(|_| self.left_in_file > 0) {
            let len = file.read_u32().await?;
            let xid = file.read_u32().await?;
            let mut message = vec![0; len as usize];
            file.read_exact(&mut message).await?;
            self.left_in_file -= 8 + u64::from(len);
            return Ok(Some((xid, message.into())));
        }
        if self.recent.is_empty() {
            return Ok(None);
        }
        let len = self.recent.get_u32() as usize;
        let xid = self.recent.get_u32();
        Ok(Some((xid, self.recent.split_to(len))))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_was_rolled_back_is_left_out_and_the_rest_keeps_its_order() {
        let folder = tempfile::tempdir().unwrap();
        let mut spool = Spool::default();
        let message = |number: u32| vec![u8::try_from(number % 251).unwrap(); 3_000];
        for number in 0..1_000 {
            let xid = 7 + number % 3;
            spool
                .add(xid, &message(number), folder.path())
                .await
                .unwrap();
        }
        spool.abort(8);
        assert!(spool.written > 0 && spool.recent.len() < IN_MEMORY);
        let mut replay = spool.replay().await.unwrap();
        for number in (0..1_000).filter(|number| number % 3 != 1) {
            let found = replay.next().await.unwrap().unwrap();
            assert_eq!(found, message(number), "{number}");
        }
        assert_eq!(replay.next().await.unwrap(), None);
        let left = std::fs::read_dir(folder.path()).unwrap().count();
        assert_eq!(left, 0, "the file has no name");
    }
}
