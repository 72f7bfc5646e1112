//! How functions are kept apart, and what the user is told of it at start.

use std::net::SocketAddr;
use std::path::Path;

use anyhow::{Context, bail};
use instance::{Endpoint, Isolation};
use rustix::fs::{Mode, OFlags};
use sandbox::{Account, Limit, PlainSpawner, Prepared, Spawner, SpawnerConfig};

use crate::config::{Config, IsolationKind};

/// Sandboxes that are kept ready at first. Each costs about 0.7 MiB, and saves a cold start some
/// milliseconds.
const SPARES: usize = 4;

/// Sandboxes that are kept ready once bursts of starts have shown the need, 45 MiB of them.
const SPARES_AT_MOST: usize = 64;

/// Interpreters that wait for their functions, of each runtime that a function has. Each costs about 6 MiB
/// (Python) or 9 MiB (Node.js), and saves a cold start what the interpreter takes to start.
const EARLY: usize = 4;

/// What to do where sandboxes cannot be made.
const IMPOSSIBLE: &str = "functions cannot be isolated on this machine, and nothing was started. To run \
    functions all the same, as ordinary processes of this user, set isolation = \"none\" under \
    [functions], or pass --isolation none";

/// What to do where they cannot be made by a server that is to give up root's rights.
const IMPOSSIBLE_FOR_AN_HEIR: &str = "functions cannot be isolated by a server that gives up root's rights on \
    this machine, and nothing was started. Whoever is root of a container only is often refused what that \
    takes: start the container with the rights to mount and to make namespaces (CAP_SYS_ADMIN, no seccomp \
    or AppArmor profile against them), or leave user out and start the server as that user";

/// What needs the rights that the server was started with, done; and those rights given up, where the
/// settings name an account.
#[derive(Debug)]
pub(crate) struct Footing {
    /// Absent where functions are not isolated.
    spawner: Option<Prepared>,
    /// What to do where sandboxes cannot be made.
    impossible: &'static str,
}

impl Footing {
    /// Makes the data folder and starts the processes that make sandboxes. With an account in the settings,
    /// this process is that account's from then on, so it must have one thread.
    ///
    /// # Errors
    /// The account is unknown, is root, or is named by who is not root and somebody else; the data folder
    /// is not its own; this machine refuses to start processes.
    pub(crate) fn find(config: &Config) -> anyhow::Result<Self> {
        let account = config.user.as_deref().map(account).transpose()?;
        let dir = &config.data_dir;
        make_folder(dir, account.as_ref())
            .with_context(|| format!("make the data folder {}", dir.display()))?;
        let dir = dir
            .canonicalize()
            .with_context(|| format!("open the data folder {}", dir.display()))?;
        let impossible = match account {
            Some(_) => IMPOSSIBLE_FOR_AN_HEIR,
            None => IMPOSSIBLE,
        };
        let spawner = match config.functions.isolation {
            IsolationKind::Sandbox => {
                let config = SpawnerConfig {
                    mount_point: dir.join("sandboxes"),
                    disk: dir.join("temporary"),
                    spares: SPARES,
                    spares_at_most: SPARES_AT_MOST,
                    early: EARLY,
                };
                Some(Spawner::prepare(config, account.as_ref()).context(impossible)?)
            }
            IsolationKind::None => None,
        };
        if let Some(account) = &account {
            account
                .assume()
                .with_context(|| format!("become the user {}", account.name()))?;
        }
        Ok(Self {
            spawner,
            impossible,
        })
    }
}

/// The account that the server is to become; it must be another than root, and this process must be root.
fn account(name: &str) -> anyhow::Result<Account> {
    let account = Account::named(name).with_context(|| format!("find the user {name:?}"))?;
    if account.is_root() {
        bail!(
            "user = {name:?} is root or of root's group, by which too little is given up: name another, best \
             one that is for this server only, or leave it out"
        );
    }
    if !rustix::process::geteuid().is_root() {
        bail!(
            "user = {name:?} is for a server that is started as root: only root can become another \
             user. Leave it out, or start the server as root"
        );
    }
    Ok(account)
}

/// Makes the folder for `owner`, or sees that it is the owner's already.
fn make_folder(dir: &Path, owner: Option<&Account>) -> anyhow::Result<()> {
    let Some(owner) = owner else {
        return Ok(std::fs::create_dir_all(dir)?);
    };
    let name = owner.name();
    if !dir.exists() {
        make_for(dir, owner)?;
    }
    if !owner.owns(dir)? {
        bail!(
            "it is not the user {name}'s, whom the server is to be: chown -R {name} {}, once",
            dir.display()
        );
    }
    Ok(())
}

/// Makes a folder and those above it that there are not, where nobody but root puts something else in its
/// place meanwhile, and gives it to `owner`.
fn make_for(dir: &Path, owner: &Account) -> anyhow::Result<()> {
    let dir = std::path::absolute(dir)?;
    let there = dir.ancestors().find(|above| above.exists());
    let there = there.unwrap_or(Path::new("/"));
    // Without the links on the way there.
    let above = there.canonicalize()?;
    for folder in above.ancestors() {
        if owner.may_replace_in(folder)? {
            bail!(
                "{} is the user {}'s to change, who could put another in its place: make the data folder as \
                 that user, or elsewhere",
                folder.display(),
                owner.name()
            );
        }
    }
    let dir = above.join(dir.strip_prefix(there)?);
    std::fs::create_dir_all(&dir)?;
    let flags = OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    owner.give(rustix::fs::open(&dir, flags, Mode::empty())?)?;
    Ok(())
}

/// Starts what the settings ask for, and says in the log how far it goes. Returns with it where
/// functions find the server's own endpoint `own`.
///
/// # Errors
/// Sandboxes are asked for and this machine does not allow them.
pub(super) fn start(footing: Footing, own: Endpoint) -> anyhow::Result<(Isolation, SocketAddr)> {
    match footing.spawner {
        Some(prepared) => {
            let spawner = prepared.start().context(footing.impossible)?;
            let weaknesses = spawner.weaknesses();
            if weaknesses.is_empty() {
                tracing::info!(
                    "functions are isolated: each instance runs in a sandbox of its own"
                );
            } else {
                tracing::warn!(
                    "functions are isolated, each instance in a sandbox of its own, with weaker \
                     guarantees than a server started as root would give"
                );
            }
            for weakness in weaknesses {
                tracing::warn!("{weakness}");
            }
            Ok((Isolation::Sandboxed(spawner), own.inside.into()))
        }
        None => {
            let spawner = PlainSpawner::start().context("prepare to start processes")?;
            tracing::warn!(
                "functions are NOT isolated, as asked for: each runs as an ordinary process of this \
                 user, can read what this user can read and reach the network; deploy only code \
                 that you trust"
            );
            match &spawner.limits().memory {
                Limit::Enforced => {}
                Limit::NotEnforced(reason) => tracing::warn!(
                    "the memory size of functions is billed but not enforced: {reason}"
                ),
            }
            Ok((Isolation::None(spawner), own.outside))
        }
    }
}
