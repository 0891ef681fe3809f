# SPDX-License-Identifier: GPL-2.0
# Shared by the scripts around the tests: KTAP from shell, and tests.list.
#
# Sourced, never run.

SELFTESTS=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)

# ktap_start FILE TESTS; then ktap_check NAME COMMAND... for each; then ktap_end.
ktap_start() {
	KTAP_FILE=$1 KTAP_COUNT=0 KTAP_FAILED=0
	printf 'TAP version 13\n1..%d\n' "$2" >"$KTAP_FILE"
}

ktap_check() {
	local name=$1 result=ok
	shift
	"$@" >"$KTAP_FILE.part" 2>&1 || result="not ok" KTAP_FAILED=1
	head -n 200 "$KTAP_FILE.part" | sed '/^#/!s/^/# /' >>"$KTAP_FILE"
	[ "$result" = ok ] || sed 's/^/    /' "$KTAP_FILE.part"
	rm -f "$KTAP_FILE.part"
	KTAP_COUNT=$((KTAP_COUNT + 1))
	echo "$result $KTAP_COUNT $name" >>"$KTAP_FILE"
	echo "$result $name"
	[ "$result" = ok ]
}

ktap_end() { echo "# exit $KTAP_FAILED" >>"$KTAP_FILE"; }

# ktap_skip FOLDER LABEL WHY: the result of a program that was not started.
ktap_skip() {
	printf 'TAP version 13\n1..1\nok 1 %s # SKIP %s\n# exit 4\n' "$2" "$3" >"$1/$2.ktap"
	printf '%-40s skipped: %s\n' "$2" "$3"
}

# list_tests KERNEL [NAME...]: "LABEL LIMIT PARAMETER NAME ARGS..." of every test
# in tests.list that is for this kernel, or of those named. The label is the name,
# and the arguments when there are any; PARAMETER is the module's, or "-".
list_tests() {
	awk -v kernel="$1" -v wanted=" ${*:2} " '
		{ sub(/#.*/, "") }
		NF == 0 || (wanted != "  " && !index(wanted, " " $1 " ")) { next }
		{
			on = "both"; limit = 60; args = ""; parameter = "-"; label = $1
			for (i = 2; i <= NF; i++) {
				if ($i ~ /^(stock|test|both)$/) on = $i
				else if ($i == "long") continue
				else if ($i == "host") next
				else if ($i ~ /^timeout=/) limit = substr($i, 9)
				else if ($i ~ /^with=/) { parameter = substr($i, 6); label = label "-" parameter }
				else args = args " " $i
			}
			if (on != "both" && on != kernel) next
			label = label args
			gsub(/[^A-Za-z0-9_.-]+/, "-", label)
			print label, limit, parameter, $1 args
		}' "$SELFTESTS/tests.list"
}

# Those that run on the host, with guests of their own: scripts/NAME.sh KERNEL OUT.
host_tests() {
	awk -v kernel="$1" -v wanted=" ${*:2} " '
		{ sub(/#.*/, "") }
		wanted != "  " && !index(wanted, " " $1 " ") { next }
		/ host( |$)/ && (/ both( |$)/ || index($0 " ", " " kernel " ")) { print $1 }' "$SELFTESTS/tests.list"
}

# The programs that have a long version, for "make stress".
long_tests() { awk '{ sub(/#.*/, "") } / long( |$)/ { print $1 }' "$SELFTESTS/tests.list" | sort -u; }
