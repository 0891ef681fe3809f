#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
"""Measures the module beside native io_uring, and shows how they compare.

Boots a guest with Debian's stock kernel, runs bench/bench.c in it, and prints
what it found. Left in build/bench: MODE.csv, MODE.svg and MODE.png.

Modes:
  count  instructions, on one emulated CPU that counts them (the default)
  time   nanoseconds, under KVM where it works; with --here on this machine
  scale  many requests, many rings, two CPUs: nanoseconds, good for the ratio
"""

import argparse
import collections
import csv
import math
import os
import pathlib
import shutil
import statistics
import subprocess
import sys

sys.dont_write_bytecode = True

TOP = pathlib.Path(__file__).resolve().parent.parent
MODULE = TOP / "build/stock/rust_uring/rust_uring.ko"
PROGRAM = TOP / "build/selftests/bench"
UNIT = {"count": "instructions", "time": "ns", "scale": "ns"}
# Repeats, and how long each is, in the units of the clock.
LENGTH = {"count": (9, 2_000_000), "time": (30, 20_000_000), "scale": (9, 100_000_000)}
# Two-sided 95 % quantiles of Student's distribution, by degrees of freedom.
T95 = [12.71, 4.30, 3.18, 2.78, 2.57, 2.45, 2.36, 2.31, 2.26, 2.23, 2.20, 2.18, 2.16, 2.14, 2.13, 2.12, 2.11, 2.10, 2.09]
# Opcodes that are to be done without an allocation once everything is warm.
NO_ALLOCATION = ("NOP ", "READ ", "WRITE ", "poll ")


class Side:
    """A row on one backend: a cost for each repeat."""

    def __init__(self):
        self.costs = []
        self.calls = self.allocations = 0.0

    @property
    def cost(self):
        return statistics.median(self.costs)


class Row:
    def __init__(self, name, bar):
        self.name, self.bar, self.sides = name, bar, {}

    @property
    def device(self):
        return self.sides.get("device")

    @property
    def native(self):
        return self.sides.get("native") or self.sides.get("control")

    @property
    def ratio(self):
        return self.device.cost / self.native.cost if self.device and self.native else None

    def error(self, mode):
        """Half the width of what the ratio is known to: between the quartiles of its repeats, if these count
        instructions; else of the 95 % confidence interval of its mean."""
        ratios = [d / n for d, n in zip(self.device.costs, self.native.costs)]
        if len(ratios) < 2:
            return 0
        if mode == "count":
            quartiles = statistics.quantiles(ratios, n=4)
            return (quartiles[2] - quartiles[0]) / 2
        t = T95[len(ratios) - 2] if len(ratios) - 2 < len(T95) else 1.96
        return t * statistics.stdev(ratios) / math.sqrt(len(ratios))


def read(path):
    rows = collections.OrderedDict()
    with open(path, newline="") as file:
        for line in csv.DictReader(file):
            row = rows.setdefault(line["row"], Row(line["row"], float(line["bar"])))
            if int(line["repeat"]) < 0:
                continue  # it is not there
            side = row.sides.setdefault(line["backend"], Side())
            side.costs.append(float(line["cost"]))
            side.calls, side.allocations = float(line["calls"]), float(line["allocations"])
    return list(rows.values())


def number(value, digits=1):
    return "-" if value is None else f"{value:.{digits}f}"


def table(rows, mode):
    print(f"\n{UNIT[mode]}, system calls and allocations for each request, everything included\n")
    print(f"{'':96}system calls     allocations")
    head = ("device", "native", "ratio", "+-", "at most", "", "device", "native", "device", "native")
    print("{:40}{:>10}{:>10}{:>8}{:>8}{:>9} {:9}{:>9}{:>9}{:>9}{:>9}".format("", *head))
    for row in rows:
        device, native = row.device, row.native
        sides = [device, native]
        verdict = bar = ratio = error = ""
        if row.bar:
            bar = f"{row.bar:.2f}"
        if row.ratio is not None:
            ratio, error = f"{row.ratio:.3f}", f"{row.error(mode):.3f}"
            if row.bar:
                verdict = "reached" if row.ratio <= row.bar else "missed"
        elif "control" not in row.sides:
            verdict = "not there" if native else "not here"
        print(
            f"{row.name:40}{number(device and device.cost):>10}{number(native and native.cost):>10}"
            f"{ratio:>8}{error:>8}{bar:>9} {verdict:9}"
            + "".join(f"{number(s and s.calls, 3):>9}" for s in sides)
            + "".join(f"{number(s and s.allocations, 2):>9}" for s in sides)
        )


