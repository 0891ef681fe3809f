#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# Whether Documentation/abi.rst says what there is; run by run-in-guest.sh.

exec "$(dirname "$RUST_URING_KO")/../../tools/ruring" probe --check
