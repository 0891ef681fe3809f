#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# The toolchain root: Debian 13 with what Debian itself builds its 7.3 kernel
# with (rustc, bindgen, clang, gcc), QEMU and virtme-ng.
#
#   toolchain.sh            make it when it is missing; print where it is
#   toolchain.sh COMMAND... run a command in it, at the same paths as outside
#
# A machine that is Debian 13 and has the packages is its own root ("/").

. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/apt.sh"

PACKAGES=(
	# To build kernels and modules.
	build-essential bc bison flex libelf-dev libssl-dev kmod pahole cpio rsync
	xz-utils zstd python3 perl git ca-certificates
	rustc rust-src rustfmt rust-clippy bindgen libclang-19-dev clang lld llvm
	# To build and run guests.
	virtme-ng qemu-system-x86 busybox-static e2fsprogs iproute2 procps strace fio
	# To build the user-space side.
	cargo liburing-dev
)

ROOT_KEY=$(key_of "$SUITE" "${PACKAGES[@]}" "layout 2")
ROOT=$CACHE/root-$ROOT_KEY

machine_is_enough() {
	[ "${RUST_URING_OWN_ROOT:-}" != 1 ] || return 1
	. /etc/os-release 2>/dev/null || return 1
	[ "${VERSION_CODENAME:-}" = "$SUITE" ] || return 1
	dpkg-query -W -f '${db:Status-Status}\n' "${PACKAGES[@]}" 2>/dev/null |
		awk '$1 != "installed" { bad = 1 } END { exit bad || NR == 0 }' || return 1
	[ "$(dpkg-query -W "${PACKAGES[@]}" 2>/dev/null | wc -l)" -ge ${#PACKAGES[@]} ]
}

make_root() {
	[ -e "$ROOT/.complete" ] && return
	need_root "making the toolchain root"
	need_space 4500 "the toolchain root"
	apt_setup
	if ! command -v mmdebstrap >/dev/null; then
		say "installing mmdebstrap"
		logged "$CACHE/log/mmdebstrap-install.log" \
			sh -c 'apt-get update && DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends mmdebstrap'
	fi
	say "making the toolchain root (Debian 13, ${#PACKAGES[@]} packages and what they need; a minute or two)"
	local partial=$ROOT.partial packages
	rm -rf "$partial"
	packages=$(IFS=,; echo "${PACKAGES[*]}")
	logged "$CACHE/log/mmdebstrap.log" \
		mmdebstrap --variant=apt --mode=root --aptopt="$APT_DIR/options" \
		--setup-hook='mkdir -p "$1/etc/apt/auth.conf.d"; cp -a /etc/apt/auth.conf.d/. "$1/etc/apt/auth.conf.d/" 2>/dev/null || true' \
		--dpkgopt='path-exclude=/usr/share/doc/*' --dpkgopt='path-exclude=/usr/share/locale/*' \
		--include="$packages" "$SUITE" "$partial" "$APT_DIR/sources.list"
	touch "$partial/.complete"
	rm -rf "$ROOT"
	mv "$partial" "$ROOT"
	note "it takes $(du -sm "$ROOT" | cut -f1) MiB"
}

# Everything below happens in a mount namespace of its own: nothing stays mounted.
enter() {
	need_root "entering the toolchain root"
	local dir binds=()
	for dir in /dev /proc /sys; do binds+=("$dir"); done
	for dir in "$TOP" "$CACHE" ${RUST_URING_BIND:-}; do binds+=("$(readlink -f "$dir")"); done
	export HOME=/root LC_ALL=C.UTF-8 TMPDIR=/tmp
	unset MAKEFLAGS MAKELEVEL MFLAGS CARGO_HOME RUSTUP_HOME RUSTUP_TOOLCHAIN
	PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin \
		exec unshare --mount --propagation private -- /bin/bash -c '
		root=$1 cwd=$2 count=$3; shift 3
		mount -t tmpfs tmpfs "$root/tmp" || exit 125
		mount -t tmpfs tmpfs "$root/run" || exit 125
		while [ "$count" -gt 0 ]; do
			mkdir -p "$root$1"
			mount --rbind "$1" "$root$1" || exit 125
			count=$((count - 1)); shift
		done
		cp /etc/resolv.conf "$root/run/resolv.conf" 2>/dev/null
		exec chroot "$root" /bin/sh -c "cd \"\$0\" 2>/dev/null || cd /; exec \"\$@\"" "$cwd" "$@"
	' enter "$ROOT" "$PWD" ${#binds[@]} "${binds[@]}" "$@"
}

if machine_is_enough; then
	[ $# -eq 0 ] && { echo /; exit; }
	exec "$@"
fi
[ -e "$ROOT/.complete" ] || with_lock "root-$ROOT_KEY" make_root
[ $# -eq 0 ] && { echo "$ROOT"; exit; }
enter "$@"
