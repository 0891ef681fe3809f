# SPDX-License-Identifier: GPL-2.0
# Shared by the scripts of this folder: where things are cached, how progress
# and errors are shown, and how something is made exactly once.
#
# Sourced, never run. Everything that is made lies under $CACHE, in a folder
# whose name holds a hash of what it was made from.

set -euo pipefail

TOP=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
CACHE=${RUST_URING_CACHE:-${XDG_CACHE_HOME:-${HOME:-/root}/.cache}/rust_uring}
JOBS=${JOBS:-$(nproc)}

say() { printf '\033[1m==>\033[0m %s\n' "$*" >&2; }
note() { printf '    %s\n' "$*" >&2; }

# die MESSAGE [WAY OUT ...]: every error ends with what can be done about it.
die() {
	printf '\033[1;31merror:\033[0m %s\n' "$1" >&2
	shift
	local way
	for way in "$@"; do printf '       %s\n' "$way" >&2; done
	exit 1
}

need_root() {
	[ "$(id -u)" = 0 ] && return
	die "$1 needs root (it mounts, and enters a root filesystem of its own)" \
		"run it with sudo, or as root in a container that may mount"
}

# need_space MIB WHAT: refuse before a long job rather than in its middle.
need_space() {
	mkdir -p "$CACHE" || die "cannot create $CACHE" "set RUST_URING_CACHE to a folder that can be written"
	local have
	have=$(df -Pm "$CACHE" | awk 'NR == 2 { print $4 }')
	[ "$have" -ge "$1" ] && return
	die "$2 needs about $1 MiB in $CACHE, $have MiB are free" \
		"free some space, or set RUST_URING_CACHE to a folder on a larger disk"
}

# key_of STRING...: the hash that names a cached folder.
key_of() { printf '%s\0' "$@" | sha256sum | cut -c1-12; }

# with_lock NAME COMMAND...: one at a time on this machine, whoever started it.
with_lock() {
	local name=$1
	shift
	mkdir -p "$CACHE"
	(
		if ! flock -n 9; then
			note "waiting for another run that is making $name"
			flock 9
		fi
		"$@"
	) 9>"$CACHE/.lock-$name"
}

# logged FILE COMMAND...: keep the output out of the way; on failure show its end.
logged() {
	local log=$1 start=$SECONDS status=0
	shift
	mkdir -p "$(dirname "$log")"
	"$@" >"$log" 2>&1 || status=$?
	if [ $status -ne 0 ]; then
		tail -n 30 "$log" >&2
		if grep -q 'No space left on device' "$log"; then
			die "the disk is full" "free some space, or set RUST_URING_CACHE; the job resumes"
		fi
		if grep -qE 'Could not resolve|Temporary failure resolving|Cannot initiate|Failed to fetch|Network is unreachable' "$log"; then
			die "a download failed" "is there a network, and does 'apt-get update' work? the job resumes"
		fi
		die "failed after $((SECONDS - start)) s: $*" "the whole output: $log"
	fi
}
