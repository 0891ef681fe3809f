#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# The disks of the main job.
#
#   disks.sh FOLDER
#
# FOLDER/source.img is an ext4 filesystem with the tree to be copied in tree/ (a
# part of the kernel's source, and one file of 1 GiB) and its sums in SUMS; it is
# made once. FOLDER/target.img is empty; a filesystem is the guest's to make.

. "$(dirname "$0")/lib.sh"

FOLDER=$1
TOOLCHAIN=$TOP/qemu/toolchain.sh
PARTS=(io_uring rust lib)

make_source() {
	local source staging=$FOLDER/staging
	[ -e "$FOLDER/source.img" ] && return
	say "making the tree for the main job"
	need_space 2500 "the tree for the main job"
	source=$("$TOP/qemu/kernel.sh" source)
	rm -rf "$staging" "$FOLDER/source.img.partial"
	mkdir -p "$staging/tree"
	(cd "$source" && cp -r "${PARTS[@]}" "$staging/tree/")
	head -c 1G /dev/urandom >"$staging/tree/large"
	(cd "$staging" && find tree -type f -print0 | sort -z | xargs -0 cksum -a crc >SUMS)
	truncate -s 1400M "$FOLDER/source.img.partial"
	RUST_URING_BIND="${RUST_URING_BIND:-} $FOLDER" "$TOOLCHAIN" \
		mkfs.ext4 -q -F -d "$staging" "$FOLDER/source.img.partial" >&2
	rm -rf "$staging"
	mv "$FOLDER/source.img.partial" "$FOLDER/source.img"
}

mkdir -p "$FOLDER"
FOLDER=$(readlink -f "$FOLDER")
make_source
rm -f "$FOLDER/target.img"
truncate -s 2G "$FOLDER/target.img"
