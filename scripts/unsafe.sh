#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# The inventory of unsafe Rust, and the law behind it: unsafe lives in
# rust_uring/sys/ only, every other file forbids it, and each unsafe block and
# impl has its SAFETY comment.

cd "$(dirname "$0")/.." || exit
status=0
fail() { echo "$1"; status=1; }

mapfile -t outside < <(find rust_uring -name '*.rs' ! -path 'rust_uring/sys/*' ! -name sys.rs | sort)
mapfile -t inside < <(find rust_uring/sys rust_uring/sys.rs -name '*.rs' 2>/dev/null | sort)

for file in "${outside[@]}"; do
	# The crate root cannot forbid for itself what sys, below it, needs.
	if [ "$file" != rust_uring/rust_uring_main.rs ]; then
		grep -q '^#!\[forbid(unsafe_code)\]' "$file" || fail "$file: #![forbid(unsafe_code)] is missing"
	fi
	uses=$(sed 's|//.*||' "$file" | grep -nw unsafe) && fail "$file: unsafe outside sys/: $uses"
done

# The comment stands above the statement that the block or impl begins in.
awk '
	FNR == 1 { n = 0 }
	{ line[++n] = $0 }
	{ code = $0; sub(/\/\/.*/, "", code) }
	code ~ /(^|[^a-z_])unsafe[ \t]*(\{|impl)/ {
		if (code ~ /unsafe impl/) impls++; else blocks++
		ok = 0
		for (i = n - 1; i > 0 && n - i < 40; i--) {
			if (line[i] ~ /^[ \t]*\/\/.*SAFETY/) { ok = 1; break }
			if (line[i] ~ /^[ \t]*(\/\/|#\[)/) continue
			if (line[i] ~ /[;{}][ \t]*$/ || line[i] ~ /^[ \t]*$/) break
		}
		if (!ok) { print FILENAME ":" FNR ": no SAFETY comment: " $0; bad = 1 }
	}
	code ~ /unsafe[ \t]+(extern "C" )?fn / { fns++ }
	END {
		printf "unsafe: %d blocks, %d impls, %d functions in %d lines of sys/\n", blocks, impls, fns, NR
		exit bad
	}' "${inside[@]}" /dev/null || status=1
echo "        none in the other ${#outside[@]} files ($(cat "${outside[@]}" /dev/null | wc -l) lines)"
exit $status
