//! What to start, and what to put around it.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::path::PathBuf;

/// What to start.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Program {
    /// The file to execute: an absolute path, as the program's own root has it, or, with a root of the
    /// job's, a name that is looked for in the folders of `PATH` or from the working directory.
    pub executable: PathBuf,
    /// Its arguments, without its own name.
    pub arguments: Vec<PathBuf>,
    /// Its whole environment. A plain tree gets `SANDBOX_TREE` beside it.
    pub environment: BTreeMap<String, String>,
    /// Its working directory.
    pub directory: PathBuf,
    /// The memory its tree may use, in bytes, where [`crate::Limits::memory`] is enforced.
    pub memory: u64,
}

/// A program and everything that it is to find in its sandbox, beyond what every sandbox has.
#[derive(Clone, Debug)]
pub struct Job {
    /// What to start.
    pub program: Program,
    /// What is started beside it, of the same user and seeing the same. Their memory counts towards
    /// the program's.
    pub companions: Vec<Program>,
    /// A folder of this machine that is the root, read-only, in the place of this machine's programs; it is
    /// for no job that names an early program. It must have the folders `dev`, `etc`, `proc` and `tmp` and
    /// the files `etc/hosts` and `etc/resolv.conf`, none of them a link: there the sandbox shows its own.
    pub root: Option<PathBuf>,
    /// Folders and files of this machine that the sandbox shows, read-only.
    pub binds: Vec<Bind>,
    /// What `/tmp` is.
    pub temporary: Temporary,
    /// Addresses of the sandbox's own loopback interface where somebody listens: a listener for each
    /// is handed out with the started sandbox, and nothing else answers in there. The interface is given
    /// those that are not in `127.0.0.0/8`.
    pub listen: Vec<SocketAddrV4>,
    /// Names of hosts that the sandbox knows, beside `localhost` and its own.
    pub names: BTreeMap<String, Ipv4Addr>,
    /// How many stream sockets are handed out that are connected to nothing yet. Whoever connects one
    /// reaches what listens inside.
    pub sockets: usize,
    /// What may stand in for the program because it has been started already.
    pub early: Option<Early>,
}

/// What a sandbox's `/tmp` is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Temporary {
    /// This many bytes of memory, at most, which count towards the program's.
    Memory(u64),
    /// This many bytes of disk, as a file system of its own; memory where [`crate::Limits::disk`] is not
    /// enforced.
    Disk(u64),
}

/// A program that is started before it is known what for: an interpreter, say, which takes longer to
/// start than its sandbox. Jobs that name equal ones take from the same stock.
///
/// It runs in a sandbox of its own, which then serves one job, and finds in there only its own binds.
/// It reads from its standard input, to the end, what executing the job's program would have given
/// it, and is to become that program: the working directory, the number of arguments in decimal,
/// the arguments, and the environment as `NAME=value`, each ended by a zero byte. By then the
/// sandbox is complete. Nothing else of the job reaches it, and nothing of any other.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Early {
    /// What is started. Its memory is what it may use while it waits.
    pub program: Program,
    /// Those of the job's binds that it needs from its beginning.
    pub binds: Vec<Bind>,
    /// Folders that are there, empty, while it starts, and gone when the job's binds come: the dynamic
    /// linker never asks again for a folder that it once did not find. Absolute paths.
    pub folders: Vec<PathBuf>,
}

/// A folder or file of this machine, shown inside.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Bind {
    /// Where it is on this machine: an absolute path.
    pub from: PathBuf,
    /// Where the program finds it: an absolute path outside `/usr`, `/proc`, `/dev` and `/tmp`.
    pub to: PathBuf,
}
