#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# Kernels to build against and to boot.
#
#   kernel.sh source    the unpacked source of the Debian kernel chosen below
#   kernel.sh headers   its UAPI headers, for the user-space side (include/ in there)
#   kernel.sh stock     Debian's own kernel, untouched, and a tree to build modules against it
#   kernel.sh test      a kernel from the same source with every checker on
#
# A kernel's folder has its final name from the start (paths inside O/ are
# absolute) and counts only when .complete is in it; until then it is resumed.
#
# Prints a folder that holds: O/ (the tree for "make -C O M=..."), vmlinuz,
# release, and for the stock kernel lib/modules. STOCK_FLAVOUR chooses Debian's
# flavour (amd64, cloud-amd64).

. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/apt.sh"

FLAVOUR=${STOCK_FLAVOUR:-amd64}
WANT=7.3
TOOLCHAIN=$TOP/qemu/toolchain.sh

# Chooses "ABI VERSION": the newest 7.3.x of Debian 13's backports whose image,
# headers and source have one version; a later 7.x when there is no 7.3 any more.
choose() {
	local abi version series found= fallback=
	while read -r abi version; do
		series=$(cut -d. -f1,2 <<<"$abi")
		have "linux-headers-$abi-$FLAVOUR" "$version" || continue
		have "linux-binary-$abi-$FLAVOUR" "$version" || continue
		have "linux-modules-$abi-$FLAVOUR" "$version" || continue
		have "linux-headers-$abi-common" "$version" || continue
		have "linux-source-$series" "$version" || continue
		if [ "$series" = "$WANT" ]; then found="$abi $version"; break; fi
		if [ -z "$fallback" ] && dpkg --compare-versions "$series" gt "$WANT"; then fallback="$abi $version"; fi
	done < <(apt_private apt-cache dumpavail |
		awk -v f="$FLAVOUR" '/^Package: / { p = $2 } /^Version: / && p ~ "^linux-image-[0-9.]+[+]deb13-" f "$" {
			sub(/^linux-image-/, "", p); sub("-" f "$", "", p); print p, $2; p = "" }' | sort -Vr)
	if [ -z "$found" ] && [ -n "$fallback" ]; then
		say "NOTE: Debian 13's backports no longer carry Linux $WANT; taking ${fallback% *}, on which rust_uring may not build"
		found=$fallback
	fi
	[ -n "$found" ] || die "no Linux $WANT with image, headers and source of one version in $SUITE-backports" \
		"try again later (the archive may be in the middle of an update), or use KDIR= with a kernel of your own"
	echo "$found"
}

have() {
	apt_private apt-cache show "$1=$2" 2>/dev/null |
		awk -v v="$2" '/^Version: / && $2 == v { ok = 1 } END { exit !ok }'
}

# The choice is kept, so that a mirror that moves on does not rebuild everything; remove the file to choose anew.
load_choice() {
	local file=$CACHE/kernel-choice-$FLAVOUR
	if [ ! -s "$file" ]; then
		apt_setup
		choose >"$file.new"
		mv "$file.new" "$file"
	fi
	read -r ABI VERSION <"$file"
	SERIES=$(cut -d. -f1,2 <<<"$ABI")
	RELEASE=$ABI-$FLAVOUR
	SOURCE=$CACHE/source-$VERSION
	STOCK=$CACHE/stock-$RELEASE-$(key_of "$VERSION" "$("$TOOLCHAIN")" "layout 1")
	HEADERS=$CACHE/headers-$VERSION
	TEST=$CACHE/test-$ABI-$(key_of "$VERSION" "$("$TOOLCHAIN")" "$(cat "$TOP/qemu/test.config")" "layout 1")
}

