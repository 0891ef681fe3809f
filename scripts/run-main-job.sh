#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# The main job of "make run"; inside the guest, as root: a module that loads
# into the kernel as it is, a device, a ring, a million requests, and away again.
#
#   run-main-job.sh MODULE.ko PROGRAMS

set -e
step() { printf '\n# %s\n' "$*"; "$@"; }

step uname -a
step insmod "$1"
step ls -l /dev/rust_uring
step "$2/nops" 1000000
step rmmod rust_uring
[ ! -e /dev/rust_uring ]
