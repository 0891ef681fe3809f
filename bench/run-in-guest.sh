#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# Runs the benchmark; inside the guest (or on a machine that is for it), as root.
#
#   run-in-guest.sh MODULE.ko BENCH ARGUMENTS...
#
# Makes the files that the rows are about: a tmpfs, an ext4 on a null_blk that
# keeps its data, and two null_blks that keep nothing, one of them with queues
# that are polled. With SYMBOLS=FOLDER in the environment where the kernel's and
# the module's functions lie is left there.

set -e
KO=$1 BENCH=$2
shift 2
FILES=/tmp/bench
NULLB=/sys/kernel/config/nullb

null_blk() { # NAME ATTRIBUTE=VALUE...
	local name=$1 attribute
	shift
	mkdir "$NULLB/bench_$name"
	for attribute in "$@" power=1; do
		echo "${attribute#*=}" >"$NULLB/bench_$name/${attribute%=*}"
	done
	for _ in {1..100}; do
		[ -b "/dev/bench_$name" ] && return
		sleep 0.1
	done
	echo "there is no /dev/bench_$name"
	return 1
}

clean_up() {
	set +e
	umount "$FILES/ext4" "$FILES"
	for device in "$NULLB"/bench_*; do
		echo 0 >"$device/power"
		rmdir "$device"
	done
	rmmod rust_uring
}

insmod "$KO" mode=0666
trap clean_up EXIT
if [ -n "${SYMBOLS:-}" ]; then
	cat /proc/kallsyms >"$SYMBOLS/kallsyms"
	cat /sys/module/rust_uring/sections/.text >"$SYMBOLS/text"
fi
modprobe -q null_blk nr_devices=0
modprobe -q ext4
mountpoint -q /sys/kernel/config || mount -t configfs configfs /sys/kernel/config
null_blk data memory_backed=1 size=64 blocksize=4096
null_blk direct size=64 blocksize=512
null_blk polled size=64 blocksize=512 submit_queues=1 poll_queues=1

mkdir -p "$FILES"
mount -t tmpfs bench "$FILES"
mkdir "$FILES/ext4"
mkfs.ext4 -q -F -E lazy_itable_init=0,lazy_journal_init=0 /dev/bench_data
mount -t ext4 /dev/bench_data "$FILES/ext4"
head -c 512K /dev/zero >"$FILES/tmpfs"
head -c 512K /dev/zero >"$FILES/ext4/file"
ln -s /dev/bench_direct "$FILES/null"
ln -s /dev/bench_polled "$FILES/null_poll"
sync -f "$FILES/ext4"
# Nothing is written back while something is measured.
sysctl -qw vm.dirty_writeback_centisecs=0 kernel.randomize_va_space=0
ulimit -n 4096
sleep 10
"$BENCH" -d "$FILES" "$@"
