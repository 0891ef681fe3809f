#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# Module parameters, and loading and unloading. Reloads the module; run by run-in-guest.sh.
#
#   params.sh gates		who may open the device and set up rings
#   params.sh limits		limits, small enough to be reached
#   params.sh unload		unloading while the module is in use, or was a moment ago
#   params.sh rounds N		so many rounds of loading and unloading leave nothing behind
#
# RUST_URING_KO is the module.

PROGRAMS=${RUST_URING_PROGRAMS:-$(dirname "$RUST_URING_KO")/../../selftests}
DEVICE=/dev/rust_uring
NR=0 FAILED=0 ROUNDS=${2:-10}
# An input that never ends.
exec {never}<> <(:)
# Where everybody may look, and without what only a debugger wants.
TMP=$(mktemp -d)
chmod 755 "$TMP"
trap 'rm -rf "$TMP"' EXIT
cp "$PROGRAMS"/{attempt,limits} "$TMP" || exit 1
KO=$TMP/rust_uring.ko
objcopy --strip-debug "$RUST_URING_KO" "$KO" || exit 1

user() { setpriv --reuid 1000 --regid 1000 --clear-groups "$@"; }
member() { setpriv --reuid 1000 --regid 1000 --groups 4242 "$@"; }
attempt() { "$@" "$TMP/attempt"; }

# check NAME COMMAND...: one result; what the command prints goes with it.
check() {
	local name=$1 result=ok
	shift
	"$@" >"$TMP/output" 2>&1 || result="not ok" FAILED=1
	sed 's/^/# /' "$TMP/output"
	NR=$((NR + 1))
	echo "$result $NR $name"
}

# says EXPECTED COMMAND...
says() {
	local want=$1 is
	shift
	is=$("$@" 2>&1)
	[ "$is" = "$want" ] || echo "$*: '$is' instead of '$want'"
	[ "$is" = "$want" ]
}

# A ring that was just closed keeps the module for a moment at the most.
unload() {
	local try
	[ -e /sys/module/rust_uring ] || return 0
	for try in {1..100}; do
		rmmod rust_uring 2>/dev/null && return
		read -r -t 0.1 -u "$never"
	done
	echo "rmmod: $(rmmod rust_uring 2>&1), used $(cat /sys/module/rust_uring/refcnt) times"
	return 1
}

load() {
	unload && insmod "$KO" "$@"
}

mode() { stat -c %a "$DEVICE"; }

modes() {
	load && says 600 mode && says EACCES attempt user && says ok attempt env || return
	load mode=0640 && says 640 mode && says EACCES attempt user || return
	load mode=0666 && says 666 mode && says ok attempt user || return
	# Neither the type of the file nor a sticky bit can be asked for.
	load mode=010777 && says 777 mode
}

bad_values() {
	local arg
	unload || return
	for arg in mode=abc mode=-1 mode=70000000 disabled=x max_rings=-1 max_requests=4294967296; do
		if insmod "$KO" "$arg" 2>/dev/null; then
			echo "insmod took $arg"
			return 1
		fi
	done
	[ ! -e /sys/module/rust_uring ] && [ ! -e "$DEVICE" ]
}

unix_files() {
	unix() { "$TMP/attempt" unix; }
	load && says EBADF unix || return
	load unix_files=1 && says ok unix
}

disabled_0() {
	load mode=0666 disabled=0 && says ok attempt user && says ok attempt member
}

disabled_1() {
	load mode=0666 disabled=1 && says ok attempt env && says EPERM attempt user &&
		says EPERM attempt member
}

disabled_1_group() {
	load mode=0666 disabled=1 group=4242 && says ok attempt env && says EPERM attempt user &&
		says ok attempt member && says ok attempt setpriv --reuid 1000 --regid 4242 --clear-groups
}

# Group 0 is a group like any other.
disabled_1_group_0() {
	load mode=0666 disabled=1 group=0 && says EPERM attempt user &&
		says ok attempt setpriv --reuid 1000 --regid 0 --clear-groups
}

# The capability does, not the user id.
disabled_1_capability() {
	load mode=0666 disabled=1 && says EPERM attempt setpriv --bounding-set -sys_admin
}

disabled_2() {
	load mode=0666 disabled=2 group=4242 && says EPERM attempt env && says EPERM attempt user &&
		says EPERM attempt member
}

# What is not a value of disabled= opens nothing.
disabled_3() {
	load mode=0666 disabled=3 && says EPERM attempt env && says EPERM attempt user
}

limits() {
	load mode=0666 "${@:2}" && "$1" "$TMP/limits" && ! grep -q SKIP "$TMP/output"
}

