#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
"""Boots a guest, runs one command in it as root, and tells how it went.

The guest is started by virtme-ng from the toolchain root: its root filesystem
is that root (9p, what the guest writes is thrown away), this tree is visible
at its own path, and the --out folder is the one place where the guest writes.

Left in --out: NAME.log (the command's output), NAME.console.log (the serial
console from the first line on), NAME.dmesg (when the guest lived to write it).

Exit status: the command's own, or
  120  the guest never came up
  121  the guest panicked
  122  the guest hung: no result within --timeout, or nothing said for --silence
  123  the command succeeded, but the kernel reported a problem
"""

import argparse
import ctypes
import hashlib
import os
import pathlib
import selectors
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time

sys.dont_write_bytecode = True
import klog

NO_BOOT, PANIC, HANG, REPORT = 120, 121, 122, 123

QEMU_DIR = pathlib.Path(__file__).resolve().parent
TOP = QEMU_DIR.parent
CACHE = pathlib.Path(
    os.environ.get("RUST_URING_CACHE")
    or pathlib.Path(os.environ.get("XDG_CACHE_HOME") or pathlib.Path.home() / ".cache") / "rust_uring"
)
NMI = "NMI received for unknown reason"
HEARTBEAT = 30  # seconds of silence after which we say that we still live
# Under emulation a timer interrupt is lost now and then while the CPUs come up, and the guest sleeps for
# ever. That has nothing to do with what is run in it: it is started again.
BOOT_LIMIT = {"stock": 150}  # seconds
BOOT_LIMIT_OTHERS = 450
BOOT_TRIES = 3


def say(text):
    print(f"\033[1m==>\033[0m {text}", file=sys.stderr, flush=True)


def note(text):
    print(f"    {text}", file=sys.stderr, flush=True)


def die(text, *ways_out):
    print(f"\033[1;31merror:\033[0m {text}", file=sys.stderr)
    for way in ways_out:
        print(f"       {way}", file=sys.stderr)
    sys.exit(NO_BOOT)


def parse():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kernel", default="test", help="stock, test, or a folder made by kernel.sh")
    parser.add_argument("--cpus", type=int, default=2)
    parser.add_argument("--memory", type=int, help="MiB (default 1024; the test kernel 2048)")
    parser.add_argument("--timeout", type=int, default=600, help="seconds on the host, from start to end (0: none)")
    parser.add_argument("--silence", type=int, default=0, help="the same, from the last line of the command's output")
    parser.add_argument("--out", type=pathlib.Path, default=TOP / "build/guest")
    parser.add_argument("--name", default="guest")
    parser.add_argument("--append", default="", help="more for the kernel's command line")
    parser.add_argument("--disk", action="append", default=[], metavar="FILE", help="a raw image, as /dev/vda and so on")
    parser.add_argument(
        "--count", action="store_true", help="one emulated CPU whose clock is the instructions that it executes"
    )
    parser.add_argument("--qemu", default="", metavar="OPTIONS", help="more for QEMU's command line")
    parser.add_argument("--interactive", action="store_true", help="a shell on the console after COMMAND")
    parser.add_argument("command", nargs=argparse.REMAINDER, metavar="-- COMMAND ARGS...")
    args = parser.parse_args()
    if args.command[:1] == ["--"]:
        args.command = args.command[1:]
    if not args.command and not args.interactive:
        parser.error("there is no command to run")
    if args.count:
        args.cpus = 1
    return args


def kernel_folder(kernel):
    if kernel in ("stock", "test"):
        run = subprocess.run([QEMU_DIR / "kernel.sh", kernel], stdout=subprocess.PIPE, text=True)
        if run.returncode:
            sys.exit(NO_BOOT)
        kernel = run.stdout.splitlines()[-1]
    folder = pathlib.Path(kernel).resolve()
    if not (folder / "vmlinuz").exists():
        die(f"there is no vmlinuz in {folder}", "give --kernel stock, test, or a folder that kernel.sh made")
    return folder


def die_with_parent():
    """No guest outlives this script, however it ends."""
    ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG


