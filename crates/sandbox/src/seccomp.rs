//! The system calls that a sandboxed program may make, as a filter in the kernel.
//!
//! An allow-list: what is not on it is refused with EPERM, what did not exist when it was written
//! with ENOSYS, which is what programs expect of an older kernel. Calls of another architecture are
//! refused altogether. The filter is a binary search over ranges of numbers: the kernel runs it for
//! every number once when it is installed, so that a chain of comparisons would cost a start three
//! times as much. What a sandbox's first process may do, once the program runs, is a list of its own, short
//! enough for a chain.

mod list;

use std::collections::BTreeSet;
use std::io;
use std::sync::OnceLock;

use list::{ALLOWED, FAMILIES, KEEPING, LAST_KNOWN};

/// `AUDIT_ARCH_*` of this machine (linux/audit.h).
#[cfg(target_arch = "x86_64")]
const ARCHITECTURE: u32 = 0xC000_003E;
#[cfg(target_arch = "aarch64")]
const ARCHITECTURE: u32 = 0xC000_00B7;

/// Offsets in `struct seccomp_data`: the call's number, the architecture, the low half of the first
/// argument (both architectures are little-endian).
const NUMBER: u32 = 0;
const ARCH: u32 = 4;
const FIRST_ARGUMENT: u32 = 16;

const ALLOW: u32 = libc::SECCOMP_RET_ALLOW;
const REFUSE: u32 = libc::SECCOMP_RET_ERRNO | libc::EPERM as u32;
const UNKNOWN: u32 = libc::SECCOMP_RET_ERRNO | libc::ENOSYS as u32;
const KILL: u32 = libc::SECCOMP_RET_KILL_PROCESS;

/// Flags of `clone` that make namespaces. That for time does not fit into them: its bit is one of the
/// exit signal's.
const NAMESPACES: u32 = (libc::CLONE_NEWNS
    | libc::CLONE_NEWPID
    | libc::CLONE_NEWIPC
    | libc::CLONE_NEWUTS
    | libc::CLONE_NEWNET
    | libc::CLONE_NEWUSER
    | libc::CLONE_NEWCGROUP) as u32;

/// What the filter says to a number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verdict {
    Allow,
    Refuse,
    Unknown,
    /// Allowed without new namespaces.
    Clone,
    /// Allowed for some address families.
    Socket,
    /// Allowed for asking, and for what every program has.
    Personality,
}

/// A filter, ready to be installed.
#[derive(Clone, Copy)]
pub(crate) struct Filter(&'static [libc::sock_filter]);

/// What a program may call. What asks for this before it forks spares its children the work.
pub(crate) fn program() -> Filter {
    static FILTER: OnceLock<Vec<libc::sock_filter>> = OnceLock::new();
    Filter(FILTER.get_or_init(compile))
}

/// What a sandbox's first process may call once it has nothing to do any more but to reap and to tell.
/// It is much shorter: the kernel takes as long to install a filter as that is long.
pub(crate) fn keeper() -> Filter {
    static FILTER: OnceLock<Vec<libc::sock_filter>> = OnceLock::new();
    Filter(FILTER.get_or_init(|| {
        let mut filter = beginning();
        filter.extend(one_of(&KEEPING.map(|call| call as u32)));
        filter
    }))
}

impl Filter {
    /// Installs the filter for this thread and all that it starts. Needs `no_new_privs`.
    pub(crate) fn install(self) -> io::Result<()> {
        let program = libc::sock_fprog {
            len: u16::try_from(self.0.len()).map_err(io::Error::other)?,
            filter: self.0.as_ptr().cast_mut(),
        };
        #[expect(unsafe_code, reason = "neither std nor rustix installs filters")]
        // SAFETY: `program` and the instructions it points to live until the call returns; the kernel
        // copies them and checks them itself.
        let result = unsafe {
            libc::syscall(
                libc::SYS_seccomp,
                libc::SECCOMP_SET_MODE_FILTER,
                0_u32,
                &raw const program,
            )
        };
        if result == 0 {
            Ok(())
        } else {
            Err(io::Error::last_os_error())
        }
    }
}

/// The numbers that may be called, whatever their arguments.
#[cfg(test)]
pub(crate) fn allowed() -> BTreeSet<u32> {
    (0..=LAST_KNOWN)
        .filter(|number| !matches!(verdict(*number), Verdict::Refuse | Verdict::Unknown))
        .collect()
}

fn verdict(number: u32) -> Verdict {
    let is = |call: libc::c_long| i64::from(number) == call;
    if number > LAST_KNOWN || is(libc::SYS_clone3) {
        // The flags of clone3 are out of a filter's sight. C libraries fall back to clone.
        Verdict::Unknown
    } else if is(libc::SYS_clone) {
        Verdict::Clone
    } else if is(libc::SYS_socket) || is(libc::SYS_socketpair) {
        Verdict::Socket
    } else if is(libc::SYS_personality) {
        Verdict::Personality
    } else if known().contains(&number) {
        Verdict::Allow
    } else {
        Verdict::Refuse
    }
}

fn known() -> &'static BTreeSet<u32> {
    static KNOWN: OnceLock<BTreeSet<u32>> = OnceLock::new();
    KNOWN.get_or_init(|| {
        let numbers = ALLOWED.iter().map(|call| u32::try_from(*call));
        numbers.filter_map(Result::ok).collect()
    })
}

