#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# Builds the module and the programs.
#
#   build.sh module stock|test|auto|FOLDER [OUT [MAKE ARGUMENTS]]
#   build.sh broken stock|test
#   build.sh programs
#   build.sh tools|clients [COMMAND...]
#
# "tools" builds ruring, the redirect and the examples into build/tools, "clients" the programs of
# selftests/clients/crates; with a COMMAND (cargo ...) they run it as they would.
#
# FOLDER is a kernel's build tree ("O="). auto takes the running kernel when a
# Rust module can be built for it, and Debian's stock kernel otherwise. OUT is
# below build/ and is named after the kernel when it is not given.

. "$(dirname "$0")/../qemu/lib.sh"

TOOLCHAIN=$TOP/qemu/toolchain.sh
BUILD=$TOP/build

config() { sed -n "s/^CONFIG_$2=\"\?\([^\"]*\)\"\?$/\1/p" "$1/.config"; }

fits() { grep -qs '^CONFIG_RUST=y' "$1/.config" && [ -e "$1/rust/libkernel.rmeta" ]; }

# Everything that makes a build against somebody's tree fail late and obscurely.
check_tree() {
	local tree=$1
	[ -e "$tree/.config" ] || die "$tree is not a configured kernel tree" \
		"KDIR= wants the folder with .config in it: the source, the O= folder, or /lib/modules/RELEASE/build"
	grep -q '^CONFIG_RUST=y' "$tree/.config" || die "this kernel is built without Rust (CONFIG_RUST)" \
		"build it with CONFIG_RUST=y ('make rustavailable' in its source says what is missing)," \
		"or leave KDIR= out to build for Debian's stock kernel"
	if [ ! -e "$tree/rust/libkernel.rmeta" ]; then
		case $(readlink -f "$tree") in
		/usr/src/linux-headers-*) die "Debian's kernel headers carry no Rust metadata" \
			"'make stock' makes it again, bit for bit, from Debian's source, and builds the module" ;;
		*) die "there is no Rust metadata in $tree" "run 'make modules_prepare' or the whole build there first" ;;
		esac
	fi
}

# same_tools TREE [PREFIX...]: whether the rustc and bindgen run by PREFIX are those of the tree.
same_tools() {
	local tree=$1 want
	shift
	want=$(config "$tree" RUSTC_VERSION_TEXT)
	RUSTC_HERE=$("$@" rustc --version 2>/dev/null || echo none)
	[ -z "$want" ] || [ "$RUSTC_HERE" = "$want" ] || return 1
	want=$(config "$tree" BINDGEN_VERSION_TEXT)
	BINDGEN_HERE=$("$@" bindgen --version workaround-for-0.69.0 2>/dev/null || echo none)
	[ -z "$want" ] || [ "$BINDGEN_HERE" = "$want" ]
}

# Sets PREFIX to what enters the tools that this tree was built with.
choose_tools() {
	local tree=$1 here
	if same_tools "$tree"; then
		PREFIX=()
		return
	fi
	here="$RUSTC_HERE, ${BINDGEN_HERE:-}"
	if [ "$(id -u)" = 0 ] && same_tools "$tree" "$TOOLCHAIN"; then
		PREFIX=("$TOOLCHAIN")
		return
	fi
	die "the compilers do not match the kernel's: a Rust module needs the very same" \
		"the kernel: $(config "$tree" RUSTC_VERSION_TEXT), $(config "$tree" BINDGEN_VERSION_TEXT)" \
		"this machine: $here" \
		"install the kernel's versions (or put them first in PATH), or build the kernel again with these"
}

# kbuild TREE OUT SOURCE ARGUMENTS...
kbuild() {
	local tree=$1 out=$2 source=$3 llvm=()
	shift 3
	grep -q '^CONFIG_CC_IS_CLANG=y' "$tree/.config" && llvm=(LLVM=1)
	mkdir -p "$out"
	RUST_URING_BIND="${RUST_URING_BIND:-} $tree" "${PREFIX[@]}" \
		make --no-print-directory -C "$tree" M="$source" MO="$out" -j"$JOBS" "${llvm[@]}" "$@" >&2
}

kernel_tree() { # stock|test
	local folder
	folder=$("$TOP/qemu/kernel.sh" "$1") || return
	echo "$folder/O"
}

build_module() {
	local kernel=$1 name tree
	case $kernel in
	auto)
		tree=/lib/modules/$(uname -r)/build
		if fits "$tree"; then
			build_module "$tree"
		else
			note "the running kernel ($(uname -r)) cannot take a Rust module built here; building for Debian's stock kernel"
			build_module stock
		fi
		return ;;
	stock | test)
		# It has said why not.
		tree=$(kernel_tree "$kernel") || exit
		name=$kernel PREFIX=("$TOOLCHAIN") ;;
	*)
		tree=$(readlink -f "$kernel") || die "there is no $kernel" "KDIR= wants a kernel's build tree"
		check_tree "$tree"
		choose_tools "$tree"
		name=$(cat "$tree/include/config/kernel.release")
		;;
	esac
	local out=$BUILD/${2:-$name}
	say "building rust_uring.ko for $(cat "$tree/include/config/kernel.release")"
	kbuild "$tree" "$out" "$TOP" "${@:3}" modules || die "the module does not build" "the first error above says why"
	say "built ${out#"$TOP"/}/rust_uring/rust_uring.ko"
}

