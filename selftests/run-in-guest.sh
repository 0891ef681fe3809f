#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# Runs the KUnit suites and the kselftests; inside the guest, as root.
#
#   run-in-guest.sh MODULE.ko PROGRAMS OUT [NAME...]
#
# PROGRAMS is the folder of the built programs; without NAMEs every test of
# tests.list for this kernel runs. OUT gets a NAME.ktap of each program,
# kunit-SUITE.ktap of each suite and module.ktap of what is checked here: that
# the module loads, is left unused by every program, unloads, and leaks nothing.
# scripts/ktap.py counts them.
#
# SCALE multiplies every time limit. BREAK=fail|kasan|panic|hang|leak does on
# purpose what must not go unnoticed (BROKEN_KO: the module that does it).
# TIME_LEFT: after so many seconds no other program is started; it counts as skipped.
#
# The stock kernel shows that the tests are right: there each runs on native
# io_uring, too. The test kernel looks for mistakes of the module, and runs its
# half only. NATIVE=1: both there, too.

. "$(dirname "$0")/lib-ktap.sh"

KO=$(readlink -f "$1")
PROGRAMS=$(readlink -f "$2")
OUT=$(readlink -f "$3")
shift 3
WANTED=("$@")

case $(uname -r) in
*-rust-uring-test) KERNEL=test SLOW=3 ;;
*) KERNEL=stock SLOW=1 ;;
esac
MODULE=rust_uring
REFCOUNT=/sys/module/$MODULE/refcnt
KMEMLEAK=/sys/kernel/debug/kmemleak

export RUST_URING_KO=$KO RUST_URING_KERNEL=$KERNEL
ulimit -c 0
ulimit -n 16384

# A pause without a fork: a process is dear under KASAN and emulation.
exec {never}<> <(:)
pause() { read -r -t "$1" -u "$never"; }

loaded() { [ -e "$REFCOUNT" ]; }

# The kernel's log says what ran when it reported something.
mark() { echo "selftest: $*" >/dev/kmsg; }

# The parameter that the module has, or is to have.
PARAMETER=-
load() {
	mark "insmod $PARAMETER"
	if [ "$PARAMETER" = - ]; then insmod "$KO"; else insmod "$KO" "$PARAMETER"; fi || return
	[ -c /dev/$MODULE ]
}

# Has the module loaded with this parameter.
load_with() {
	[ "$PARAMETER" = "$1" ] && return
	PARAMETER=$1
	rmmod "$MODULE" && load || not_left "insmod with $1 fails"
}

unused() {
	local try
	for try in {1..100}; do
		[ "$(<"$REFCOUNT")" = 0 ] && return
		pause 0.1
	done
	return 1
}

save_kunit() {
	local results suite
	for results in /sys/kernel/debug/kunit/"$MODULE"*/results; do
		[ -e "$results" ] || continue
		suite=$(basename "$(dirname "$results")")
		cat "$results" >"$OUT/kunit-$suite.ktap"
		echo "# exit 0" >>"$OUT/kunit-$suite.ktap"
	done
	compgen -G "$OUT/kunit-*.ktap" >/dev/null
}

# Sets BUSY to the hundredths of a second that the CPUs have worked since the guest began.
busy() {
	local _ user nice system idle wait irq soft
	read -r _ user nice system idle wait irq soft _ </proc/stat
	BUSY=$((user + nice + system + irq + soft))
}

# The options that keep a program from its variants on native io_uring.
without_native() {
	sed -nE 's/.*FIXTURE_VARIANT_ADD\([a-z_]+, (native[a-z_]*)\).*/-V \1/p' "$SELFTESTS"/*.[ch] | sort -u
}

# What hangs is asked where it hangs.
show_stacks() {
	local pid
	for pid in $(ps -o pid= --sid "$1"); do
		echo "# stuck: $(ps -o pid=,stat=,wchan=,args= -p "$pid")"
		sed 's/^/#    /' "/proc/$pid"/task/*/stack 2>/dev/null
	done
}