fn compile() -> Vec<libc::sock_filter> {
    // Each range runs up to the beginning of the next.
    let mut ranges: Vec<(u32, Verdict)> = Vec::new();
    for number in 0..=LAST_KNOWN + 1 {
        let verdict = verdict(number);
        if ranges.last().is_none_or(|(_, last)| *last != verdict) {
            ranges.push((number, verdict));
        }
    }
    let mut filter = beginning();
    filter.extend(search(&ranges));
    filter
}

/// Refuses other architectures, and has the number at hand.
fn beginning() -> Vec<libc::sock_filter> {
    vec![
        load(ARCH),
        jump(libc::BPF_JEQ, ARCHITECTURE, 1, 0),
        answer(KILL),
        load(NUMBER),
    ]
}

fn search(ranges: &[(u32, Verdict)]) -> Vec<libc::sock_filter> {
    let (lower, upper) = ranges.split_at(ranges.len() / 2);
    let Some((from, verdict)) = upper.first() else {
        return vec![answer(REFUSE)];
    };
    if lower.is_empty() {
        return leaf(*verdict);
    }
    let (below, above) = (search(lower), search(upper));
    let mut filter = Vec::new();
    match u8::try_from(below.len()) {
        Ok(skip) => filter.push(jump(libc::BPF_JGE, *from, skip, 0)),
        // Conditional jumps reach 255 instructions.
        Err(_) => {
            filter.push(jump(libc::BPF_JGE, *from, 0, 1));
            filter.push(instruction(
                libc::BPF_JMP | libc::BPF_JA,
                below.len() as u32,
            ));
        }
    }
    filter.extend(below);
    filter.extend(above);
    filter
}

fn leaf(verdict: Verdict) -> Vec<libc::sock_filter> {
    match verdict {
        Verdict::Allow => vec![answer(ALLOW)],
        Verdict::Refuse => vec![answer(REFUSE)],
        Verdict::Unknown => vec![answer(UNKNOWN)],
        Verdict::Clone => vec![
            load(FIRST_ARGUMENT),
            jump(libc::BPF_JSET, NAMESPACES, 0, 1),
            answer(REFUSE),
            answer(ALLOW),
        ],
        Verdict::Socket => one_of_first(&FAMILIES.map(|family| family as u32)),
        Verdict::Personality => one_of_first(&[0, u32::MAX]),
    }
}

/// Allows the call if its first argument is among `values`.
fn one_of_first(values: &[u32]) -> Vec<libc::sock_filter> {
    let mut filter = vec![load(FIRST_ARGUMENT)];
    filter.extend(one_of(values));
    filter
}

/// Allows the call if what is at hand is among `values`, of which there are fewer than 255.
fn one_of(values: &[u32]) -> Vec<libc::sock_filter> {
    let mut filter = Vec::new();
    for (index, value) in values.iter().enumerate() {
        // Over the comparisons that are left and the refusal.
        let skip = u8::try_from(values.len() - index).unwrap_or(u8::MAX);
        filter.push(jump(libc::BPF_JEQ, *value, skip, 0));
    }
    filter.extend([answer(REFUSE), answer(ALLOW)]);
    filter
}

fn load(offset: u32) -> libc::sock_filter {
    instruction(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, offset)
}

fn answer(value: u32) -> libc::sock_filter {
    instruction(libc::BPF_RET | libc::BPF_K, value)
}

fn jump(test: u32, value: u32, if_true: u8, if_false: u8) -> libc::sock_filter {
    libc::sock_filter {
        jt: if_true,
        jf: if_false,
        ..instruction(libc::BPF_JMP | test | libc::BPF_K, value)
    }
}