# fetch PACKAGE FOLDER: unpack a package of the chosen version.
fetch() {
	local debs=$CACHE/debs deb
	mkdir -p "$debs" "$2"
	deb=$(find "$debs" -maxdepth 1 -name "$1_${VERSION/:/%3a}_*.deb" | head -n 1)
	if [ -z "$deb" ]; then
		apt_setup
		note "downloading $1"
		(cd "$debs" && logged "$CACHE/log/download-$1.log" apt_private apt-get download "$1=$VERSION")
		deb=$(find "$debs" -maxdepth 1 -name "$1_*.deb" | head -n 1)
	fi
	dpkg-deb -x "$deb" "$2"
	rm -f "$deb"
}

make_source() {
	[ -e "$SOURCE/.complete" ] && return
	need_space 3000 "the kernel source"
	say "fetching the source of Linux $ABI ($VERSION)"
	local dir=$SOURCE.partial
	rm -rf "$dir"
	fetch "linux-source-$SERIES" "$dir/deb"
	note "unpacking it"
	tar -C "$dir" -xf "$dir/deb/usr/src/linux-source-$SERIES.tar.xz"
	mv "$dir/linux-source-$SERIES" "$dir/linux"
	rm -rf "$dir/deb"
	touch "$dir/linux/.complete"
	rm -rf "$SOURCE"
	mv "$dir/linux" "$SOURCE"
	rm -rf "$dir"
}

make_headers() {
	[ -e "$HEADERS/.complete" ] && return
	say "installing the UAPI headers of Linux $ABI"
	rm -rf "$HEADERS"
	mkdir -p "$HEADERS/O"
	logged "$CACHE/log/headers.log" "$TOOLCHAIN" make -C "$SOURCE" O="$HEADERS/O" ARCH=x86 \
		INSTALL_HDR_PATH="$HEADERS" headers_install
	rm -rf "$HEADERS/O"
	touch "$HEADERS/.complete"
}

# Debian's headers carry no Rust metadata. Made again from the same source,
# configuration and compiler it is the same, crate hashes included.
make_stock() {
	[ -e "$STOCK/.complete" ] && return
	need_space 2500 "the tree of the stock kernel"
	local dir=$STOCK deb=$STOCK/deb headers
	mkdir -p "$dir/O"
	if [ ! -e "$dir/fetched" ]; then
		say "fetching Debian's kernel $RELEASE ($VERSION)"
		rm -rf "$deb"
		fetch "linux-headers-$RELEASE" "$deb"
		fetch "linux-binary-$RELEASE" "$deb"
		fetch "linux-modules-$RELEASE" "$deb"
		fetch "linux-base-$RELEASE" "$deb"
		touch "$dir/fetched"
	fi
	headers=$deb/usr/src/linux-headers-$RELEASE
	say "making the Rust metadata of $RELEASE (two minutes or so with 2 cores)"
	if [ ! -e "$dir/configured" ]; then
		cp "$headers/.config" "$headers/Module.symvers" "$dir/O/"
		[ -e "$headers/vmlinux" ] && cp "$headers/vmlinux" "$dir/O/"
		echo "+deb13-$FLAVOUR" >"$dir/O/localversion"
		logged "$CACHE/log/stock-config.log" "$TOOLCHAIN" make -C "$SOURCE" O="$dir/O" olddefconfig
		touch "$dir/configured"
	fi
	watch_build "$CACHE/log/stock-prepare.log" $$ >&2 9>&- &
	logged "$CACHE/log/stock-prepare.log" "$TOOLCHAIN" make -C "$SOURCE" O="$dir/O" -j"$JOBS" modules_prepare
	local release
	release=$(cat "$dir/O/include/config/kernel.release")
	[ "$release" = "$RELEASE" ] || die "the tree says $release, Debian's kernel says $RELEASE" "report it: kernel.sh needs a look"
	grep -q '^CONFIG_RUST=y' "$dir/O/.config" || die "CONFIG_RUST fell out of Debian's configuration" \
		"the toolchain root does not match this kernel: see $CACHE/log/stock-config.log"
	mkdir -p "$dir/lib"
	cp "$headers/.config" "$dir/config"
	local modules vmlinuz
	modules=$(find "$deb" -type d -path "*/lib/modules/$RELEASE" | head -n 1)
	vmlinuz=$(find "$deb" -name vmlinuz -o -name "vmlinuz-$RELEASE" | head -n 1)
	[ -n "$vmlinuz" ] || die "there is no vmlinuz in linux-binary-$RELEASE" "report it: Debian has moved it; kernel.sh needs a look"
	cp "$vmlinuz" "$dir/vmlinuz"
	mkdir -p "$dir/lib/modules"
	rm -rf "$dir/lib/modules/$RELEASE"
	mv "$modules" "$dir/lib/modules/$RELEASE"
	rm -f "$dir/lib/modules/$RELEASE"/{build,source}
	"$TOOLCHAIN" depmod -b "$dir" "$RELEASE" 2>/dev/null
	echo "$RELEASE" >"$dir/release"
	rm -rf "$deb"
	touch "$dir/.complete"
}

