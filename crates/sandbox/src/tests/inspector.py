"""Tries the walls of a sandbox. A line that begins with ! is a hole."""

import ctypes
import errno
import mmap
import os
import resource
import signal
import socket
import sys

libc = ctypes.CDLL(None, use_errno=True)


def hole(what):
    print("!", what, flush=True)


def refused(name, attempt):
    """What must fail, and be refused rather than found wanting."""
    try:
        result = attempt()
    except OSError as error:
        print(name, errno.errorcode.get(error.errno, error.errno))
        return
    hole(f"{name}: {result!r}")


def call(number, *arguments):
    ctypes.set_errno(0)
    padded = list(arguments) + [0] * (6 - len(arguments))
    result = libc.syscall(ctypes.c_long(number), *map(ctypes.c_long, padded))
    if result == -1:
        raise OSError(ctypes.get_errno(), "refused")
    return result


def write(path, what):
    with open(path, "r+b" if os.path.exists(path) else "wb", buffering=0) as file:
        return file.write(what)


def files(secret):
    gone = [
        secret, "/etc/shadow", "/etc/gshadow", "/etc/sudoers", "/etc/ssl/private", "/etc/hostname", "/root",
        "/home", "/sys", "/sys/fs/cgroup", "/run", "/boot", "/srv", "/var/log", "/var/run/docker.sock",
        "/dev/mem", "/dev/kmem", "/dev/kvm", "/dev/fuse", "/dev/sda", "/dev/vda", "/dev/loop-control",
        "/dev/net/tun", "/dev/ptmx", "/dev/pts", "/dev/shm", "/proc/1/environ", "/proc/1/root/etc/shadow",
        "/proc/1/cwd", "/proc/1/maps", "/proc/1/mem", "/proc/1/fd",
    ]
    for path in gone:
        refused(path, lambda: os.listdir(path) if os.path.isdir(path) else open(path, "rb").read(1))
    for path in ("/proc/kcore", "/proc/keys", "/proc/kallsyms", "/proc/timer_list"):
        try:
            with open(path, "rb") as file:
                if file.read(1):
                    hole(f"{path} can be read")
        except OSError as error:
            print(path, error.strerror)
    settings = [
        "/proc/sys/kernel/core_pattern", "/proc/sys/kernel/modprobe", "/proc/sys/kernel/ns_last_pid",
        "/proc/sys/net/ipv4/ip_forward", "/proc/sys/vm/drop_caches", "/proc/sys/fs/binfmt_misc/register",
        "/proc/sysrq-trigger", "/proc/self/uid_map", "/proc/self/setgroups", "/proc/self/exe",
        "/proc/1/oom_score_adj",
    ]
    for path in settings + ["/usr/x", "/bin/sh", "/etc/passwd", "/etc/x", "/x", "/opt/x", "/var/x", "/dev/x", "/proc/x"]:
        refused(f"write {path}", lambda: write(path, b"1"))
    refused("escape the memory killer", lambda: write("/proc/self/oom_score_adj", b"-1000"))
    mounted = [line.split() for line in open("/proc/self/mountinfo")]
    for line in mounted:
        writable = "rw" in line[5].split(",")
        if writable and not line[4].startswith(("/tmp", "/proc", "/dev/")):
            hole(f"{line[4]} is mounted to be written")
        if line[4] != "/proc" and "nosuid" not in line[5]:
            hole(f"{line[4]} lets programs change the user")
    # Links out of the one folder that can be written.
    os.symlink("/proc/1/root", "/tmp/out")
    refused("follow a link to the machine's root", lambda: os.listdir("/tmp/out/"))
    os.symlink("/proc/self/fd/../../1/cwd", "/tmp/out2")
    refused("follow a link to another's folder", lambda: os.listdir("/tmp/out2/"))


