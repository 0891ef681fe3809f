#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# The main job of "make run"; inside the guest, as root: a module that loads
# into the kernel as it is, a device, a ring, a million requests, a tree of files
# copied three ways, Debian's fio, and away again.
#
#   run-main-job.sh MODULE.ko PROGRAMS TOOLS

set -e
MODULE=$1 PROGRAMS=$2 TOOLS=$3
VERIFY=$(dirname "$0")/../selftests/clients/verify.fio
step() { printf '\n# %s\n' "$*"; "$@"; }

# Copies the tree and compares the sums of what arrived. Each copy begins with
# an empty cache and an empty disk, and ends when everything is on it.
copy() {
	mkfs.ext4 -q -F -E lazy_itable_init=1,lazy_journal_init=1 /dev/vdb
	mount -t ext4 /dev/vdb /mnt
	echo 3 >/proc/sys/vm/drop_caches
	"$PROGRAMS/copy" "$1" /tmp/from/tree /mnt/tree
	sync -f /mnt
	(cd /mnt && find tree -type f -print0 | sort -z | xargs -0 cksum -a crc) >/tmp/sums
	if ! cmp /tmp/sums /tmp/from/SUMS; then
		echo "what $1 copied is not what was there"
		diff /tmp/sums /tmp/from/SUMS | head
		return 1
	fi
	umount /mnt
}

# job SECTION rust_uring|native FIO-OPTIONS...: fio as Debian has it, by "ruring run" or as it is. What it writes it
# reads again, and compares checksums.
job() {
	local section=$1 way=$2 prefix=()
	shift 2
	[ "$way" = native ] || prefix=("$TOOLS/ruring" run --)
	FILE=/mnt/fio SIZE=${FIO_SIZE:-24m} "${prefix[@]}" fio --section="$section" --output-format=terse \
		--terse-version=3 "$@" "$VERIFY" >/tmp/fio.txt || { cat /tmp/fio.txt; return 1; }
	awk -F';' -v section="$section" -v way="$way" -v only="$*" '$1 == 3 {
		if ($5) exit 1
		wrote = only ? "verified what the other one wrote" : sprintf("wrote %6d KiB/s", $48)
		printf "%-12s %-10s %s, read and verified %6d KiB/s\n", section, way, wrote, $7
	}' /tmp/fio.txt
}

fio_jobs() {
	local sections=(buffered direct fixed) section
	if "$TOOLS/ruring" probe | grep -qE '^ +SQPOLL +yes'; then sections+=(sqpoll); fi
	mkfs.ext4 -q -F -E lazy_itable_init=1,lazy_journal_init=1 /dev/vdb
	mount -t ext4 /dev/vdb /mnt
	for section in "${sections[@]}"; do
		job "$section" native
		job "$section" rust_uring --verify_only
		job "$section" rust_uring
		job "$section" native --verify_only
	done
	umount /mnt
}

step uname -a
step insmod "$MODULE"
step ls -l /dev/rust_uring
step "$PROGRAMS/nops" 1000000

mkdir /tmp/from
mount -t ext4 -o ro /dev/vda /tmp/from
printf '\n# a tree of files, copied and compared by its sums\n'
for way in rust_uring io_uring plain; do copy $way; done
umount /tmp/from

printf '\n# fio, unmodified, through "ruring run" and natively\n'
fio_jobs

step rmmod rust_uring
[ ! -e /dev/rust_uring ]
