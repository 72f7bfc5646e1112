//! What a spawner is told and asked, and what of it is followed.

use std::io;
use std::ops::Range;
use std::path::PathBuf;

use crate::group::Family;
use crate::wire::{Message, Writer};

/// With which rights sandboxes are made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Privilege {
    /// As root of the machine: each sandbox has user ids of its own.
    Root,
    /// As a user, who is root only inside.
    User,
}

/// The users and groups of this machine that sandboxes take as theirs when the spawner is root: beyond
/// what distributions and container engines give out (systemd ends at 1,879,048,191).
pub(crate) const USERS: Range<u32> = 2_000_000_000..2_002_000_000;

/// What holds for all that a spawner forks. It is told once, before the server gives up any right, so that
/// nothing a server is brought to say later changes it.
///
/// What such a server can say later: which ids among [`USERS`] a sandbox gets, which of its groups, which
/// files and folders that it may read itself are shown where, and what runs there. What it gives as a disk
/// is mounted, whatever is in it, if the file is its own.
#[derive(Clone, Debug)]
pub(crate) struct Terms {
    /// An empty folder over which the sandboxes' roots are put together.
    pub(crate) mount_point: PathBuf,
    /// The folders below which sandboxes have their groups.
    pub(crate) groups: Family,
    /// Who the server is to be when it has given up root's rights. Then sandboxes are made by root's rights or
    /// not at all, and the mount point is removed in the end.
    pub(crate) heir: Option<Heir>,
}

/// Who a server is that was root.
#[derive(Clone, Debug)]
pub(crate) struct Heir {
    pub(crate) user: u32,
    pub(crate) group: u32,
    /// All of its groups.
    pub(crate) groups: Vec<u32>,
    /// The server's own program. It may lie where this user does not get.
    pub(crate) executable: PathBuf,
}

/// What the server asks a spawner for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Request {
    pub(crate) privilege: Privilege,
    /// The user and group on this machine that the program is to be.
    pub(crate) user: u32,
    /// The user and group that the sandbox's first process is to be.
    pub(crate) keeper: u32,
    /// The number of the group that it is to join.
    pub(crate) group: u64,
}

/// What a sandbox's first process has to know.
pub(crate) struct Order {
    pub(crate) privilege: Privilege,
    pub(crate) mount_point: PathBuf,
    pub(crate) user: u32,
    pub(crate) keeper: u32,
    /// With whose rights is opened what is shown, if not with this process's.
    pub(crate) heir: Option<Heir>,
}

impl Terms {
    pub(super) fn write(&self) -> Writer {
        Writer::default()
            .text(&self.mount_point)
            .each(self.groups.folders(), |to, folder| to.text(folder))
            .each(self.heir.as_slice(), |to, heir| heir.write(to))
    }

    pub(super) fn read(message: &mut Message) -> io::Result<Self> {
        Ok(Self {
            mount_point: message.path()?,
            groups: Family::of(message.each(Message::path)?),
            heir: message.each(Heir::read)?.pop(),
        })
    }

    /// What a request amounts to, if it is one that may be followed.
    pub(super) fn order(&self, request: &Request) -> io::Result<Order> {
        let Request { user, keeper, .. } = *request;
        let allowed = match request.privilege {
            Privilege::Root => user != keeper && USERS.contains(&user) && USERS.contains(&keeper),
            Privilege::User => self.heir.is_none(),
        };
        match allowed {
            true => Ok(Order {
                privilege: request.privilege,
                mount_point: self.mount_point.clone(),
                user,
                keeper,
                heir: self.heir.clone(),
            }),
            false => Err(io::Error::from_raw_os_error(libc::EPERM)),
        }
    }
}

impl Heir {
    fn write(&self, to: Writer) -> Writer {
        to.number(self.user.into())
            .number(self.group.into())
            .each(&self.groups, |to, group| to.number((*group).into()))
            .text(&self.executable)
    }

    fn read(message: &mut Message) -> io::Result<Self> {
        Ok(Self {
            user: message.small()?,
            group: message.small()?,
            groups: message.each(Message::small)?,
            executable: message.path()?,
        })
    }
}

impl Request {
    pub(super) fn write(self) -> Writer {
        Writer::default()
            .number(match self.privilege {
                Privilege::Root => 0,
                Privilege::User => 1,
            })
            .number(self.user.into())
            .number(self.keeper.into())
            .number(self.group)
    }

    pub(super) fn read(message: &mut Message) -> io::Result<Self> {
        Ok(Self {
            privilege: match message.number()? {
                0 => Privilege::Root,
                _ => Privilege::User,
            },
            user: message.small()?,
            keeper: message.small()?,
            group: message.number()?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn terms(heir: Option<Heir>) -> Terms {
        Terms {
            mount_point: PathBuf::from("/run/x"),
            groups: Family::of(Vec::new()),
            heir,
        }
    }

    fn refused(terms: &Terms, privilege: Privilege, user: u32, keeper: u32) -> bool {
        let request = Request {
            privilege,
            user,
            keeper,
            group: 0,
        };
        match terms.order(&request) {
            Ok(_) => false,
            Err(error) => {
                assert_eq!(error.kind(), io::ErrorKind::PermissionDenied);
                true
            }
        }
    }

    #[test]
    fn root_hands_out_ids_that_are_nobodys_and_no_others() {
        let heir = Heir {
            user: 65534,
            group: 65534,
            groups: vec![65534],
            executable: PathBuf::from("/bin/x"),
        };
        let (first, last) = (USERS.start, USERS.end - 1);
        for terms in [terms(None), terms(Some(heir))] {
            let refused = |user, keeper| refused(&terms, Privilege::Root, user, keeper);
            assert!(!refused(first, first + 1) && !refused(last, first));
            assert!(refused(0, first) && refused(first, 0), "root");
            assert!(refused(65534, first) && refused(first, 65534), "the server");
            assert!(refused(first, first), "who may signal whom");
            assert!(refused(first - 1, first) && refused(first, last + 1));
            assert!(refused(u32::MAX, first));
            // Without a namespace of its own a sandbox would be root's.
            assert_eq!(
                super::tests::refused(&terms, Privilege::User, 0, 0),
                terms.heir.is_some()
            );
        }
    }
}
