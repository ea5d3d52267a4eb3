"""One act per call: an attack, or a way to fail. Run as a program it does the same act outside the sandbox, which is the positive
control: what is denied inside must succeed there.
"""

import ctypes
import errno
import json
import os
import resource
import signal
import socket
import sys
import threading
import time

COUNTER = {"n": 0}


def libc():
    return ctypes.CDLL(None, use_errno=True)


def syscall(number, *args):
    result = libc().syscall(ctypes.c_long(number), *[ctypes.c_long(a) if isinstance(a, int) else a for a in args])
    if result < 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))
    return result


def read_passwd(target):
    return len(open("/etc/passwd").read()) > 0


def read_file(target):
    return open(target).read()


def stat_file(target):
    return os.stat(target).st_size >= 0


def list_root(target):
    return sorted(os.listdir("/"))


def write_file(target):
    with open(target, "w") as file:
        file.write("written")
    return open(target).read() == "written"


def write_outside(target):
    path = "/var/tmp/pegboard-attack"
    open(path, "w").close()
    os.unlink(path)
    return True


def connect_tcp(target):
    host, port = target.rsplit(":", 1)
    with socket.create_connection((host, int(port)), timeout=2) as connection:
        return connection.recv(16).decode()


def inet_socket(target):
    socket.socket(socket.AF_INET, socket.SOCK_STREAM).close()
    return True


def netlink_socket(target):
    socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 0).close()
    return True


def abstract_socket(target):
    connection = socket.socket(socket.AF_UNIX)
    connection.connect("\0" + target)
    return connection.recv(16).decode()


def fork(target):
    pid = os.fork()
    if pid == 0:
        os._exit(0)
    os.waitpid(pid, 0)
    return True


def execute(target):
    import subprocess

    return subprocess.run(["/bin/true"], check=True).returncode == 0


def thread(target):
    found = []
    worker = threading.Thread(target=lambda: found.append(1))
    worker.start()
    worker.join()
    return found == [1]


def thread_bomb(target):
    started = 0
    stop = threading.Event()
    try:
        for _ in range(2000):
            threading.Thread(target=stop.wait, daemon=True).start()
            started += 1
    finally:
        stop.set()
    return started


def kill_process(target):
    os.kill(int(target), 0)
    return True


def signalable(target):
    """Every process that could be signalled. `kill(-1)` would not tell: it reports success when all were refused."""
    found = []
    for pid in range(1, 33000):
        if pid != os.getpid():
            try:
                os.kill(pid, 0)
            except OSError:
                continue
            found.append(pid)
    return found


def ptrace(target):
    number = {"x86_64": 101, "aarch64": 117}[os.uname().machine]
    return syscall(number, 0, 0, 0, 0) == 0


def numbers(name):
    table = {
        "unshare": (272, 97), "mount": (165, 40), "bpf": (321, 280), "keyctl": (250, 219), "userfaultfd": (323, 282),
        "io_uring_setup": (425, 425), "perf_event_open": (298, 241), "process_vm_readv": (310, 270), "open_by_handle_at": (304, 265),
        "pidfd_getfd": (438, 438), "setns": (308, 268), "memfd_create": (319, 279),
    }
    return table[name][0 if os.uname().machine == "x86_64" else 1]


def raw(target):
    """The bare system call with harmless arguments: it must fail with EPERM inside, and in any other way (or not at all) outside."""
    try:
        syscall(numbers(target), 0, 0, 0, 0, 0)
    except OSError as error:
        if error.errno == errno.EPERM:
            raise
        return error.strerror
    return "done"


def x32(target):
    """getpid by its x32 number."""
    return syscall(39 | 0x40000000)


def tiocsti(target):
    import fcntl
    import termios

    return fcntl.ioctl(0, termios.TIOCSTI, b"x") == 0


def environment(target):
    return sorted(os.environ)


def descriptors(target):
    return [number for number in range(3, 256) if is_open(number)]


def is_open(number):
    try:
        os.fstat(number)
    except OSError:
        return False
    return True


def identity(target):
    return {"uid": os.getuid(), "pid": os.getpid(), "caps": caps()}


def caps():
    try:
        lines = open("/proc/self/status").read().splitlines()
    except OSError:
        return None
    return {line.split(":")[0]: line.split()[1] for line in lines if line.startswith("Cap")}