def in_toolchain(command, binds, **kwargs):
    """Starts COMMAND in the toolchain root, in PID and mount namespaces that die with it."""
    env = dict(os.environ)
    env["RUST_URING_BIND"] = " ".join([env.get("RUST_URING_BIND", ""), *map(str, binds)]).strip()
    unshare = ["unshare", "--mount", "--propagation", "unchanged", "--pid", "--fork", "--kill-child=KILL", "--"]
    return subprocess.Popen(
        [QEMU_DIR / "toolchain.sh", *unshare, *command], env=env, preexec_fn=die_with_parent, **kwargs
    )


def kvm_works(folder):
    """Whether KVM carries this kernel to the point where it misses its root. A /dev/kvm alone proves nothing."""
    if not os.access("/dev/kvm", os.R_OK | os.W_OK):
        return False
    boot = pathlib.Path("/proc/sys/kernel/random/boot_id").read_text()
    key = hashlib.sha256(f"{boot}{folder}".encode()).hexdigest()[:12]
    known = CACHE / f"kvm-{key}"
    if known.exists():
        return known.read_text().strip() == "yes"
    note("trying whether KVM really works here")
    qemu = (
        "qemu-system-x86_64 -accel kvm -cpu host -smp 2 -m 512 -nographic -no-reboot -monitor none"
        f" -kernel {folder}/vmlinuz -append"
    ).split() + ["console=ttyS0 panic=-1"]
    # In the foreground of one shell: a QEMU that will not die is killed with its namespace.
    probe = in_toolchain(
        ["timeout", "-s", "KILL", "20", *qemu], [folder],
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    )
    works = b"Kernel panic - not syncing: VFS" in probe.communicate()[0]
    known.write_text("yes\n" if works else "no\n")
    return works


def guest_script(args, folder, status_file, started_file):
    """What runs in the guest around the command."""
    quote = lambda path: shlex.quote(str(path))
    command = shlex.join(args.command) or "true"
    # A tmpfs on /tmp must not hide what has to be seen there.
    keep = sorted(str(p) for p in {TOP, CACHE.resolve(), folder, args.out} if p.is_relative_to("/tmp"))
    return f"""# Made by qemu/guest.py.
[ -z "$GUEST_IS_UP" ] || return # an interactive shell's .bashrc
export GUEST_IS_UP=1
export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin HOME=/root LC_ALL=C.UTF-8 TERM=${{TERM:-linux}}
keep=({" ".join(map(quote, keep))})
for i in "${{!keep[@]}}"; do mkdir -p "/run/keep$i"; mount --rbind "${{keep[i]}}" "/run/keep$i"; done
mount -t tmpfs -o mode=1777 tmpfs /tmp
for i in "${{!keep[@]}}"; do mkdir -p "${{keep[i]}}"; mount --rbind "/run/keep$i" "${{keep[i]}}"; done
mountpoint -q /dev/pts || {{ mkdir -p /dev/pts; mount -t devpts -o gid=5,mode=620,ptmxmode=666 devpts /dev/pts; }}
mountpoint -q /sys/kernel/debug || mount -t debugfs debugfs /sys/kernel/debug
mountpoint -q /sys/kernel/tracing || mount -t tracefs tracefs /sys/kernel/tracing
sysctl -qw kernel.hung_task_panic=0 2>/dev/null
ip link set lo up 2>/dev/null
cd {quote(TOP)}
cut -d' ' -f1 /proc/uptime >{quote(started_file)}
{command} </dev/null 2>&1
status=$?
dmesg >{quote(args.out / f"{args.name}.dmesg")}
echo $status >{quote(status_file)}
"""


