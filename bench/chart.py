#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
"""Draws what bench.py has measured.

    chart.py MODE CSV FOLDER

Writes MODE.svg and MODE.png: a bar for each row, with error bars.
"""

import pathlib
import sys

sys.dont_write_bytecode = True

import matplotlib

matplotlib.use("Agg")
from matplotlib import pyplot

from bench import UNIT, read

GOOD, BAD, ASKED = "#2a7f62", "#c0504d", "#1f3d7a"
WIDEST = 2.5


def main():
    mode, file, out = sys.argv[1], sys.argv[2], pathlib.Path(sys.argv[3])
    rows = [row for row in read(file) if row.ratio is not None]
    if not rows:
        return
    figure, axes = pyplot.subplots(figsize=(9, 1.5 + 0.24 * len(rows)))
    axes.barh(
        [row.name for row in rows],
        [row.ratio for row in rows],
        xerr=[row.error(mode) for row in rows],
        color=[GOOD if row.ratio <= (row.bar or 1) else BAD for row in rows],
        capsize=2,
        height=0.7,
    )
    axes.axvline(1, color="black", linewidth=0.8)
    asked = [(row.bar, i) for i, row in enumerate(rows) if row.bar]
    if asked:
        axes.scatter(*zip(*asked), marker="|", s=90, color=ASKED, zorder=3, label="asked for")
        axes.legend(loc="lower right", fontsize=8)
    for i, row in enumerate(rows):
        axes.text(0.01, i, f"{row.ratio:.2f}", va="center", color="white", fontsize=7)
    axes.set_ylim(len(rows) - 0.4, -0.6)
    axes.set_xlim(0, min(WIDEST, 1.15 * max(row.ratio for row in rows)))
    axes.set_xlabel(f"{UNIT[mode]} for each request, native io_uring = 1")
    axes.set_title("rust_uring beside native io_uring")
    axes.tick_params(axis="y", labelsize=8)
    figure.tight_layout()
    for kind in ("svg", "png"):
        figure.savefig(out / f"{mode}.{kind}", dpi=120)
    print(f"chart: {out / mode}.svg, {out / mode}.png")


if __name__ == "__main__":
    main()
