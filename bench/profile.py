#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
"""Shows which functions the instructions of a row are in.

    profile.py [--side native] [--lines FUNCTION] ROW

Runs the row in a counting guest with bench/profile.c as a plugin of QEMU, and prints the
instructions of each function for each request. --lines shows a function of the module by source
lines, inlined ones with it.
"""

import argparse
import bisect
import collections
import csv
import pathlib
import re
import subprocess
import sys

sys.dont_write_bytecode = True

from bench import MODULE, PROGRAM, TOP

OUT = TOP / "build/profile"
TOOLCHAIN = TOP / "qemu/toolchain.sh"


def run(*command, **kwargs):
    return subprocess.run([str(c) for c in command], cwd=TOP, check=True, **kwargs)


def measure(row, side, length):
    OUT.mkdir(parents=True, exist_ok=True)
    plugin = OUT / "profile.so"
    run(TOOLCHAIN, "gcc", "-O2", "-shared", "-fPIC", "-o", plugin.relative_to(TOP), "bench/profile.c")
    bench = f"bench/run-in-guest.sh {MODULE} {PROGRAM} -m count -r 1 -t {length} -p {side} -o {OUT}/one.csv '{row}'"
    run(
        TOP / "qemu/guest.py", "--kernel", "stock", "--count", "--out", OUT, "--name", "profile", "--timeout", "900",
        "--qemu", f"-plugin {plugin},out={OUT}/profile.txt",
        "--", "env", f"SYMBOLS={OUT}", "bash", "-c", bench,
        stdout=subprocess.DEVNULL,
    )  # fmt: skip


def requests(side):
    with open(OUT / "one.csv", newline="") as file:
        lines = [line for line in csv.DictReader(file) if line["backend"] in (side, "control")]
    names = {line["row"] for line in lines}
    if len(names) != 1:
        sys.exit(f"this is not one row: {', '.join(sorted(names)) or 'none'}")
    print(f"{names.pop()}, {side}: {float(lines[0]['cost']):.1f} instructions for each request")
    return sum(float(line["requests"]) for line in lines)


def symbols():
    found = []
    for line in open(OUT / "kallsyms"):
        fields = line.split()
        if fields[1] in "tTwW":
            found.append((int(fields[0], 16), fields[2], len(fields) > 3 and fields[3] == "[rust_uring]"))
    found.sort()
    return found


def demangle(names):
    text = run("c++filt", input="\n".join(names), stdout=subprocess.PIPE, text=True).stdout.splitlines()
    return dict(zip(names, (re.sub(r"\[[0-9a-f]{16}\]|::h[0-9a-f]{16}$", "", t) for t in text)))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--side", default="device", choices=("device", "native", "control"))
    parser.add_argument("--length", type=int, default=2_000_000)
    parser.add_argument("--lines", metavar="FUNCTION")
    parser.add_argument("--show", action="store_true", help="the last run again")
    parser.add_argument("--top", type=int, default=45)
    parser.add_argument("row")
    args = parser.parse_args()
    if not args.show:
        measure(args.row, args.side, args.length)
    nr = requests(args.side)
    table = symbols()
    starts = [s[0] for s in table]
    text = int((OUT / "text").read_text(), 16)
    totals, calls = collections.Counter(), collections.Counter()
    lines = collections.Counter()
    for line in open(OUT / "profile.txt"):
        address, hits = int(line.split()[0], 16), int(line.split()[1])
        if address < 1 << 47:
            name, mine = "(user space)", False
        else:
            i = bisect.bisect(starts, address) - 1
            name, mine = table[i][1], table[i][2]
            if address == starts[i]:
                calls[name] += hits
        totals[name] += hits
        if mine and args.lines:
            lines[(name, address - text)] += hits
    names = demangle(list(totals))
    print(f"{'instructions':>12} {'calls':>7}")
    for name, hits in totals.most_common(args.top):
        print(f"{hits / nr:12.1f} {calls[name] / nr:7.2f}  {names[name]}")
    print(f"{sum(totals.values()) / nr:12.1f}          all")
    if args.lines:
        wanted = {a: h for (n, a), h in lines.items() if args.lines in names[n]}
        command = ["addr2line", "-i", "-f", "-C", "-s", "-a", "-e", MODULE, *(hex(a) for a in sorted(wanted))]
        where, chain, address = collections.Counter(), [], None
        out = run(TOOLCHAIN, *command, stdout=subprocess.PIPE, text=True).stdout.splitlines()
        out.append("0x0")
        for entry in out:
            if entry.startswith("0x"):
                if address is not None:
                    where[" < ".join(chain[1::2])] += wanted[address]
                address, chain = int(entry, 16), []
            else:
                chain.append(entry)
        print()
        for chain, hits in where.most_common(args.top * 3):
            print(f"{hits / nr:12.2f}  {chain}")


if __name__ == "__main__":
    main()