# What run_one found wrong behind a program, for the check at the end.
LEFT=()
not_left() {
	LEFT+=("$*")
	echo "FAILED: $*"
}
nothing_left() {
	[ ${#LEFT[@]} -eq 0 ] || printf '%s\n' "${LEFT[@]}"
	[ ${#LEFT[@]} -eq 0 ]
}

# run_one LABEL LIMIT COMMAND...
run_one() {
	local label=$1 limit=$2 file=$OUT/$1.ktap begin=$SECONDS status pid clock first before
	shift 2
	mark "$label begins"
	printf '%-40s ' "$label"
	if [ ! -x "$1" ]; then
		printf '# there is no program %s\n# exit 127\n' "$1" >"$file"
		echo "FAILED: there is no program $1"
		return
	fi
	busy
	before=$BUSY
	setsid "$@" </dev/null >"$file" 2>&1 &
	pid=$!
	sleep "$limit" &
	clock=$!
	{ wait -n -p first "$pid" "$clock"; } 2>/dev/null
	status=$?
	if [ "$first" = "$clock" ]; then
		show_stacks "$pid" >>"$file"
		kill -KILL -- "-$pid"
		for _ in {1..50}; do kill -0 "$pid" 2>/dev/null || break; pause 0.1; done
		kill -0 "$pid" 2>/dev/null || { wait "$pid"; } 2>/dev/null
		status="timeout after $limit s"
	else
		kill "$clock"
		{ wait "$clock"; } 2>/dev/null
	fi
	busy
	printf '# took %d s, busy %d s\n# exit %s\n' $((SECONDS - begin)) $(((BUSY - before) / 100)) "$status" >>"$file"
	mark "$label ends: $status"
	case $status in
	0 | 4) echo "ok ($((SECONDS - begin)) s)" ;;
	*)
		echo "FAILED: exit $status ($((SECONDS - begin)) s)"
		grep -vE '^(TAP|KTAP|1\.\.|ok |#  (RUN|     OK))' "$file" | tail -n 40 | sed 's/^/    /'
		;;
	esac
	# A test may have unloaded the module; the next one finds it loaded.
	if loaded; then
		unused || not_left "$label" "left the module in use"
	elif ! load; then
		not_left "$label" "left the module unloaded, and insmod fails"
	fi
}

# Leaks are seen by the second scan only, and in objects older than five seconds.
kmemleak_scan() {
	local leaks
	pause "$1"
	# It refuses when it had to give up on the way.
	echo scan >"$KMEMLEAK" && echo scan >"$KMEMLEAK" || return
	leaks=$(<"$KMEMLEAK")
	echo clear >"$KMEMLEAK"
	[ -z "$leaks" ] || echo "$leaks"
	[ -z "$leaks" ]
}

deliberate() {
	mark "on purpose: $BREAK"
	case $BREAK in
	fail) printf 'TAP version 13\n1..1\n# this test fails on purpose (BREAK=fail)\nnot ok 1 broken.fail\n# exit 1\n' >"$OUT/broken.ktap" ;;
	kasan | panic | hang | leak) insmod "$BROKEN_KO" "mode=$BREAK" ;;
	*) false ;;
	esac
}

main() {
	local label limit parameter name args program half=

	[ "$KERNEL" = stock ] || [ -n "${NATIVE:-}" ] || half=$(without_native)
	if [ "$KERNEL" = test ]; then
		echo clear >"$KMEMLEAK"
		ktap_start "$OUT/module.ktap" 6
	else
		ktap_start "$OUT/module.ktap" 3
	fi
	ktap_check "insmod makes /dev/$MODULE" load || return
	[ "$KERNEL" != test ] || ktap_check "there are KUnit suites" save_kunit
	if [ -n "${BREAK:-}" ] && ! deliberate; then
		echo "BREAK=$BREAK did not work, or is not known"
		exit 1
	fi

	while read -r label limit parameter name args; do
		# Checkers and emulation make the test kernel several times slower.
		limit=$((limit * ${SCALE:-1} * SLOW))
		if [ "$SECONDS" -ge "${TIME_LEFT:-$((SECONDS + 1))}" ]; then
			ktap_skip "$OUT" "$label" "no time was left"
			continue
		fi
		program=$PROGRAMS/$name
		if [ -e "$SELFTESTS/$name.sh" ]; then
			program=$SELFTESTS/$name.sh
		else
			args="$args $half"
		fi
		load_with "$parameter"
		# shellcheck disable=SC2086 # the arguments of a line are words
		run_one "$label" "$limit" "$program" $args
	done < <(list_tests "$KERNEL" "${WANTED[@]}")

	ktap_check "every program leaves the module unused" nothing_left
	[ "$KERNEL" != test ] || ktap_check "kmemleak finds nothing" kmemleak_scan 6
	mark "rmmod"
	ktap_check "rmmod" rmmod "$MODULE"
	[ "$KERNEL" != test ] || ktap_check "kmemleak finds nothing after rmmod" kmemleak_scan 1
	ktap_end
}

main
