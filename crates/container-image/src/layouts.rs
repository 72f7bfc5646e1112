//! Images in OCI layouts below a folder that the operator permits (OCI image specification 1.1).
//!
//! Nothing outside the folder can be read: files are opened beneath it in one step of the kernel's,
//! which follows no link.

use std::fs::File;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

use async_trait::async_trait;
use rustix::fs::{CWD, Mode, OFlags, ResolveFlags};
use tokio::io::AsyncReadExt as _;

use crate::manifest::{self, Document};
use crate::reference::Version;
use crate::sink::Sink;
use crate::source::{DOCUMENT_BYTES, Shelf};
use crate::{Digest, Error, Reference};

/// The setting that permits them, as operators write it.
const SETTING: &str = "functions.images.layouts";

/// The tag of an image that has none in its name, in a layout of several.
const LATEST: &str = "latest";

/// Bytes that are read at once.
const CHUNK: usize = 1 << 18;

/// The folder of layouts.
#[derive(Debug)]
pub(crate) struct Layouts {
    folder: Option<PathBuf>,
}

impl Layouts {
    pub(crate) const fn new(folder: Option<PathBuf>) -> Self {
        Self { folder }
    }

    /// Opens a regular file of the layout that `image` names.
    async fn open(&self, image: &Reference, file: PathBuf) -> Result<File, Error> {
        let Some(folder) = self.folder.clone() else {
            return Err(Error::NotPermitted {
                place: image.to_string(),
                setting: SETTING,
            });
        };
        let path = Path::new(image.name()).join(file);
        let act = format!("read {} of {image}", path.display());
        let opened = tokio::task::spawn_blocking(move || beneath(&folder, &path)).await;
        match opened.map_err(io::Error::other).and_then(|opened| opened) {
            Ok(file) => Ok(file),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Err(Error::NotFound {
                image: image.to_string(),
            }),
            Err(error) => Err(Error::unavailable(act, error)),
        }
    }

    async fn document(&self, image: &Reference, file: PathBuf) -> Result<Vec<u8>, Error> {
        let what = format!("{} of {image}", file.display());
        let file = self.open(image, file).await?;
        let read = tokio::task::spawn_blocking(move || {
            let mut bytes = Vec::new();
            file.take(DOCUMENT_BYTES + 1).read_to_end(&mut bytes)?;
            Ok(bytes)
        });
        let read = read.await.map_err(io::Error::other).and_then(|read| read);
        let bytes = read.map_err(|error| Error::unavailable(format!("read {what}"), error))?;
        if bytes.len() as u64 > DOCUMENT_BYTES {
            return Err(Error::invalid(what, "it is too long"));
        }
        Ok(bytes)
    }

    /// The digest that the layout's own index has for a tag.
    async fn tagged(&self, image: &Reference, tag: Option<&str>) -> Result<Digest, Error> {
        let bytes = self.document(image, "index.json".into()).await?;
        let what = format!("the index of {image}");
        let index = match manifest::read(&what, &bytes)? {
            Document::Index(index) => index,
            Document::Manifest(_) => return Err(Error::invalid(what, "it is a manifest")),
        };
        let wanted = match (tag, index.manifests.as_slice()) {
            (None, [only]) => Some(only),
            (None, several) => several.iter().find(|found| found.tag() == Some(LATEST)),
            (Some(tag), several) => several.iter().find(|found| found.tag() == Some(tag)),
        };
        let wanted = wanted.ok_or_else(|| Error::NotFound {
            image: image.to_string(),
        })?;
        Ok(wanted.digest)
    }
}

#[async_trait]
impl Shelf for Layouts {
    async fn manifest(&self, image: &Reference) -> Result<Vec<u8>, Error> {
        let digest = match image.version() {
            Version::Digest(digest) => *digest,
            Version::Tag(tag) => self.tagged(image, Some(tag)).await?,
            Version::Only => self.tagged(image, None).await?,
        };
        let bytes = self.document(image, place(&digest)).await?;
        // A registry answers for its tags by itself; here it is told by the digest that they lead to.
        if Digest::of(&bytes) != digest {
            let reason = format!("it is not what {digest} names");
            return Err(Error::invalid(format!("the manifest {image}"), reason));
        }
        Ok(bytes)
    }

    async fn content(&self, image: &Reference, to: &mut Sink) -> Result<(), Error> {
        let digest = *to.digest();
        let file = self.open(image, place(&digest)).await?;
        let mut file = tokio::fs::File::from_std(file);
        let mut chunk = vec![0; CHUNK];
        loop {
            let read = file
                .read(&mut chunk)
                .await
                .map_err(|error| Error::unavailable(format!("read {digest} of {image}"), error))?;
            match read {
                0 => return Ok(()),
                some => to.write(&chunk[..some]).await?,
            }
        }
    }
}

fn place(digest: &Digest) -> PathBuf {
    Path::new("blobs/sha256").join(digest.hex())
}

/// Opens a regular file beneath a folder, through no link.
fn beneath(folder: &Path, path: &Path) -> io::Result<File> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let folder = rustix::fs::openat(CWD, folder, flags, Mode::empty())?;
    // What is no file must not hold us up, as a pipe would.
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
    let file = rustix::fs::openat2(folder, path, flags, Mode::empty(), resolve)?;
    let file = File::from(file);
    if !file.metadata()?.is_file() {
        return Err(io::ErrorKind::NotFound.into());
    }
    Ok(file)
}
