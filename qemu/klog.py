#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
"""Scans kernel logs for reports of trouble.

    klog.py FILE...      prints every report; exit status 1 when there is one
    klog.py --self-test
"""

import pathlib
import re
import sys

# Each is searched in the text of a line, behind the time stamp.
REPORTS = [
    r"^(watchdog: )?BUG:? ",  # BUG: KASAN, BUG: sleeping function, BUG kmalloc-64 (slab), soft lockup ...
    r"^kernel BUG at ",
    r"^WARNING: ",  # WARN_ON, lockdep's headlines (possible circular locking, inconsistent lock state ...)
    r"^UBSAN: ",
    r"^(Oops|int3|invalid opcode|divide error|stack segment|double fault|bounds|general protection fault)\b[:,]",
    r"\bOops(: |\[#)",
    r"unable to handle (kernel|page fault)",
    r"^(kernel|Kernel) stack overflow",
    r"^(.*: )?Kernel panic - not syncing",
    r"possible (circular|recursive) locking|possible irq lock inversion|possible deadlock",
    r"suspicious RCU usage|suspicious rcu_dereference",
    r"inconsistent lock state|inconsistent \{.*\} -> \{.*\} usage",
    r"bad (unlock balance|contention) detected",
    r"held lock freed|lock held (when returning|at task exit)|locks? held when returning",
    r"(HARDIRQ|SOFTIRQ|RECLAIM)-safe -> .*-unsafe lock order",
    r"DEBUG_LOCKS_WARN_ON|MAX_LOCK(DEP_[A-Z_]+|_DEPTH|ING_CLASS_ID)\b.*too (low|small)",
    r"Invalid wait context",
    r"sleeping function called from invalid context|scheduling while atomic|Voluntary context switch within RCU",
    r"^rcu: INFO: .*(stall|detected)|self-detected stall|rcu_\w+ kthread starved",
    r"^INFO: task .* blocked for more than|^INFO: task .* blocked on",
    r"soft lockup - CPU|hard LOCKUP|workqueue lockup",
    r"kmemleak: \d+ new suspected memory leaks|kmemleak: (Cannot|Kernel memory leak detector disabled)",
    r"^refcount_t: ",
    r"^ODEBUG: (?!selftest)",
    r"list_(add|del) corruption|list_add double|list_del, ",
    r"^(Objects remaining|Slab cache still has objects)|kmem_cache_destroy .*: Slab cache still has objects",
    r"^(cache_from_obj|kfree|kmem_cache_free): .*(wrong|mismatch|freed)",
    r"usercopy: Kernel memory (exposure|overwrite) attempt",
    r"detected buffer overflow in|memcpy: detected field-spanning",
    r"^page:?\S* .*(refcount|mapcount):|page dumped because|Bad page (state|map)|bad page ",
    r"^(vma|mm) 0*[0-9a-f]{8,} .*(start|mmap)",  # dump_vma(), dump_mm()
    r"BUG: Bad rss-counter|non-zero pgtables_bytes",
    r"^rust_kernel: panicked",
    r"unchecked MSR access error|^traps: PANIC|^PANIC: ",
    r"^sysfs: cannot create duplicate|kobject: .* tried to init an initialized object",
    r"Trying to vfree\(\) (bad|nonexistent)",
    r"^rust_uring: .*(Unknown symbol|disagrees about version)",
]

# These are reports only when nobody asked for them: fault injection says so just before, unless it has said so too
# often, and the programs that ask for it are called fault.
ALLOCATION = [
    r"page allocation failure: order",
    r"^SLUB: Unable to allocate memory",
    r"vmalloc error: size",
]
INJECTED = "FAULT_INJECTION: forcing a failure"
INJECTED_LINES = 80  # how far behind its announcement an injected failure may be reported

# Known noise, each with its reason.
ALLOWED = [
    # TCG's timers jitter; the kernel complains about the clock source, not about us.
    r"^(clocksource|tsc): ",
    # "WARNING: " from user space programs that log to kmsg.
    r"^(systemd|virtme-init|virtme)\S*: ",
    # Allocations that are made to fail are also kmemleak's; it takes the whole object then, and goes on.
    r"^kmemleak: Cannot allocate a scan area, scanning the full object",
]

REPORT = re.compile("|".join(f"(?:{p})" for p in REPORTS))
ALLOC = re.compile("|".join(f"(?:{p})" for p in ALLOCATION))
ALLOW = re.compile("|".join(f"(?:{p})" for p in ALLOWED))
STAMP = re.compile(r"^(?:<\d+>)?\[ *\d+\.\d+\](?:\[ *[TC]\d+\])? ?")

SAME = 120  # lines within which more headlines belong to the report that has begun
SHOWN = 50
END = "=" * 40  # KASAN's last line
RUNNING = re.compile(r"^selftest: (.*)")  # what run-in-guest.sh says before each program


def scan(text):
    """(line number, what ran, lines) of every report."""
    lines = [STAMP.sub("", line.rstrip("\r")) for line in text.split("\n")]
    injected = begin = None
    running = ""
    reports = []
    for number, line in enumerate(lines):
        if INJECTED in line:
            injected = number
        mark = RUNNING.search(line)
        if mark:
            running = f" ({mark[1]})"
        if ALLOW.search(line):
            continue
        if not REPORT.search(line):
            asked = running.startswith(" (fault") or injected is not None and number - injected < INJECTED_LINES
            if asked or not ALLOC.search(line):
                continue
        if begin is None or number - begin >= SAME:
            begin = number
            shown = lines[number : number + SHOWN]
            ends = [i for i, line in enumerate(shown) if line.startswith(END)]
            reports.append((number + 1, running, shown[: ends[0]] if ends else shown))
    return reports


