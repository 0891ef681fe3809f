#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# Unmodified programs on the device, by "ruring run"; run by run-in-guest.sh.
#
#   redirect.sh dynamic|static	what programs do that could lose the redirect (clients/redirect.c)
#   redirect.sh tool		ruring itself: what it says, and what it returns
#   redirect.sh clients		programs on liburing, on the crates io-uring and tokio-uring, and in Go
#   redirect.sh fio [SIZE]	Debian's fio: written here and verified natively, and the other way round
#
# RUST_URING_KO is the module.

BUILD=$(dirname "$RUST_URING_KO")/../..
PROGRAMS=$BUILD/selftests
RURING=$BUILD/tools/ruring
HERE=$(cd "$(dirname "$0")" && pwd)
NR=0 FAILED=0
TMP=$(mktemp -d)
trap 'cd /; umount "$TMP/disk" 2>/dev/null; rm -rf "$TMP"' EXIT

# check NAME COMMAND...: one result; what the command prints goes with it.
check() {
	local name=$1 result=ok
	shift
	"$@" >"$TMP/output" 2>&1 || result="not ok" FAILED=1
	sed 's/^/# /' "$TMP/output"
	NR=$((NR + 1))
	echo "$result $NR $name"
}

skip() {
	NR=$((NR + 1))
	echo "ok $NR $1 # SKIP $2"
}

plan() { printf 'TAP version 13\n1..%d\n' "$1"; }

run() { "$RURING" run "$@"; }

# returns STATUS COMMAND...
returns() {
	local want=$1 status=0
	shift
	"$@" || status=$?
	[ $status = "$want" ] || { echo "it returned $status"; false; }
}

# says TEXT COMMAND...
says() {
	local want=$1 output
	shift
	output=$("$@" 2>&1) || true
	grep -qF -- "$want" <<<"$output" || { echo "$output"; false; }
}

copies() {
	local way=$1
	head -c 300001 /dev/urandom >"$TMP/from"
	rm -rf "$TMP/tree" "$TMP/copy"
	mkdir -p "$TMP/tree/folder/empty"
	cp "$TMP/from" "$TMP/tree/folder/file"
	ln -s folder/file "$TMP/tree/link"
	: >"$TMP/tree/nothing"
	chmod 640 "$TMP/tree/nothing"
	# shellcheck disable=SC2086 # no word or one
	"$RURING" cp $way -r "$TMP/tree" "$TMP/copy" && diff -r "$TMP/tree" "$TMP/copy" &&
		[ "$(stat -c %a "$TMP/copy/nothing")" = 640 ] && [ -L "$TMP/copy/link" ]
}

without_device() {
	local program=$PROGRAMS/clients/liburing
	head -c 10000 /dev/urandom >"$TMP/from"
	says "[io_uring]" run --device /dev/nothing --native-fallback -- "$program" "$TMP/from" "$TMP/to" &&
		returns 125 run --device /dev/nothing -- "$program" "$TMP/from" "$TMP/to"
}

# as_user GROUP COMMAND...: as a user who is nobody but a member of that group
as_user() {
	local group=$1
	shift
	setpriv --reuid 65534 --regid 65534 --groups "$group" --inh-caps=-all --no-new-privs "$@"
}

# Who may use it is the node's affair.
users() {
	local node=/dev/rust_uring was
	was=$(stat -c '%g %a' $node)
	mkdir -m 777 "$TMP/user"
	chmod 755 "$TMP"
	cp "$RURING" "$(dirname "$RURING")/libruring_redirect.so" "$PROGRAMS/clients/liburing" "$TMP/user"
	head -c 100001 /dev/urandom >"$TMP/user/from"
	chmod 644 "$TMP/user/from"
	set -- "$TMP/user/ruring" run -- "$TMP/user/liburing" "$TMP/user/from" "$TMP/user/to"
	chgrp 4711 $node
	chmod 660 $node
	local result=0
	says "[rust_uring]" as_user 4711 "$@" && cmp "$TMP/user/from" "$TMP/user/to" &&
		returns 125 as_user 4712 "$@" || result=1
	chgrp "${was% *}" $node
	chmod "${was#* }" $node
	return $result
}