make_test() {
	[ -e "$TEST/.complete" ] && return
	need_space 6000 "the test kernel"
	local dir=$TEST
	mkdir -p "$dir/O"
	say "building the test kernel (KASAN, lockdep and the like; a quarter of an hour with 2 fast cores, it resumes)"
	if [ ! -e "$dir/configured" ]; then
		logged "$CACHE/log/test-config.log" "$TOOLCHAIN" sh -ec "
			make -C '$SOURCE' O='$dir/O' LLVM=1 tinyconfig
			cd '$dir/O'
			'$SOURCE'/scripts/kconfig/merge_config.sh -m -O . .config '$TOP/qemu/test.config'
			make -C '$SOURCE' O='$dir/O' LLVM=1 olddefconfig"
		check_fragment "$dir/O/.config"
		touch "$dir/configured"
	fi
	watch_build "$CACHE/log/test-build.log" $$ >&2 9>&- &
	logged "$CACHE/log/test-build.log" "$TOOLCHAIN" make -C "$SOURCE" O="$dir/O" LLVM=1 -j"$JOBS" bzImage modules
	logged "$CACHE/log/test-modules.log" "$TOOLCHAIN" make -C "$SOURCE" O="$dir/O" LLVM=1 \
		INSTALL_MOD_PATH="$dir" modules_install
	cp "$dir/O/arch/x86/boot/bzImage" "$dir/vmlinuz"
	cp "$dir/O/System.map" "$dir/System.map"
	cp "$dir/O/.config" "$dir/config"
	cp "$dir/O/include/config/kernel.release" "$dir/release"
	touch "$dir/.complete"
}

# A line every half minute, so that a long build is seen to move, while process $2 lives.
watch_build() {
	while sleep 30 && kill -0 "$2" 2>/dev/null; do
		note "$(wc -l <"$1" 2>/dev/null || echo 0) steps: $(tail -n 1 "$1" 2>/dev/null | cut -c1-70)"
	done
}

# Every line of the fragment must have survived Kconfig, or a checker would be missing silently.
check_fragment() {
	local line bad=0 name
	while read -r line; do
		case $line in
		CONFIG_*=y | CONFIG_*=[0-9]*)
			grep -qx "$line" "$1" || { note "not taken by Kconfig: $line"; bad=1; } ;;
		"# CONFIG_"*" is not set")
			name=${line#\# }; name=${name% is not set}
			grep -q "^$name=" "$1" && { note "still set: $name"; bad=1; } ;;
		esac
	done <"$TOP/qemu/test.config"
	[ $bad = 0 ] || die "qemu/test.config asks for what Kconfig refused" "correct the fragment: a dependency is missing"
}

main() {
	load_choice
	with_lock "source-$VERSION" make_source
	case ${1:-} in
	source) echo "$SOURCE" ;;
	headers) with_lock "headers-$VERSION" make_headers; echo "$HEADERS" ;;
	stock) with_lock "stock-$RELEASE" make_stock; echo "$STOCK" ;;
	test) with_lock "test-$ABI" make_test; echo "$TEST" ;;
	*) die "usage: kernel.sh source|headers|stock|test" ;;
	esac
}

main "$@"