build_broken() {
	local tree
	tree=$(kernel_tree "$1") || exit
	PREFIX=("$TOOLCHAIN")
	kbuild "$tree" "$BUILD/broken-$1" "$TOP/selftests/broken" modules
}

build_programs() {
	local source headers
	source=$("$TOP/qemu/kernel.sh" source) || exit
	headers=$("$TOP/qemu/kernel.sh" headers) || exit
	mkdir -p "$BUILD/selftests"
	(cd "$TOP" && "$TOOLCHAIN" make --no-print-directory -f scripts/selftests.mk -j"$JOBS" \
		SOURCE="$source" HEADERS="$headers" OUT=build/selftests >&2) ||
		die "the selftests do not build" "the first error above says why"
}

# in_cargo FOLDER TARGET COMMAND...: in the toolchain root, on the registry of this machine, with its configuration
# and its certificates.
in_cargo() {
	local folder=$1 target=$2 home=$CACHE/cargo own=${CARGO_HOME:-${HOME:-/root}/.cargo} config
	local certificates=/etc/ssl/certs/ca-certificates.crt
	local env=(CARGO_HOME="$home" CARGO_TARGET_DIR="$target" CARGO_TERM_COLOR=never)
	shift 2
	mkdir -p "$home" "$target"
	for config in config.toml config; do
		[ ! -f "$own/$config" ] || [ "$own" = "$home" ] || cp "$own/$config" "$home/config.toml"
	done
	if [ -f "$certificates" ]; then
		cp "$certificates" "$home/certificates.crt"
		env+=(CARGO_HTTP_CAINFO="$home/certificates.crt")
	fi
	(cd "$folder" && "$TOOLCHAIN" env "${env[@]}" "$@")
}

build_tools() {
	local target=$BUILD/tools/target
	if [ $# -gt 0 ]; then
		in_cargo "$TOP/tools" "$target" "$@"
		return
	fi
	[ -e "$BUILD/tools/ruring" ] || say "building ruring (a minute or two the first time)"
	in_cargo "$TOP/tools" "$target" cargo build --locked --release --bins --lib --examples --quiet >&2 ||
		die "the tools do not build" "the first error above says why; crates come from crates.io, once"
	install "$target"/release/{ruring,libruring_redirect.so,examples/nops,examples/cat} "$BUILD/tools/"
}

# The tests that come with a crate, as they are: the manifest names them.
fetch_own_tests() {
	local own
	own=$(in_cargo "$TOP/selftests/clients/crates" "$1" cargo metadata --locked --format-version 1 |
		python3 -c 'import json, os, sys
for p in json.load(sys.stdin)["packages"]:
    if p["name"] == "tokio-uring": print(os.path.dirname(p["manifest_path"]))') && [ -d "$own/tests" ] ||
		die "the crate tokio-uring has no tests" "cargo metadata in selftests/clients/crates should name its folder"
	mkdir -p "$BUILD/clients/own-tests/tokio-uring"
	cp -rup "$own"/{src,tests} "$BUILD/clients/own-tests/tokio-uring/"
}

# A program in Go: by itself, and with the C library.
build_go() {
	local root own=$TOP/selftests/clients/go out=$BUILD/clients cgo
	root=$("$TOP/qemu/go.sh") || exit
	for cgo in 0 1; do
		(cd "$own" && logged "$BUILD/go.log" "$TOOLCHAIN" env GOROOT="$root" GOCACHE="$CACHE/go-build" GOPATH="$CACHE/go" \
			GOFLAGS=-mod=mod GOPROXY=off GOTOOLCHAIN=local GOTELEMETRY=off CGO_ENABLED=$cgo \
			"$root/bin/go" build -trimpath -o "$out/$([ $cgo = 0 ] && echo go-static || echo go-cgo)" .)
	done
}

# Programs on other people's crates, and in other languages, for the redirect.
build_clients() {
	local target=$BUILD/clients/target
	fetch_own_tests "$target"
	if [ $# -gt 0 ]; then
		in_cargo "$TOP/selftests/clients/crates" "$target" "$@"
		return
	fi
	[ -e "$BUILD/clients/io-uring" ] || say "building programs on other crates, and in Go (some minutes the first time)"
	in_cargo "$TOP/selftests/clients/crates" "$target" cargo build --locked --release --quiet >&2 ||
		die "the clients do not build" "the first error above says why; crates come from crates.io, once"
	install "$target"/release/{io-uring,tokio-uring} "$BUILD/clients/"
	build_go
	in_cargo "$TOP/selftests/clients/crates" "$target" cargo test --locked --release --no-run --quiet \
		--message-format=json | python3 -c 'import json, os, shutil, sys
for line in sys.stdin:
    made = json.loads(line)
    if made.get("executable") and made["target"]["kind"] == ["test"]:
        shutil.copy(made["executable"], os.path.join(sys.argv[1], made["target"]["name"]))' "$BUILD/clients" ||
		die "the tests of tokio-uring do not build" "the first error above says why"
}

case ${1:-} in
tools) build_tools "${@:2}" ;;
clients) build_clients "${@:2}" ;;
module) build_module "${@:2}" ;;
broken) build_broken "$2" ;;
programs) build_programs ;;
*) die "usage: build.sh module|broken|programs|tools|clients ..." ;;
esac
