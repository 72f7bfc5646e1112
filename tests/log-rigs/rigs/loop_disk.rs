//! A file system of our own: ext4 in a file, mounted through a loop device, whose power can be cut.
//!
//! The cut is ext4's own: its shutdown call stops every write at once, and what had not reached the
//! file by then is gone with the page cache when the file system is unmounted. The image lies in
//! memory where possible; its own durability is not in question, since the machine stays up.

use std::fs::{self, File};
use std::io::{BufRead, BufReader, Write};
use std::os::unix::fs::symlink;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use log_rigs::Random;

use crate::folder::temporary;
use tempfile::TempDir;

/// How long the kernel may take to let go of a file system.
const PATIENCE: Duration = Duration::from_secs(30);

/// A mounted file system. Dropping it unmounts and removes it.
#[derive(Debug)]
pub(crate) struct LoopDisk {
    home: TempDir,
    xfs_io: PathBuf,
    /// The process whose mounts it is among.
    holder: Option<Child>,
}

/// What becomes of the file system's own journal in a power cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Cut {
    /// Metadata that was not committed yet is lost.
    Plain,
    /// Metadata reaches the disk, the data that it speaks of does not.
    JournalFlushed,
}

impl LoopDisk {
    /// Makes one of `bytes` bytes.
    ///
    /// # Errors
    /// This machine cannot: no root, no loop devices, no tools.
    pub(crate) fn new(bytes: u64) -> Result<Self> {
        let xfs_io = log_rigs::program("TIDEMILL_TEST_XFS_IO", "xfs_io");
        let xfs_io = xfs_io.context("xfs_io (package xfsprogs) is not installed")?;
        let mkfs = log_rigs::program("TIDEMILL_TEST_MKFS_EXT4", "mkfs.ext4");
        let mkfs = mkfs.context("mkfs.ext4 (package e2fsprogs) is not installed")?;
        let home = temporary()?;
        let mut disk = Self {
            home,
            xfs_io,
            holder: None,
        };
        File::create(disk.image())?.set_len(bytes)?;
        fs::create_dir(disk.home.path().join("mount"))?;
        // With room for checksums of files ext4 keeps its page cache in single pages, so that a
        // cut can tear what was written with one call, as it does on a disk under load.
        command(
            Command::new(mkfs)
                .args(["-q", "-F", "-O", "verity"])
                .arg(disk.image()),
        )?;
        disk.mount().context("mount a file through a loop device")?;
        Ok(disk)
    }

    /// Where it is mounted: the same after the power was restored.
    pub(crate) fn dir(&self) -> PathBuf {
        self.home.path().join("disk")
    }

    fn image(&self) -> PathBuf {
        self.home.path().join("image")
    }

    /// Mounts in a namespace of its own: whoever is given a copy of this machine's mounts meanwhile,
    /// such as a sandbox, would keep a file system alive whose power was cut.
    fn mount(&mut self) -> Result<()> {
        let mount = r#"mount -o loop "$0" "$1" && echo mounted && read -r _"#;
        let mut holder = Command::new("unshare")
            .args(["--mount", "--propagation", "private", "sh", "-c", mount])
            .arg(self.image())
            .arg(self.home.path().join("mount"))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .context("start unshare")?;
        let mut said = String::new();
        let stdout = holder.stdout.take().context("its output")?;
        BufReader::new(stdout).read_line(&mut said)?;
        if said.trim() != "mounted" {
            let output = holder.wait_with_output()?;
            bail!("{}", String::from_utf8_lossy(&output.stderr).trim());
        }
        let root = PathBuf::from(format!("/proc/{}/root", holder.id()));
        let mounted = root.join(self.home.path().join("mount").strip_prefix("/")?);
        if self.dir().is_symlink() {
            fs::remove_file(self.dir())?;
        }
        symlink(mounted, self.dir())?;
        self.holder = Some(holder);
        Ok(())
    }

    /// Ends the namespace, and waits until the file system has gone with it.
    fn unmount(&mut self) -> Result<()> {
        let Some(mut holder) = self.holder.take() else {
            return Ok(());
        };
        drop(holder.stdin.take());
        holder.wait()?;
        let deadline = Instant::now() + PATIENCE;
        while self.is_attached()? {
            ensure!(
                Instant::now() < deadline,
                "something keeps the file system alive"
            );
            std::thread::sleep(Duration::from_millis(1));
        }
        Ok(())
    }

    fn is_attached(&self) -> Result<bool> {
        let mut losetup = Command::new("losetup");
        let listed = losetup.arg("-j").arg(self.image()).output()?;
        Ok(!listed.stdout.is_empty())
    }

    /// Cuts the power at once. With `written`, some pages of these files reach the disk before: the
    /// kernel may write any page at any time and in any order.
    pub(crate) fn cut(&self, cut: Cut, written: &[PathBuf], random: &mut Random) -> Result<()> {
        let mut script = String::new();
        for file in written {
            script += &format!("open {}\n", file.display());
            // The log may have removed the file since it was listed.
            let pages = fs::metadata(file).map_or(0, |file| file.len().div_ceil(4096));
            // Each page with a chance that differs from cut to cut: all, none, or anything between.
            let odds = random.below(5);
            for page in (0..pages).filter(|_| random.below(4) < odds) {
                script += &format!(
                    "sync_range -w {0} 4096\nsync_range -a {0} 4096\n",
                    page * 4096
                );
            }
        }
        script += match cut {
            Cut::Plain => "shutdown\n",
            Cut::JournalFlushed => "shutdown -f\n",
        };
        let mut xfs_io = Command::new(&self.xfs_io)
            .args(["-x", "-r"])
            .arg(self.dir())
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()?;
        let mut stdin = xfs_io.stdin.take().context("xfs_io's input")?;
        stdin.write_all(script.as_bytes())?;
        drop(stdin);
        xfs_io.wait()?;
        // No error tells that the call did nothing, so this does.
        ensure!(
            File::create(self.dir().join("probe")).is_err(),
            "the power is still on"
        );
        Ok(())
    }

    /// Turns the power on again: unmounts, mounts and lets ext4 recover.
    pub(crate) fn restore(&mut self) -> Result<()> {
        self.unmount()?;
        self.mount()
    }
}

impl Drop for LoopDisk {
    fn drop(&mut self) {
        if let Err(error) = self.unmount() {
            eprintln!("{} stays mounted: {error:#}", self.dir().display());
        }
    }
}

fn command(command: &mut Command) -> Result<()> {
    let output = command.stdin(Stdio::null()).output()?;
    if output.status.success() {
        return Ok(());
    }
    bail!(
        "{:?}: {}: {}",
        command.get_program(),
        output.status,
        String::from_utf8_lossy(&output.stderr).trim()
    )
}