def processes(server):
    seen = {int(name) for name in os.listdir("/proc") if name.isdigit()}
    if seen != {os.getpid()}:
        hole(f"sees processes {seen - {os.getpid()}}")
    own = {int(name) for name in os.listdir("/proc/self/fd")}
    if not own <= {0, 1, 2, 3}:
        hole(f"descriptors {own}")
    for number in (0, 1, 2):
        print(number, os.readlink(f"/proc/self/fd/{number}"))
    extra = set(os.environ) - {"PATH", "ONLY", "LC_CTYPE"}
    if extra:
        hole(f"variables {extra}")
    refused("signal the server", lambda: os.kill(int(server), 0))
    for number in (signal.SIGTERM, signal.SIGKILL, signal.SIGSTOP):
        # The first process is deaf, or another user's: nothing may come of it.
        try:
            os.kill(1, number)
        except OSError as error:
            print("signal the first process", error.strerror)
    refused("another group", lambda: os.killpg(os.getpgid(1), 0) if os.getpgid(1) else os.kill(int(server), 0))
    for pid in range(3, 400):
        if pid != os.getpid():
            try:
                os.kill(pid, 0)
                hole(f"reaches process {pid}")
            except OSError:
                pass
    for change in (os.setuid, os.setgid, os.seteuid, os.setegid):
        refused(f"become 0 by {change.__name__}", lambda: change(0))
    refused("join a group", lambda: os.setgroups([0]))
    for limit in (resource.RLIMIT_NOFILE, resource.RLIMIT_NPROC, resource.RLIMIT_CORE):
        try:
            resource.setrlimit(limit, (2048, 2048))
            hole(f"raised limit {limit}")
        except (OSError, ValueError) as error:
            print("raise a limit", error)
    refused("a better place in the queue", lambda: os.nice(-5))


CALLS = {
    "ptrace": (101, 0), "ptrace of the first": (101, 16, 1), "mount": (165, 0), "umount": (166, 0), "pivot_root": (155,),
    "chroot": (161, 0), "unshare user": (272, 0x10000000), "unshare mounts": (272, 0x20000), "setns": (308, 0, 0),
    "clone user": (56, 0x10000000 | 17), "clone net": (56, 0x40000000 | 17), "clone3": (435, 0, 0),
    "keyctl": (250, 0), "add_key": (248,), "request_key": (249,), "bpf": (321, 0), "perf_event_open": (298,),
    "io_uring_setup": (425, 1), "userfaultfd": (323, 0), "process_vm_readv": (310, 1), "process_vm_writev": (311, 1),
    "kexec_load": (246,), "kexec_file_load": (320,), "init_module": (175,), "finit_module": (313,),
    "delete_module": (176,), "reboot": (169,), "swapon": (167,), "swapoff": (168,), "sethostname": (170,),
    "setdomainname": (171,), "settimeofday": (164,), "clock_settime": (227,), "adjtimex": (159,), "acct": (163,),
    "quotactl": (179,), "syslog": (103, 3), "iopl": (172, 3), "ioperm": (173, 0, 1, 1), "modify_ldt": (154,),
    "open_by_handle_at": (304,), "name_to_handle_at": (303,), "open_tree": (428,), "move_mount": (429,),
    "fsopen": (430,), "fsmount": (432,), "mount_setattr": (442,), "fanotify_init": (300,), "kcmp": (312, 1, 1),
    "pidfd_getfd": (438,), "migrate_pages": (256,), "move_pages": (279,), "mbind": (237,), "vhangup": (153,),
    "lookup_dcookie": (212,), "personality": (135, 0x0400000), "process_madvise": (440,),
}


def calls():
    import platform
    if platform.machine() == "x86_64":
        for name, arguments in CALLS.items():
            try:
                result = call(*arguments)
            except OSError as error:
                if error.errno not in (errno.EPERM, errno.ENOSYS):
                    hole(f"{name}: got as far as {error}")
                continue
            if result == 0 and name.startswith("clone"):
                os._exit(0)
            hole(f"{name}: {result}")
    for kind in (0o020000, 0o060000):
        refused("make a device", lambda: os.mknod("/tmp/device", kind | 0o666, os.makedev(1, 1)))
    with open("/tmp/suid", "wb") as file:
        file.write(open("/bin/true", "rb").read())
    os.chmod("/tmp/suid", 0o6755)
    pid = os.fork()
    if pid == 0:
        os.execv("/tmp/suid", ["/tmp/suid"])
    os.waitpid(pid, 0)
    # No new privileges, by every way of asking.
    status = open("/proc/self/status").read()
    for line in ("CapEff:\t0000000000000000", "CapBnd:\t0000000000000000", "NoNewPrivs:\t1", "Seccomp:\t2"):
        if line not in status:
            hole(f"without {line}")
    refused("fewer calls filtered", lambda: call(157, 22, 0))