tool() {
	plan 15
	check "the exit status is the program's" returns 7 run -- sh -c 'exit 7'
	check "with --stats, too" returns 7 run --stats -- sh -c 'exit 7'
	# shellcheck disable=SC2016 # it is for the inner shell
	check "so is the signal" returns 137 run --stats -- sh -c 'kill -KILL $$'
	check "no more signals are ignored" says "$(grep SigIgn /proc/self/status)" run -- grep SigIgn /proc/self/status
	check "no such program" returns 127 run -- /nonexistent
	check "no program" returns 126 run -- /dev/null
	check "--stats counts" says "enter                 0" run --stats -- true
	check "--trace decodes" says "io_uring_enter(" run --trace -- "$PROGRAMS/clients/redirect" -t inline_assembly
	check "--trace tells the way" says "<trap," run --trace -- "$PROGRAMS/clients/redirect" -t inline_assembly
	check "--trace --output" run --trace --output "$TMP/trace" -- "$PROGRAMS/clients/redirect" -t inline_assembly
	check "the trace is there" grep -q io_uring_setup "$TMP/trace"
	check "without the device" without_device
	check "users who may, and who may not" users
	check "cp" copies ""
	check "cp --native" copies --native
}

liburing() {
	head -c 500001 /dev/urandom >"$TMP/from"
	says "[rust_uring]" run -- "$PROGRAMS/clients/liburing" "$TMP/from" "$TMP/to" && cmp "$TMP/from" "$TMP/to"
}

# client NAME: it tells what its ring is.
client() { says "[rust_uring]" run -- "$BUILD/clients/$1" "$TMP"; }

# The same natively: a program that fails there says nothing about us.
native() { says "[io_uring]" "$BUILD/clients/$1" "$TMP"; }

# ext4_disk MIB: an ext4 of that size as $TMP/disk
ext4_disk() {
	mkdir "$TMP/disk"
	truncate -s "$1m" "$TMP/image"
	mkfs.ext4 -q "$TMP/image"
	mount -t ext4 -o loop "$TMP/image" "$TMP/disk" || exit 1
}

# own_tests NAME [OPTIONS]: a crate's own tests, natively and redirected
own_tests() {
	local program=$BUILD/clients/$1
	shift
	TMPDIR=$TMP/disk "$program" --test-threads 1 "$@" && TMPDIR=$TMP/disk run -- "$program" --test-threads 1 "$@"
}

clients() {
	local name
	plan 14
	check "liburing" liburing
	ext4_disk 160
	for name in buf driver fixed-buf fs-file runtime; do
		# There is no RENAMEAT, and none of what fs-directory is about.
		check "tokio-uring's own tests: $name" own_tests "tokio-uring-$name" --skip rename
	done
	for name in io-uring tokio-uring; do
		check "the crate $name, natively" native "$name"
		check "the crate $name" client "$name"
	done
	# The one has system calls and threads of its own, the other the C library's.
	for name in go-static go-cgo; do
		check "$name, natively" native "$name"
		check "$name" client "$name"
	done
}

# job SECTION HOW FIO-OPTIONS...
job() {
	local section=$1 how=$2
	shift 2
	if [ "$how" = rust_uring ]; then set -- "$RURING" run -- fio "$@"; else set -- fio "$@"; fi
	FILE=$TMP/disk/file SIZE=$SIZE "$@" --section="$section" --output="$TMP/fio.txt" "$HERE/clients/verify.fio"
	local status=$?
	grep -E 'IOPS=|err=|verify|fio:' "$TMP/fio.txt"
	return $status
}

# What one of them has written is what the other one reads.
both_ways() {
	job "$1" rust_uring && job "$1" native --verify_only && job "$1" native && job "$1" rust_uring --verify_only
}

# That the checksums are looked at: a byte that changes is found.
finds_changes() {
	job direct rust_uring || return
	printf '\x5a\xa5' | dd of="$TMP/disk/file" bs=1 seek=70000 conv=notrunc status=none
	sync -f "$TMP/disk"
	! job direct rust_uring --verify_only
}

fio_jobs() {
	local section
	SIZE=$1
	ext4_disk "$((${SIZE%m} + 16))"
	plan 5
	for section in buffered fixed nonvectored; do check "fio, $section" both_ways "$section"; done
	if "$RURING" probe | grep -qE '^ +SQPOLL +yes'; then
		check "fio, sqpoll" both_ways sqpoll
	else
		skip "fio, sqpoll" "there is no SQPOLL yet"
	fi
	check "fio finds what was changed" finds_changes
}

case $1 in
dynamic) exec "$RURING" run -- "$PROGRAMS/clients/redirect" ;;
static) exec "$RURING" run -- "$PROGRAMS/clients/redirect-static" ;;
tool) tool ;;
clients) clients ;;
fio) fio_jobs "${2:-3m}" ;;
*) exit 2 ;;
esac
exit $FAILED