def bars(rows):
    """What was asked for, and whether it is there."""
    print("\nwhat was asked for")
    for row in rows:
        if not row.bar:
            continue
        if row.ratio is None:
            print(f"    not there  {row.name}: at most {row.bar:.2f}")
        else:
            word = "reached" if row.ratio <= row.bar else "missed"
            print(f"    {word:9}  {row.name}: {row.ratio:.3f}, at most {row.bar:.2f}")
    # A page of the request cache, or of somebody else on this machine, is no allocation of each request.
    some = [r for r in rows if r.device and r.name.startswith(NO_ALLOCATION) and round(r.device.allocations, 2) > 0]
    some = [r for r in some if "overflow" not in r.name]
    word = "missed" if some else "reached"
    print(f"    {word:9}  no allocation for a NOP, READ, WRITE, poll" + (": " if some else ""), end="")
    print(", ".join(f"{r.name} {r.device.allocations:.2f} (native {r.native.allocations:.2f})" for r in some))


def chart(file, mode, out):
    """Drawn by the system's own Python: it is the one that has the distribution's matplotlib."""
    python = "/usr/bin/python3" if os.access("/usr/bin/python3", os.X_OK) else sys.executable
    has = [python, "-c", "import matplotlib"]
    if subprocess.run(has, stderr=subprocess.DEVNULL).returncode:
        if not os.geteuid() and shutil.which("apt-get"):
            print("installing python3-matplotlib for the chart", flush=True)
            command = ["apt-get", "install", "-qq", "-y", "--no-install-recommends", "python3-matplotlib"]
            env = dict(os.environ, DEBIAN_FRONTEND="noninteractive")
            subprocess.run(command, env=env, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        if subprocess.run(has, stderr=subprocess.DEVNULL).returncode:
            print("no chart: Python has no matplotlib here (apt-get install python3-matplotlib)")
            return
    subprocess.run([python, TOP / "bench/chart.py", mode, file, out], check=True)


def measure(args, csv_file):
    repeats, length = LENGTH[args.mode]
    command = [
        "bench/run-in-guest.sh", str(MODULE), str(PROGRAM), "-m", args.mode, "-o", str(csv_file),
        "-r", str(args.repeats or repeats), "-t", str(args.length or length), *args.rows,
    ]
    if not args.here:
        guest = [TOP / "qemu/guest.py", "--kernel", "stock", "--out", csv_file.parent, "--name", args.mode]
        guest += ["--timeout", "3600", "--memory", "2048"]
        guest += ["--count"] if args.mode == "count" else ["--cpus", "2"]
        command = [*guest, "--", *command]
    return subprocess.run(command, cwd=TOP).returncode


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--mode", choices=UNIT, default="count")
    parser.add_argument("--here", action="store_true", help="run on this machine: loads the module, makes null_blks")
    parser.add_argument("--repeats", type=int)
    parser.add_argument("--length", type=int, help="of one measurement, in units of the clock")
    parser.add_argument("--show", type=pathlib.Path, help="measure nothing, show this CSV file of an earlier run")
    parser.add_argument("rows", nargs="*", help="parts of the names of those rows that are wanted")
    args = parser.parse_args()
    out = TOP / "build/bench"
    out.mkdir(parents=True, exist_ok=True)
    file = args.show or out / f"{args.mode}.csv"
    status = 0 if args.show else measure(args, file)
    if status:
        return status
    rows = read(file)
    table(rows, args.mode)
    if args.mode == "count":
        bars(rows)
    print(f"\nfigures: {file}")
    chart(file, args.mode, out)
    return 0


if __name__ == "__main__":
    sys.exit(main())