def numbers(refused_numbers):
    count = 0
    for number in map(int, refused_numbers.split(",")):
        try:
            hole(f"call {number}: {call(number)}")
        except OSError as error:
            if error.errno in (errno.EPERM, errno.ENOSYS):
                count += 1
            else:
                hole(f"call {number}: got as far as {error}")
    print(count, "refused", flush=True)
    for number in range(600):
        try:
            hole(f"x32 call {number}: {call((1 << 30) + number)}")
        except OSError as error:
            if error.errno != errno.ENOSYS:
                hole(f"x32 call {number}: got as far as {error}")
    # The calls of 32-bit programs: `mov eax, 20; int 0x80; ret`.
    code = mmap.mmap(-1, 4096, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)
    code.write(b"\xb8\x14\x00\x00\x00\xcd\x80\xc3")
    print("32-bit", flush=True)
    address = ctypes.addressof(ctypes.c_char.from_buffer(code))
    pid = os.fork()
    if pid == 0:
        ctypes.CFUNCTYPE(ctypes.c_int)(address)()
        os._exit(0)
    _, status = os.waitpid(pid, 0)
    if not os.WIFSIGNALED(status):
        hole(f"a 32-bit call: {status}")


def network(abstract):
    open_ports = []
    for port in range(1, 65536):
        with socket.socket() as attempt:
            if attempt.connect_ex(("127.0.0.1", port)) == 0:
                open_ports.append(port)
    # Connecting to the very port one is connecting from succeeds.
    for port in open_ports:
        with socket.socket() as attempt:
            if attempt.connect_ex(("127.0.0.1", port)) == 0 and attempt.getsockname()[1] != port:
                hole(f"port {port}")
    interfaces = [name for _, name in socket.if_nameindex()]
    if interfaces != ["lo"]:
        hole(f"interfaces {interfaces}")
    for address in ("169.254.169.254", "169.254.170.2", "10.0.0.1", "172.17.0.1", "192.168.0.1", "8.8.8.8", "1.1.1.1"):
        refused(address, lambda: socket.create_connection((address, 80), timeout=1))
    refused("IPv6", lambda: socket.create_connection(("2001:4860:4860::8888", 53), timeout=1))
    refused("a name", lambda: socket.getaddrinfo("example.com", 80))
    refused("a datagram", lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendto(b"x", ("8.8.8.8", 53)))
    def connect_unix(name):
        with socket.socket(socket.AF_UNIX) as attempt:
            attempt.connect(name)
            return "connected"
    refused("a socket without a file", lambda: connect_unix("\0" + abstract))
    for family, kind in ((socket.AF_INET, socket.SOCK_RAW), (socket.AF_PACKET, socket.SOCK_RAW), (40, socket.SOCK_STREAM), (16, 3), (31, 3), (38, 5)):
        # Netlink is open for asking; what it may change needs a right.
        if family == 16:
            continue
        refused(f"socket {family} {kind}", lambda: socket.socket(family, kind, 1 if kind == 3 else 0).fileno())
    import fcntl, struct
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as control:
        request = struct.pack("16sH14x", b"lo", 0)
        refused("change the interface", lambda: fcntl.ioctl(control, 0x8914, request))


def bombs():
    held = []
    try:
        while True:
            held.append(os.open("/dev/null", os.O_RDONLY))
    except OSError as error:
        print("descriptors", held[-1] + 1, error.strerror)
    for descriptor in held:
        os.close(descriptor)
    written = 0
    with open("/tmp/fill", "wb", buffering=0) as file:
        try:
            while True:
                written += file.write(b"x" * 65536)
        except OSError as error:
            print("temporary", written, error.strerror)
    os.unlink("/tmp/fill")
    children = []
    try:
        while len(children) < 3000:
            pid = os.fork()
            if pid == 0:
                signal.pause()
                os._exit(0)
            children.append(pid)
        hole("3000 processes")
    except OSError as error:
        print("processes", len(children), error.strerror)
    for pid in children:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)


part = {"files": files, "processes": processes, "calls": calls, "numbers": numbers, "network": network, "bombs": bombs}
part[sys.argv[1]](*sys.argv[2:])
print("inspected", flush=True)