def scan_files(files, until=None):
    """(where, lines) of every report, up to a line with UNTIL in it; what two logs of a guest both hold counts once."""
    found, seen = [], set()
    for file in files:
        text = pathlib.Path(file).read_text(errors="replace")
        for number, running, lines in scan(text.split(until)[0] if until else text):
            if lines[0] not in seen:
                seen.add(lines[0])
                found.append((f"{file}:{number}{running}", lines))
    return found


def show(reports):
    for where, lines in reports:
        print(f"kernel report at {where}:", file=sys.stderr)
        for line in lines:
            print(f"    | {line}", file=sys.stderr)


BAD = """\
BUG: KASAN: slab-use-after-free in rust_uring_poll+0x10/0x20 [rust_uring]
BUG: sleeping function called from invalid context at kernel/locking/mutex.c:283
BUG: scheduling while atomic: swapper/0/0/0x00000002
BUG kmalloc-64 (Tainted: G           O     ): Poison overwritten
BUG: unable to handle page fault for address: ffffffffffffffff
BUG: kernel NULL pointer dereference, address: 0000000000000008
BUG: workqueue lockup - pool cpus=0 node=0 flags=0x0 nice=0 stuck for 30s!
watchdog: BUG: soft lockup - CPU#1 stuck for 26s! [nops:123]
kernel BUG at mm/slub.c:500!
WARNING: CPU: 0 PID: 1 at kernel/fork.c:100 copy_process+0x1/0x2
WARNING: kernel/fork.c:100 at copy_process+0x1/0x2, CPU#0: init/1
WARNING: possible circular locking dependency detected
WARNING: suspicious RCU usage
WARNING: inconsistent lock state
WARNING: bad unlock balance detected!
WARNING: held lock freed!
UBSAN: array-index-out-of-bounds in fs/x.c:1:2
Oops: general protection fault, probably for non-canonical address 0xdffffc0000000000: 0000 [#1] SMP KASAN
general protection fault, maybe for address 0x1: 0000 [#1]
Kernel panic - not syncing: sysrq triggered crash
[ BUG: Invalid wait context ]
rcu: INFO: rcu_preempt detected stalls on CPUs/tasks:
rcu: INFO: rcu_preempt self-detected stall on CPU
INFO: task sleep:123 blocked for more than 120 seconds.
kmemleak: 3 new suspected memory leaks (see /sys/kernel/debug/kmemleak)
refcount_t: underflow; use-after-free.
ODEBUG: free active (active state 0) object: 00000000abcd object type: timer_list
list_add corruption. prev->next should be next (1), but was 2. (prev=3).
Objects remaining in rust_uring_req on __kmem_cache_shutdown()
usercopy: Kernel memory exposure attempt detected from SLUB object 'kmalloc-8' (offset 0, size 16)!
page dumped because: VM_BUG_ON_PAGE(1)
rust_kernel: panicked at library/core/src/panicking.rs:221:5:
nops: page allocation failure: order:4, mode:0xcc0(GFP_KERNEL)
"""

GOOD = """\
rust_uring: loading out-of-tree module taints kernel.
rust_uring: module verification failed: signature and/or required key missing - tainting kernel
Lock dependency validator: Copyright (c) 2006 Red Hat, Inc., Ingo Molnar
kmemleak: Kernel memory leak detector initialized (mem pool available: 15763)
kasan: KernelAddressSanitizer initialized (generic)
rcu: Hierarchical RCU implementation.
clocksource: timekeeping watchdog on CPU1: Marking clocksource 'tsc' as unstable because the skew is too large:
    # Subtest: rust_uring_index
    ok 1 no_bug_here
Freeing unused kernel image (initmem) memory: 2000K
ODEBUG: selftest passed
"""


def self_test():
    missed = [line for line in BAD.splitlines() if not scan("[    1.000001] " + line)]
    wrong = [line for line in GOOD.splitlines() if scan("[    1.000001] " + line)]
    injected = f"FAULT_INJECTION: forcing a failure.\nCall Trace:\n{BAD.splitlines()[-1]}\n"
    if scan(injected):
        wrong.append("an injected allocation failure")
    if len(scan(BAD.splitlines()[0] + "\n" * 2 * SAME + BAD.splitlines()[1])) != 2:
        wrong.append("two reports far apart")
    for line in missed:
        print(f"not noticed: {line}")
    for line in wrong:
        print(f"noticed for nothing: {line}")
    print(f"klog.py: {len(BAD.splitlines())} reports and {len(GOOD.splitlines())} harmless lines tried,"
          f" {len(missed) + len(wrong)} wrong")
    return bool(missed or wrong)


def main():
    if sys.argv[1:] == ["--self-test"]:
        return self_test()
    if len(sys.argv) < 2:
        print(__doc__, file=sys.stderr)
        return 2
    reports = scan_files(sys.argv[1:])
    show(reports)
    print(f"{len(reports)} reports in {' '.join(sys.argv[1:])}")
    return bool(reports)


if __name__ == "__main__":
    sys.exit(main())
