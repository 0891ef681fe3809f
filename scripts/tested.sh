#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# Whether every flag, feature, opcode and command of io_uring that the module's code
# names is named by a test, too. What all tests share does not count.

. "$(dirname "$0")/../qemu/lib.sh"
cd "$TOP"

# No test names it: which bits of an offset it covers is tried by offsets on both sides of it.
EXEMPT="IORING_OFF_MMAP_MASK"

mapfile -t tests < <(find selftests -maxdepth 1 -name '*.[ch]' ! -name uring.h)
# "c::IORING_ENTER_GETEVENTS"; bindgen puts the name of the enum before that of a constant. Flags of SQEs are
# named by their bits.
mapfile -t names < <(grep -rohE '\bc::([a-z_]+_)?IO[A-Z0-9_]+\b' rust_uring --include='*.rs' |
	sed -E 's/^c::([a-z_]+_)?//; s/^(IOSQE_.*)_BIT$/\1/' | sort -u)

mapfile -t untested < <(printf '%s\n' "${names[@]}" $EXEMPT |
	grep -vxFf <(grep -ohE '\bIO[A-Z0-9_]+\b' "${tests[@]}" | sort -u; printf '%s\n' $EXEMPT))
echo "${#names[@]} names in the module, ${#untested[@]} of them in no test"
[ ${#untested[@]} -eq 0 ] || printf '    %s\n' "${untested[@]}"
[ ${#names[@]} -gt 150 ] && [ ${#untested[@]} -eq 0 ]
