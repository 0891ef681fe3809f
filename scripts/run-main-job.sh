#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# The main job of "make run"; inside the guest, as root: a module that loads
# into the kernel as it is, a device, a ring, a million requests, a tree of files
# copied three ways, and away again.
#
#   run-main-job.sh MODULE.ko PROGRAMS

set -e
MODULE=$1 PROGRAMS=$2
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

step uname -a
step insmod "$MODULE"
step ls -l /dev/rust_uring
step "$PROGRAMS/nops" 1000000

mkdir /tmp/from
mount -t ext4 -o ro /dev/vda /tmp/from
printf '\n# a tree of files, copied and compared by its sums\n'
for way in rust_uring io_uring plain; do copy $way; done
umount /tmp/from

step rmmod rust_uring
[ ! -e /dev/rust_uring ]
