#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# Builds the module for DKMS (dkms.conf).
#
#   dkms.sh KERNEL_RELEASE KERNEL_BUILD_TREE
#
# A tree with Rust metadata is used as it is. Debian's headers have none: for Debian's own kernel the metadata is
# made again from its source, as by "make stock", which takes minutes and 12 GB once.

. "$(dirname "$0")/../qemu/lib.sh"

release=$1 tree=$2
if [ -e "$tree/rust/libkernel.rmeta" ]; then
	exec "$TOP/scripts/build.sh" module "$tree" dkms
fi
stock=$("$TOP/qemu/kernel.sh" stock)
if [ "$(cat "$stock/release")" != "$release" ]; then
	die "$tree has no Rust metadata, and $release is not Debian's current 7.3 ($(cat "$stock/release"))" \
		"install Debian's newest kernel from backports, or build this one's tree with 'make modules_prepare'"
fi
exec "$TOP/scripts/build.sh" module stock dkms