fn instruction(code: u32, value: u32) -> libc::sock_filter {
    libc::sock_filter {
        code: code as u16,
        jt: 0,
        jf: 0,
        k: value,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Runs the filter as the kernel does.
    fn run(number: u32, argument: u32, architecture: u32) -> u32 {
        answer_of(program(), number, argument, architecture)
    }

    fn answer_of(filter: Filter, number: u32, argument: u32, architecture: u32) -> u32 {
        let Filter(filter) = filter;
        let (mut at, mut value) = (0, 0);
        loop {
            let step = filter[at];
            at += 1;
            let code = u32::from(step.code);
            let taken = |yes: bool| usize::from(if yes { step.jt } else { step.jf });
            match code & 0x07 {
                libc::BPF_LD => {
                    value = match step.k {
                        NUMBER => number,
                        ARCH => architecture,
                        FIRST_ARGUMENT => argument,
                        other => panic!("{other}"),
                    }
                }
                libc::BPF_RET => return step.k,
                _ => match code & 0xf0 {
                    libc::BPF_JA => at += step.k as usize,
                    libc::BPF_JEQ => at += taken(value == step.k),
                    libc::BPF_JGE => at += taken(value >= step.k),
                    libc::BPF_JSET => at += taken(value & step.k != 0),
                    other => panic!("{other}"),
                },
            }
        }
    }

    fn call(number: libc::c_long, argument: i32) -> u32 {
        let number = u32::try_from(number).unwrap();
        run(number, argument as u32, ARCHITECTURE)
    }

    #[test]
    fn the_filter_says_of_every_number_what_the_list_says() {
        for number in 0..=LAST_KNOWN + 40 {
            let expected = match verdict(number) {
                Verdict::Allow | Verdict::Clone | Verdict::Personality => ALLOW,
                // Zero is no family that may be opened.
                Verdict::Refuse | Verdict::Socket => REFUSE,
                Verdict::Unknown => UNKNOWN,
            };
            assert_eq!(run(number, 0, ARCHITECTURE), expected, "{number}");
        }
    }

    #[test]
    fn numbers_of_other_architectures_are_refused() {
        // The x32 numbers: those of x86_64 with bit 30.
        assert_eq!(run(1 << 30, 0, ARCHITECTURE), UNKNOWN);
        assert_eq!(run((1 << 30) + 1, 0, ARCHITECTURE), UNKNOWN);
        // i386.
        assert_eq!(run(1, 0, 0x4000_0003), KILL);
    }

    #[test]
    fn arguments_decide_where_they_must() {
        assert_eq!(call(libc::SYS_clone, libc::CLONE_VM), ALLOW);
        assert_eq!(call(libc::SYS_clone, libc::CLONE_NEWUSER), REFUSE);
        assert_eq!(call(libc::SYS_socket, libc::AF_INET), ALLOW);
        assert_eq!(call(libc::SYS_socket, libc::AF_VSOCK), REFUSE);
        assert_eq!(call(libc::SYS_socket, libc::AF_PACKET), REFUSE);
        assert_eq!(call(libc::SYS_personality, -1), ALLOW);
        assert_eq!(call(libc::SYS_personality, 0x0040_0000), REFUSE);
    }

    #[test]
    fn the_first_process_may_do_little_more_than_reap_and_tell() {
        for number in (0..=LAST_KNOWN + 40).chain([1 << 30]) {
            let kept = KEEPING.iter().any(|call| i64::from(number) == *call);
            let expected = if kept { ALLOW } else { REFUSE };
            assert_eq!(answer_of(keeper(), number, 0, ARCHITECTURE), expected);
        }
        assert_eq!(answer_of(keeper(), 1, 0, 0x4000_0003), KILL);
        // Nothing that the program may not do.
        let allowed = allowed();
        assert!(KEEPING.iter().all(|call| allowed.contains(&(*call as u32))));
    }

    #[test]
    fn what_escapes_are_made_of_is_not_on_the_list() {
        for number in [
            libc::SYS_ptrace,
            libc::SYS_mount,
            libc::SYS_unshare,
            libc::SYS_setns,
            libc::SYS_bpf,
            libc::SYS_keyctl,
            libc::SYS_io_uring_setup,
            libc::SYS_userfaultfd,
            libc::SYS_perf_event_open,
            libc::SYS_process_vm_readv,
            libc::SYS_open_by_handle_at,
            libc::SYS_pivot_root,
            libc::SYS_kexec_load,
        ] {
            assert_eq!(call(number, 0), REFUSE, "{number}");
        }
        assert!(!allowed().contains(&u32::try_from(libc::SYS_clone3).unwrap()));
    }
}
