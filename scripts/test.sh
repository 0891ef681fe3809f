#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# Runs the tests in the guests and sums them up; see "make help".
#
#   test.sh [--stress]
#
# KERNELS, TESTS, BREAK and NATIVE (see run-in-guest.sh) come from the environment,
# and so does DEADLINE: when it has to be over, as "date +%s" tells it. Programs for
# which no time is left then are skipped, and a guest that goes on is stopped.

. "$(dirname "$0")/../qemu/lib.sh"
. "$TOP/selftests/lib-ktap.sh"

KERNELS=${KERNELS:-stock test}
BREAK=${BREAK:-}
SCALE=1
GUEST_TIME=7200
[ -e "$SELFTESTS/tests.list" ] || die "there is no selftests/tests.list" "it says which programs to run, and on which kernel"
read -ra names <<<"${TESTS:-}"
if [ "${1:-}" = --stress ]; then
	# Each goes on for so many seconds, or does what it has to do so many times.
	export STRESS=${STRESS:-600}
	SCALE=20 GUEST_TIME=43200
	[ ${#names[@]} -gt 0 ] || mapfile -t names < <(long_tests)
fi

results=$TOP/build/results
folders=() guests=()

# What runs in the background does not hear an interrupt. Each guest is a process group.
stop() {
	local guest
	trap - INT TERM
	for guest in "${guests[@]}"; do kill -- "-$guest" 2>/dev/null || true; done
	wait
	exit "$1"
}

# run_guest KERNEL OUT TESTS-WITH-GUESTS-OF-THEIR-OWN...: what "list" in OUT names, and how the guest went.
run_guest() {
	local kernel=$1 out=$2 longest status=0 name left= limit=$GUEST_TIME
	shift 2
	for name in "$@"; do "$TOP/scripts/$name.sh" "$kernel" "$out"; done
	if [ ! -s "$out/list" ] && [ ${#names[@]} -gt 0 ]; then
		echo ok >"$out/guest"
		return
	fi
	# The longest a guest can be silent: its longest test, three times as long on the test kernel, and a scan for leaks.
	longest=$(awk -v scale="$SCALE" '$2 > n { n = $2 } END { print n * 3 * scale + 120 }' "$out/list")
	[ -z "$BREAK" ] || longest=120
	if [ -n "${DEADLINE:-}" ]; then
		# What is left for the guest; its start, its last program and the scans for leaks are in there.
		limit=$((DEADLINE - $(date +%s)))
		left=$((limit - 300))
		if [ "$left" -lt 60 ]; then
			while read -r name; do
				[ -z "$name" ] || [ -e "$out/$name.ktap" ] ||
					ktap_skip "$out" "${name/\*/all}" "no time was left"
			done <"$out/expected"
			echo ok >"$out/guest"
			return
		fi
	fi
	"$TOP/qemu/guest.py" --kernel "$kernel" --out "$out" --name guest --silence "$longest" --timeout "$limit" -- \
		env ${left:+TIME_LEFT="$left"} BREAK="$BREAK" BROKEN_KO="$TOP/build/broken-$kernel/broken.ko" SCALE="$SCALE" \
		${STRESS:+STRESS="$STRESS"} selftests/run-in-guest.sh \
		"$TOP/build/$kernel/rust_uring/rust_uring.ko" "$TOP/build/selftests" "$out" "${names[@]}" || status=$?
	case $status in
	0) echo ok ;;
	120) echo "it never came up" ;;
	121) echo "it panicked" ;;
	122) echo "it hung" ;;
	123) echo "its kernel log holds a report" ;;
	130 | 143) exit $status ;;
	*) echo "the runner in it ended with status $status" ;;
	esac >"$out/guest"
}

# Each has two CPUs. With less than four here they only slow each other down, and tests run into their time limits.
side_by_side=
[ "${1:-}" = --stress ] || [ "$JOBS" -lt 4 ] || [[ $KERNELS != *' '* ]] || side_by_side=yes

for kernel in $KERNELS; do
	out=$results/$kernel
	rm -rf "$out"
	mkdir -p "$out"
	list_tests "$kernel" "${names[@]}" >"$out/list"
	for name in "${names[@]}"; do
		grep -qE "^[[:space:]]*$name([[:space:]]|$)" "$SELFTESTS/tests.list" ||
			die "there is no test '$name'" "selftests/tests.list has the names for TESTS="
	done
	hosted=()
	[ -n "$BREAK" ] || mapfile -t hosted < <(host_tests "$kernel" "${names[@]}")
	if [ ! -s "$out/list" ] && [ ${#hosted[@]} -eq 0 ] && [ ${#names[@]} -gt 0 ]; then
		note "none of these is for the $kernel kernel"
		continue
	fi
	folders+=("$out")
	printf '%s\n' "${hosted[@]}" >"$out/expected"
	if [ -s "$out/list" ] || [ ${#names[@]} -eq 0 ]; then
		{
			echo module
			[ "$kernel" != test ] || echo 'kunit-*'
			[ "$BREAK" != fail ] || echo broken
			cut -d' ' -f1 "$out/list"
		} >>"$out/expected"
	fi
	if [ -n "$side_by_side" ]; then
		set -m
		{ run_guest "$kernel" "$out" "${hosted[@]}" 2>&1 | sed -u "s/^/$kernel: /"; } &
		set +m
		guests+=($!)
	else
		run_guest "$kernel" "$out" "${hosted[@]}"
	fi
done
trap 'stop 130' INT
trap 'stop 143' TERM
for guest in "${guests[@]}"; do wait "$guest" || stop $?; done
trap - INT TERM

[ ${#folders[@]} -gt 0 ] || die "no test was run" "KERNELS is '$KERNELS', TESTS is '${TESTS:-}'"
say "results (in build/results)"
status=0
python3 "$TOP/scripts/ktap.py" "$("$TOP/qemu/kernel.sh" source)" "${folders[@]}" || status=$?
exit $status
