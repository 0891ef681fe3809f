#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# A machine crashes while programs write, and is booted again: what they were told
# to be safe is there.
#
#   crash.sh KERNEL OUT	on the host: two guests, one after the other, and OUT/crash.ktap
#   crash.sh --write MODULE PROGRAMS	in the first guest
#   crash.sh --check PROGRAMS TOLD	in the second guest

write() {
	local try
	insmod "$1" || exit
	mkfs.ext4 -q -F -E lazy_itable_init=1,lazy_journal_init=1 /dev/vda && mount -t ext4 /dev/vda /mnt || exit
	"$2/crash" write /mnt | tee /tmp/told &
	# All are under way; then at any moment.
	for try in {1..600}; do
		[ "$(grep -o '^safe [a-z-]*' /tmp/told | sort -u | wc -l)" -ge 9 ] && break
		sleep 0.2
	done
	sleep "$((RANDOM % 3)).$((RANDOM % 10))"
	# No sync, no unmount.
	echo b >/proc/sysrq-trigger
	sleep 60
}

check() {
	local status
	mount -t ext4 /dev/vda /mnt || exit
	"$1/crash" check /mnt "$2"
	status=$?
	umount /mnt
	e2fsck -fn /dev/vda || status=1
	exit $status
}

case $1 in
--write) write "${@:2}" ;;
--check) check "${@:2}" ;;
esac

. "$(dirname "$0")/../qemu/lib.sh"
kernel=$1 out=$2
work=$out/crash
mkdir -p "$work"
image=$work/disk.img
rm -f "$image"
truncate -s 256M "$image"
guest() { "$TOP/qemu/guest.py" --kernel "$kernel" --out "$work" --timeout 400 --disk "$image" "$@"; }

say "a crash while programs write"
# It ends in the middle of its work, which is no success to whoever runs guests.
guest --name crashes -- scripts/crash.sh --write "$TOP/build/$kernel/rust_uring/rust_uring.ko" "$TOP/build/selftests" \
	>"$work/crashes.said" 2>&1 || true
ktap=$out/crash.ktap
if [ -e "$work/crashes.status" ] || ! python3 "$TOP/qemu/klog.py" "$work/crashes.console.log" >"$work/reports"; then
	sed 's/^/# /' "$work/crashes.said" "$work/reports" >"$ktap"
	exit
fi
grep -a '^safe ' "$work/crashes.log" | tr -d '\r' >"$work/told"
status=0
guest --name checks -- scripts/crash.sh --check "$TOP/build/selftests" "$work/told" >"$work/checks.said" 2>&1 || status=$?
{
	grep -aE '^(TAP|1\.\.|ok |not ok |#)' "$work/checks.log" | tr -d '\r'
	echo "# exit $status"
} >"$ktap"
[ $status = 0 ] || tail -n 30 "$work/checks.said"
grep -a '^# ' "$ktap"
rm -f "$image"
