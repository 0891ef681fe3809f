#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# Debian 13's Go, beside the toolchain root: only programs of the tests are written in it.
#
#   go.sh    fetch it when it is missing; print where it is (GOROOT)

. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/apt.sh"

NAME=golang-1.24
GO=$CACHE/$NAME

make_go() {
	[ -e "$GO/.complete" ] && return
	need_space 400 "Go"
	apt_setup
	say "fetching Debian's $NAME"
	rm -rf "$GO"
	mkdir -p "$GO/debs"
	(cd "$GO/debs" && logged "$CACHE/log/download-$NAME.log" apt_private apt-get download "$NAME-go" "$NAME-src")
	local deb
	for deb in "$GO"/debs/*.deb; do dpkg-deb -x "$deb" "$GO"; done
	rm -rf "$GO/debs"
	touch "$GO/.complete"
}

with_lock "$NAME" make_go
# In the package they are links from one folder of /usr to another.
echo "$GO/usr/lib/go-${NAME#golang-}"
