#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# Everything that can be said about the code without running it. All checks
# run, what is about the module beside what is about user space; a failing one
# is shown with its output. With --count FILE the numbers "passed failed" go there.

. "$(dirname "$0")/../qemu/lib.sh"
cd "$TOP"

toolchain=$TOP/qemu/toolchain.sh
source=$(qemu/kernel.sh source)
mkdir -p build
results=$(mktemp -d)
trap 'rm -rf "$results"' EXIT

# Each tells at once how it went: others run meanwhile.
check() {
	local name=$1 begin=$SECONDS log=$results/$BASHPID
	shift
	if "$@" >"$log" 2>&1; then
		printf '    %-44s%s\n' "$name" "ok ($((SECONDS - begin)) s)"
		echo "$name" >>"$results/passed"
	else
		printf '    %-44s%s\n%s\n' "$name" "FAILED" "$(tail -n 60 "$log")"
		echo "$name" >>"$results/failed"
	fi
}

# The output of these is a report even when all is well.
check_shown() {
	local log=$results/$BASHPID
	check "$@"
	printf '%s\n' "$(sed 's/^/        /' "$log")"
}

# checkpatch --strict. For programs without what speaks of kernel C:
#   MACRO_ARG_REUSE, MACRO_WITH_FLOW_CONTROL, MULTISTATEMENT_MACRO_USE_DO_WHILE:
#	kselftest_harness.h is such macros, and so is what is built from them
#   PREFER_KERNEL_TYPES, PREFER_DEFINED_ATTRIBUTE_MACRO, ALLOC_WITH_SIZEOF, BIT_MACRO:
#	user space has no u32, no __always_unused, no kmalloc_obj() and no BIT()
#   ARRAY_SIZE: taken for one wherever something is divided by the size of a part
#   REPEATED_WORD: "enum backend backend"
#   VOLATILE: what signal handlers write is
# Headers of tracepoints are laid out like all such headers in the kernel, which
# OPEN_ENDED_LINE and PARENTHESIS_ALIGNMENT do not know.
checkpatch() {
	local common=(perl "$source/scripts/checkpatch.pl" --strict --no-tree --no-summary --quiet --terse --show-types)
	local kernel trace user status=0
	mapfile -t kernel < <(find rust_uring include/uapi selftests/broken -name '*.[ch]' -exec grep -L TRACE_EVENT {} +)
	mapfile -t trace < <(find rust_uring -name '*.h' -exec grep -l TRACE_EVENT {} +)
	mapfile -t user < <(find selftests examples include bench selftests/clients -maxdepth 1 -name '*.[ch]' 2>/dev/null)
	if [ ${#kernel[@]} -gt 0 ]; then
		"$toolchain" "${common[@]}" --file "${kernel[@]}" || status=1
	fi
	if [ ${#trace[@]} -gt 0 ]; then
		"$toolchain" "${common[@]}" --ignore OPEN_ENDED_LINE,PARENTHESIS_ALIGNMENT --file "${trace[@]}" || status=1
	fi
	if [ ${#user[@]} -gt 0 ]; then
		"$toolchain" "${common[@]}" --ignore MACRO_ARG_REUSE,MACRO_WITH_FLOW_CONTROL \
			--ignore MULTISTATEMENT_MACRO_USE_DO_WHILE,PREFER_KERNEL_TYPES \
			--ignore PREFER_DEFINED_ATTRIBUTE_MACRO,ALLOC_WITH_SIZEOF,BIT_MACRO \
			--ignore ARRAY_SIZE,REPEATED_WORD,VOLATILE --file "${user[@]}" || status=1
	fi
	return $status
}

rustfmt_check() {
	"$toolchain" rustfmt --check --edition 2021 --config-path "$source/.rustfmt.toml" rust_uring/rust_uring_main.rs
}

tools() { scripts/build.sh tools "$@"; }

# The redirect is put into static programs: it may need nothing, and of the C library know errno only.
stands_alone() {
	local object=build/tools/libruring_redirect.so undefined
	scripts/build.sh tools || return
	undefined=$("$toolchain" nm -D --undefined-only "$object" | awk '{ print $1, $2 }')
	echo "undefined: $undefined"
	[ "$undefined" = "w __errno_location" ] && ! "$toolchain" readelf -d "$object" | grep NEEDED
}

gofmt_check() {
	local go wrong
	go=$(qemu/go.sh) && wrong=$("$toolchain" "$go/bin/gofmt" -l selftests/clients/go) || return
	echo "$wrong"
	[ -z "$wrong" ]
}

# What is installed for other people's programs, with the C library's own headers, which are older.
header_stands_alone() {
	local language
	for language in c c++; do
		"$toolchain" sh -c "echo '#include <rust_uring_calls.h>' |
			gcc -x $language -Wall -Werror -fsyntax-only -Iinclude -Iinclude/uapi -" || return
	done
}

compile_python() {
	local file
	for file in qemu/*.py scripts/*.py bench/*.py; do
		python3 -c 'import sys; compile(open(sys.argv[1]).read(), sys.argv[1], "exec")' "$file" || return
	done
}

bash_syntax() {
	local file
	for file in qemu/*.sh qemu/guest-bin/udevd scripts/*.sh selftests/*.sh bench/*.sh .ci/run; do bash -n "$file" || return; done
}

# On the kernel's build trees.
of_the_module() {
	check "rustfmt" rustfmt_check
	check "warnings are errors, stock kernel (gcc)" scripts/build.sh module stock check/stock W=e
	check "warnings are errors, test kernel (clang)" scripts/build.sh module test check/test W=e
	check "clippy" scripts/build.sh module stock check/clippy CLIPPY=1 W=e
	check_shown "the unsafe inventory" scripts/unsafe.sh
	check_shown "what there is has a test" scripts/tested.sh
	check "the programs build without warnings" scripts/build.sh programs
	check "checkpatch" checkpatch
	check "the header stands on its own" header_stands_alone
}

# With cargo, and what needs no building.
of_user_space() {
	check "rustfmt, tools" tools cargo fmt --check
	check "clippy, tools" tools cargo clippy --locked --release --workspace --all-targets --quiet -- -D warnings
	check "rustfmt, clients" scripts/build.sh clients cargo fmt --check
	check "clippy, clients" scripts/build.sh clients cargo clippy --locked --release --quiet -- -D warnings
	check "gofmt, clients" gofmt_check
	check "tests of the tools" tools cargo test --locked --release --workspace --quiet
	check "the redirect stands on its own" stands_alone
	check "shell syntax" bash_syntax
	if command -v shellcheck >/dev/null; then
		check "shellcheck" shellcheck -x -e SC1090,SC1091 qemu/*.sh qemu/guest-bin/udevd scripts/*.sh selftests/*.sh bench/*.sh .ci/run
	fi
	check "python syntax" compile_python
	check "klog.py knows its reports" python3 qemu/klog.py --self-test
}

say "checking"
of_the_module &
of_user_space
wait

touch "$results"/{passed,failed}
passed=$(wc -l <"$results/passed")
mapfile -t failed <"$results/failed"
[ "${1:-}" != --count ] || echo "$passed ${#failed[@]}" >"$2"
if [ ${#failed[@]} -gt 0 ]; then
	printf '\033[1;31mfailed:\033[0m %s\n' "${failed[@]}" >&2
	exit 1
fi
printf '\033[1;32mok:\033[0m %d checks passed\n' "$passed"
