#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
"""Sums up the results of test runs.

    ktap.py KERNEL_SOURCE FOLDER...

Each FOLDER is what selftests/run-in-guest.sh left of one guest: KTAP files, the
list "expected" of those that there must be, and "guest" with the exit status
and, on failure, the problem of the guest itself. The kernel's own KTAP parser
reads them. Every test without subtests counts as one; so does everything that
kept tests from running: a program that crashed, hung or printed no plan, a
file that is missing, a guest that failed.

The programs that took longest are named, with the time that the guest's CPUs
worked meanwhile: what waits most of its time may wait for nothing.

The last line is "N passed, N failed, N skipped".
"""

import pathlib
import re
import sys

sys.dont_write_bytecode = True

EXIT = re.compile(r"^# exit (.*)$", re.M)  # written by run-in-guest.sh behind the program's output
TOOK = re.compile(r"^# took (\d+) s, busy (\d+) s$", re.M)  # written there, too
GOOD_EXITS = ("0", "4")  # pass, skip
SLOWEST = 10  # so many programs of a guest are named


class Summary:
    def __init__(self, parser, printer):
        self.parser, self.printer = parser, printer
        self.passed, self.failed, self.skipped = 0, [], []

    def fail(self, name, why, log=()):
        self.failed.append((name, why, list(log)))

    def walk(self, test, path):
        """Counts the leaves, and a test that failed although none of its leaves did."""
        status = self.parser.TestStatus
        if test.subtests:
            before = len(self.failed)
            for sub in test.subtests:
                self.walk(sub, f"{path}.{sub.name or '(next test)'}")
            if not test.ok_status() and len(self.failed) == before:
                self.fail(path, "failed as a whole", test.log)
        elif test.status == status.SUCCESS:
            self.passed += 1
        elif test.status == status.SKIPPED:
            self.skipped.append((path, test.skip_reason or "no reason given"))
        else:
            cut = f"no result: the program crashed or was cut off (exit {self.exit})"
            why = {status.FAILURE: "failed", status.NO_TESTS: "no tests"}.get(test.status, cut)
            self.fail(path, why, test.log)

    def file(self, kernel, path):
        text = path.read_text(errors="replace")
        name, before = f"{kernel}: {path.stem}", len(self.failed)
        ended = EXIT.findall(text)
        self.exit = ended[-1] if ended else "unknown: the guest ended"
        lines = TOOK.sub("", EXIT.sub("", text)).splitlines()
        test = self.parser.parse_run_tests(lines, self.printer)
        if test.status == self.parser.TestStatus.FAILURE_TO_PARSE_TESTS:
            self.fail(name, f"no test results (exit {self.exit})", lines)
            return
        self.walk(test, name)
        if len(self.failed) > before:
            return
        if test.counts.errors:
            self.fail(name, "bad KTAP: a plan or a number does not match", lines)
        elif not re.search(r"^\s*1\.\.\d+", text, re.M):
            self.fail(name, "there is no plan", lines)
        elif not ended:
            self.fail(name, "the guest ended in the middle of it", lines)
        elif ended[-1] not in GOOD_EXITS:
            self.fail(name, f"every test passed, then the program ended with {ended[-1]}", lines)

    def folder(self, folder):
        kernel = folder.name
        files = sorted(folder.glob("*.ktap"))
        for path in files:
            self.file(kernel, path)
        expected = folder / "expected"
        if not expected.exists():
            self.fail(f"{kernel}: the whole run", "nothing was run")
            return
        names = {path.stem for path in files}
        for name in expected.read_text().split():
            # "kunit-*" stands for at least one.
            if name not in names and not (name.endswith("*") and any(n.startswith(name[:-1]) for n in names)):
                self.fail(f"{kernel}: {name}", "it did not run, or left no result")
        guest = folder / "guest"
        problem = guest.read_text().strip() if guest.exists() else "it was not started, or did not end"
        if problem != "ok":
            self.fail(f"{kernel}: the guest", problem)


def slowest(folder):
    """Tells which programs of a guest took longest."""
    took = []
    for path in folder.glob("*.ktap"):
        for seconds, busy in TOOK.findall(path.read_text(errors="replace"))[-1:]:
            took.append((int(seconds), int(busy), path.stem))
    if len(took) > SLOWEST:
        total = sum(seconds for seconds, _, _ in took)
        named = (f"{name} {seconds} s ({busy} s)" for seconds, busy, name in sorted(took, reverse=True)[:SLOWEST])
        print(f"    {len(took)} programs took {total} s; the longest (and how long the CPUs worked): {', '.join(named)}")


def main():
    source, *folders = map(pathlib.Path, sys.argv[1:])
    sys.path.insert(0, str(source / "tools/testing/kunit"))
    import kunit_parser
    from kunit_printer import null_printer

    summary = Summary(kunit_parser, null_printer)
    for folder in folders:
        before = summary.passed, len(summary.failed), len(summary.skipped)
        summary.folder(folder)
        print(f"{folder.name} kernel: {summary.passed - before[0]} passed,"
              f" {len(summary.failed) - before[1]} failed, {len(summary.skipped) - before[2]} skipped")
        slowest(folder)
    for name, why in summary.skipped:
        print(f"SKIP {name}: {why}")
    for name, why, log in summary.failed:
        print(f"FAIL {name}: {why}")
        for line in [line for line in log if line.strip()][-15:]:
            print(f"     | {line}")
    if not summary.passed and not summary.failed:
        summary.fail("everything", "no test was run")
        print("FAIL no test was run")
    print(f"{summary.passed} passed, {len(summary.failed)} failed, {len(summary.skipped)} skipped")
    return bool(summary.failed)


if __name__ == "__main__":
    sys.exit(main())