as_root() { "$@"; }

no_rings() {
	load mode=0666 max_rings=0 && says EMFILE attempt env && says EMFILE attempt user
}

# in_use WHAT: rmmod refuses for as long as somebody has a ring or the device.
in_use() {
	local out in pid answer
	load || return
	coproc HOLD { exec "$TMP/attempt" "$1"; }
	pid=$HOLD_PID in=${HOLD[1]} out=${HOLD[0]}
	read -r -t 60 answer <&"$out"
	says ready echo "$answer" || return
	if rmmod rust_uring 2>"$TMP/rmmod"; then
		echo "rmmod did not mind"
		return 1
	fi
	grep -q "in use" "$TMP/rmmod" || { cat "$TMP/rmmod"; return 1; }
	# It still works for everybody.
	says ok attempt env || return
	exec {in}>&-
	wait "$pid"
	unload && [ ! -e "$DEVICE" ]
}

# One slab cache to a line, after those that are empty have let go of their memory.
slabs() {
	local cache
	for cache in /sys/kernel/slab/*/shrink; do
		[ -L "$(dirname "$cache")" ] || echo 1 >"$cache"
	done 2>/dev/null
	awk 'NR > 2 { print $1, $2 }' /proc/slabinfo
}

rounds() {
	local i
	for ((i = 0; i < $1; i++)); do
		load && says ok attempt env || { echo "in round $i"; return 1; }
	done
	unload
}

count() {
	slabs
	awk '/^(VmallocUsed|Percpu):/ { print $1, $2 / 4 }' /proc/meminfo
}

# grown ROUNDS BEFORE AFTER: what there is more of: an object or a page for each round.
grown() {
	awk -v rounds="$1" '
		NR == FNR { before[$1] = $2; next }
		$2 - before[$1] >= rounds { print $1 }' "$2" "$3" | sort
}

# What leaks one object in each round leaks as many in the next rounds. What the
# kernel keeps for a while (sheaves of slab caches, files and areas that are freed
# late) is another thing each time.
nothing_left() {
	local try
	rounds 5 || return
	sleep 1
	count >"$TMP/before"
	for try in 1 2 3 4; do
		rounds "$1" || return
		sleep 1
		count >"$TMP/after"
		grown "$1" "$TMP/before" "$TMP/after" >"$TMP/grown"
		if [ "$try" != 1 ]; then
			comm -12 "$TMP/suspects" "$TMP/grown" >"$TMP/both"
			mv "$TMP/both" "$TMP/grown"
		fi
		mv "$TMP/grown" "$TMP/suspects"
		echo "after $((try * $1)) rounds:" $(cat "$TMP/suspects")
		[ -s "$TMP/suspects" ] || return 0
		mv "$TMP/after" "$TMP/before"
	done
	return 1
}

# The module goes while the rings of a process that was killed are on their way down.
unload_behind_the_dead() {
	local i answer
	for ((i = 0; i < 5; i++)); do
		load || return
		exec {out}<> <(:)
		"$TMP/attempt" ring <&"$never" >&"$out" &
		read -r -t 60 -u "$out" answer
		exec {out}>&-
		says ready echo "$answer" || return
		kill -KILL $!
		wait $! 2>/dev/null
		unload || return
	done
}

echo "TAP version 13"
case $1 in
gates)
	echo "1..12"
	check "mode" modes
	check "values that are none" bad_values
	check "disabled=0" disabled_0
	check "disabled=1" disabled_1
	check "disabled=1 with a group" disabled_1_group
	check "disabled=1 with group 0" disabled_1_group_0
	check "disabled=1 and a root without the capability" disabled_1_capability
	check "disabled=2" disabled_2
	check "disabled=3" disabled_3
	check "no rings at all" no_rings
	check "registered UNIX sockets" unix_files
	;;
limits)
	echo "1..4"
	check "limits for root" limits as_root max_rings=4 max_requests=8 max_overflow=6
	check "limits for a user" limits user max_rings=4 max_requests=8 max_overflow=6
	check "the smallest limits" limits as_root max_rings=3 max_requests=1 max_overflow=1
	;;
unload)
	echo "1..5"
	check "in use by a ring" in_use ring
	check "in use by a mapping" in_use mapping
	check "in use by the device" in_use device
	check "unloaded behind the dead" unload_behind_the_dead
	;;
rounds)
	echo "1..2"
	check "$ROUNDS rounds leave nothing" nothing_left "$ROUNDS"
	;;
esac
# As run-in-guest.sh had loaded it.
unload
check "loaded again" insmod "$RUST_URING_KO"
exit "$FAILED"