def vng_command(args, folder, script, monitor, kvm):
    append = [
        "ignore_loglevel",  # everything on the console: it is the log that survives a panic
        "panic=-1",  # a panic ends QEMU (with -no-reboot)
        "unknown_nmi_panic=1",  # a hung guest is asked for its backtraces with an NMI
        "panic_sys_info=locks,all_bt,blocked_tasks",
        "printk.time=1",
        # On a busy machine the watchdog of this clock is late and gives it up: all stand still for half a minute then.
        "tsc=reliable",
        # KASAN sees wild accesses when an interrupt comes while the boot CPU's features, LA57 with them, are read anew.
        "no5lvl",
        # Nobody writes to the root while the guest lives; without a cache every exec reads its file again.
        "rootflags=version=9p2000.L,trans=virtio,access=any,cache=loose,msize=262144",
        args.append,
    ]
    if args.interactive:
        append.remove("ignore_loglevel")
    if args.count:
        # What is executed is not to depend on the host's CPU.
        append.append("mitigations=off")
    qemu = ["-no-reboot", "-monitor", f"unix:{monitor},server=on,wait=off"]
    if not kvm:
        # What QEMU counts for a "rep movsb" is an instruction for each byte: it hides what is to be seen.
        qemu += ["-cpu", "max,-erms,-fsrm" if args.count else "max"]
    if args.count:
        qemu += ["-icount", "shift=0,sleep=off"]
    qemu += shlex.split(args.qemu)
    for disk in args.disk:
        qemu += ["-drive", f"if=virtio,format=raw,file={pathlib.Path(disk).resolve()}"]
    memory = args.memory or (2048 if "-test" in (folder / "release").read_text() else 1024)
    vng = ["vng", "--run", f"{folder}/vmlinuz", "--user", "root", "--force-9p", "--name", "guest"]
    vng += ["--cpus", str(args.cpus), "--memory", f"{memory}M", f"--rwdir={args.out}"]
    vng += ["--append", " ".join(append).strip(), f"--qemu-opts={shlex.join(qemu)}"]
    if not kvm:
        vng.append("--disable-kvm")
    if args.interactive:
        rc = f"busybox mount --bind {shlex.quote(str(script))} /root/.bashrc;"
        vng += ["--disable-monitor"]
    else:
        rc = ""
        vng += ["--verbose", "--exec", f"exec bash {shlex.quote(str(script))}"]
    # A machine that is its own toolchain root shares its mounts until here; a chroot does not, and refuses.
    setup = "busybox mount --make-rprivate / 2>/dev/null || true; "
    setup += f"busybox mount --bind {shlex.quote(str(QEMU_DIR / 'guest-bin'))} /usr/local/bin; {rc} cd /; exec \"$@\""
    return ["/bin/bash", "-ec", setup, "vng", *vng]


def ask_for_backtraces(monitor):
    """A last word from a guest that hangs: an NMI makes it panic with a backtrace, if it still can."""
    try:
        with socket.socket(socket.AF_UNIX) as sock:
            sock.settimeout(2)
            sock.connect(str(monitor))
            sock.sendall(b"nmi\n")
            time.sleep(0.5)
    except OSError:
        pass


def follow(guest, args, console, output, started_file, monitor):
    """Copies the guest's two streams until it ends. Returns whether it had to be killed, and whether it was up."""
    begin = last = said = time.monotonic()
    boot_limit = BOOT_LIMIT.get(args.kernel, BOOT_LIMIT_OTHERS) * (2 if args.count else 1)
    kill_at = None
    up = hung = False
    streams = selectors.DefaultSelector()
    streams.register(guest.stdout, selectors.EVENT_READ, output)
    streams.register(guest.stderr, selectors.EVENT_READ, console)
    while streams.get_map():
        for key, _ in streams.select(timeout=1):
            data = os.read(key.fd, 65536)
            if not data:
                streams.unregister(key.fileobj)
                continue
            key.data.write(data)
            key.data.flush()
            if key.data is output:
                sys.stdout.buffer.write(data)
                sys.stdout.buffer.flush()
                last = said = time.monotonic()
        now = time.monotonic()
        if not up and started_file.exists():
            up = True
            note(f"the guest is up after {now - begin:.0f} s")
            last = said = now
        if now - last > HEARTBEAT:
            note(f"{now - begin:.0f} s, {'the command runs' if up else 'the guest is booting'}")
            last = now
        if not up and now - begin > boot_limit:
            guest.kill()
            return True, False
        late = args.timeout and now - begin > args.timeout or args.silence and now - said > args.silence
        if late and not hung:
            hung = True
            note(f"nothing for {now - said:.0f} s, {now - begin:.0f} s in all: asking the guest for its backtraces")
            ask_for_backtraces(monitor)
            kill_at = now + 10
        if hung and now > kill_at:
            guest.kill()
    return hung, up or started_file.exists()


