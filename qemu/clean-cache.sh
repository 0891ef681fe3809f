#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# Removes what the scripts of this folder have cached, and nothing else there.

. "$(dirname "$0")/lib.sh"

[ -d "$CACHE" ] || exit 0
say "removing the cache in $CACHE"
for item in "$CACHE"/{apt,cargo,debs,go,go-build,golang-*,log,root-*,source-*,headers-*,stock-*,test-*,guest-*,kernel-choice-*,kvm-*,.lock-*}; do
	if [ -e "$item" ]; then rm -rf --one-file-system "$item"; fi
done
rmdir --ignore-fail-on-non-empty "$CACHE"