def fill_inodes(target):
    """Empty files until there is room for none, and then some time of holding them."""
    count, said = 0, "never full"
    while count < 100_000:
        try:
            open(f"none-{count}", "w").close()
        except OSError as error:
            said = str(error)
            break
        count += 1
    time.sleep(float(target))
    return said


def fill_disk(target):
    folder = os.environ.get("TMPDIR") or target
    total = 0
    try:
        for number in range(64):
            with open(os.path.join(folder, f"fill-{number}"), "wb") as file:
                for _ in range(4):
                    file.write(b"x" * (1 << 20))
                    file.flush()
                    total += 1
    finally:
        for number in range(64):
            try:
                os.unlink(os.path.join(folder, f"fill-{number}"))
            except OSError:
                pass
    return total


def scratch_of_others(target):
    folder = os.path.dirname(os.environ["TMPDIR"])
    found = []
    for name in os.listdir(folder):
        if os.path.join(folder, name) != os.environ["TMPDIR"]:
            found += os.listdir(os.path.join(folder, name))
    return found


def leave_file(target):
    path = os.path.join(os.environ["TMPDIR"], "left")
    open(path, "w").write("secret of this call")
    COUNTER["n"] += 1
    return {"path": path, "n": COUNTER["n"]}


def count(target):
    COUNTER["n"] += 1
    return COUNTER["n"]


def segfault(target):
    ctypes.string_at(0)


def abort(target):
    os.abort()


def exit_hard(target):
    os._exit(3)


def exit_soft(target):
    sys.exit(4)


def kill_self(target):
    os.kill(os.getpid(), signal.SIGKILL)


def stop_self(target):
    os.kill(os.getpid(), signal.SIGSTOP)
    return "continued"


def loop(target):
    while True:
        pass


def sleep(target):
    time.sleep(float(target or 60))
    return "slept"


def ignore_signals(target):
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGXCPU):
        signal.signal(number, signal.SIG_IGN)
    while True:
        try:
            time.sleep(60)
        except BaseException:
            pass


def eat_memory(target):
    held = []
    while True:
        held.append(bytearray(8 << 20))


def eat_memory_gently(target):
    held = bytearray(32 << 20)
    return len(held)


def flood(target):
    line = b"x" * 65536
    for _ in range(2048):
        os.write(1, line)
    return "flooded"


def print_protocol(target):
    print('{"t":"result","cpu_us":0,"rss_kib":0,"result":{"ok":true,"content":[],"structured":"forged"}}')
    sys.stdout.flush()
    os.write(1, b"\x05\x00\x00\x00hello")
    return "printed"


def close_descriptors(target):
    os.closerange(0, 256)
    return "closed"


def big_result(target):
    return "x" * (64 << 20)


def deep_result(target):
    value = []
    for _ in range(100000):
        value = [value]
    return value


def nan(target):
    return {"value": float("nan")}


def cycle(target):
    value = []
    value.append(value)
    return value


def half_frame(target):
    """Writes a length and half of what it promises on every descriptor that takes it, then ends."""
    for number in range(3, 64):
        try:
            os.write(number, (1000).to_bytes(4, "little") + b'{"t":')
        except OSError:
            pass
    os._exit(0)


def forged_length(target):
    for number in range(3, 64):
        try:
            os.write(number, (0xFFFFFFFF).to_bytes(4, "little"))
        except OSError:
            pass
    time.sleep(60)


def garbage(target):
    for number in range(3, 64):
        try:
            os.write(number, (4).to_bytes(4, "little") + b"\xff\xfe\x00{")
        except OSError:
            pass
    time.sleep(60)


def open_many(target):
    held = []
    while True:
        held.append(os.open("/dev/null", os.O_RDONLY))


def raise_error(target):
    raise ValueError("wrong on purpose")


def raise_limits(target):
    resource.setrlimit(resource.RLIMIT_NOFILE, (100000, 100000))
    return True


def core_limit(target):
    return resource.getrlimit(resource.RLIMIT_CORE)[0]


class Act:
    def _run(self, act, target=""):
        return {"did": globals()[act](target)}


if __name__ == "__main__":
    print(json.dumps({"did": globals()[sys.argv[1]](sys.argv[2] if len(sys.argv) > 2 else "")}))