def last_words(console):
    """The panic, or else the last lines."""
    lines = console.splitlines()
    panic = next((i for i, line in enumerate(lines) if "Kernel panic - not syncing" in line), None)
    lines = lines[-25:] if panic is None else lines[max(0, panic - 5) : panic + 60]
    note("the guest's console at its end:")
    for line in lines:
        print(f"    | {line}", file=sys.stderr)


def main():
    args = parse()
    folder = kernel_folder(args.kernel)
    args.out.mkdir(parents=True, exist_ok=True)
    args.out = args.out.resolve()
    base = args.out / args.name
    console_file, output_file, dmesg_file, script, status_file, started_file = (
        base.with_name(args.name + end)
        for end in (".console.log", ".log", ".dmesg", ".sh", ".status", ".started")
    )
    for file in (console_file, output_file, dmesg_file, status_file, started_file):
        file.unlink(missing_ok=True)
    script.write_text(guest_script(args, folder, status_file, started_file))

    kvm = not args.count and kvm_works(folder)
    monitor_dir = pathlib.Path(tempfile.mkdtemp(prefix="guest-", dir=CACHE))
    monitor = monitor_dir / "monitor"
    release = (folder / "release").read_text().strip()
    say(f"booting {release} ({args.cpus} CPUs, {'KVM' if kvm else 'TCG'}): {shlex.join(args.command)}")

    begin = time.monotonic()
    binds = [folder, args.out, *{pathlib.Path(d).resolve().parent for d in args.disk}]
    command = vng_command(args, folder, script, monitor, kvm)
    if args.interactive:
        try:
            return in_toolchain(command, binds).wait()
        finally:
            shutil.rmtree(monitor_dir)
            script.unlink()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    try:
        for attempt in range(1, BOOT_TRIES + 1):
            guest = in_toolchain(
                command, binds, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE
            )
            try:
                with open(console_file, "wb") as console, open(output_file, "wb") as output:
                    hung, up = follow(guest, args, console, output, started_file, monitor)
            finally:
                guest.kill()
                guest.wait()
            if up or not hung or attempt == BOOT_TRIES:
                break
            note(f"the guest did not come up, attempt {attempt} of {BOOT_TRIES}; its console is kept beside the last one")
            console_file.rename(base.with_name(f"{args.name}.console.attempt{attempt}.log"))
            monitor.unlink(missing_ok=True)
    except KeyboardInterrupt:
        note("interrupted: the guest is stopped")
        sys.exit(130)
    finally:
        shutil.rmtree(monitor_dir)

    seconds = time.monotonic() - begin
    # What follows our NMI is our own doing.
    reports = klog.scan_files([f for f in (console_file, dmesg_file) if f.exists()], NMI if hung else None)
    text = console_file.read_text(errors="replace")
    up, finished = started_file.exists(), status_file.exists()
    status = int(status_file.read_text().strip() or 1) if finished else None
    for file in (script, status_file, started_file):
        file.unlink(missing_ok=True)

    if hung and not up:
        problem, code = f"the guest never came up in {BOOT_TRIES} attempts", NO_BOOT
    elif hung:
        problem, code = f"the guest hung, and was killed after {seconds:.0f} s", HANG
    elif "Kernel panic - not syncing" in text:
        problem, code = f"the guest panicked after {seconds:.0f} s", PANIC
    elif not up:
        problem, code = f"the guest never came up ({seconds:.0f} s)", NO_BOOT
    elif not finished:
        problem, code = f"the guest ended after {seconds:.0f} s without a result", PANIC
    elif status == 0 and reports:
        problem, code = "the kernel reported a problem", REPORT
    elif status != 0:
        problem, code = f"the command failed with status {status} after {seconds:.0f} s", status
    else:
        say(f"done in {seconds:.0f} s, nothing reported in the kernel log")
        return 0
    if not finished:
        last_words(text)
    if reports and not (code == PANIC and len(reports) == 1):
        klog.show(reports)
    print(f"\033[1;31mfailed:\033[0m {problem}", file=sys.stderr)
    note(f"the whole log: {console_file}")
    return code


if __name__ == "__main__":
    sys.exit(main())
