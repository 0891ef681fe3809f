# SPDX-License-Identifier: GPL-2.0
# An apt of our own beside the machine's: Debian 13 and its backports from the
# mirror that the machine is configured with, whatever release that runs.
#
# Sourced after lib.sh.

SUITE=trixie

# One deb822 or one-line source after another, "URI signed-by" for each that
# serves Debian's own main archive (not security, not third parties).
debian_mirrors() {
	local file
	for file in /etc/apt/sources.list.d/*.sources; do
		[ -f "$file" ] || continue
		awk 'BEGIN { RS = ""; FS = "\n" }
		{
			uri = ""; suites = ""; key = "-"; on = 1; deb = 0
			for (i = 1; i <= NF; i++) {
				if ($i ~ /^#/) continue
				split($i, kv, /:[ \t]*/); v = substr($i, length(kv[1]) + 2); sub(/^[ \t]+/, "", v)
				k = tolower(kv[1])
				if (k == "uris") uri = v
				if (k == "suites") suites = v
				if (k == "types" && v ~ /(^| )deb( |$)/) deb = 1
				if (k == "signed-by" && v ~ /^\//) key = v
				if (k == "enabled" && tolower(v) == "no") on = 0
			}
			if (on && deb && suites ~ /(^| )(bullseye|bookworm|trixie|forky|sid|stable|testing|unstable)( |$)/) {
				split(uri, u, /[ \t]+/); print u[1], key
			}
		}' "$file"
	done
	cat /etc/apt/sources.list /etc/apt/sources.list.d/*.list 2>/dev/null |
		sed -nE 's/^deb[ \t]+(\[[^]]*\][ \t]+)?([^ \t]+)[ \t]+(bullseye|bookworm|trixie|forky|sid|stable|testing|unstable)[ \t].*/\2 -/p' || true
}

# Writes the sources of Debian 13 with backports, in the machine's own terms.
write_sources() {
	local uri key opt=
	read -r uri key < <(debian_mirrors | head -n 1) || true
	[ -n "${uri:-}" ] || die "no Debian mirror in this machine's apt configuration" \
		"add one (deb <mirror> $SUITE main) to /etc/apt/sources.list; a non-Debian machine can build with KDIR= only"
	if [ "$key" = - ]; then key=/usr/share/keyrings/debian-archive-keyring.gpg; fi
	[ -f "$key" ] && opt="[signed-by=$key] "
	local suite
	for suite in "$SUITE" "$SUITE-updates" "$SUITE-backports"; do
		echo "deb ${opt}${uri} $suite main"
	done
}

APT_DIR=$CACHE/apt

# What the machine says about proxies, time-outs and the like holds for us too.
apt_options() { apt-config dump | grep -E '^Acquire::' | grep -vE '^Acquire::(IndexTargets|Languages|GzipIndexes)' || true; }

apt_setup() {
	command -v apt-get >/dev/null || die "there is no apt-get here" \
		"make run and make test need a Debian-like machine; 'make KDIR=...' builds the module anywhere"
	mkdir -p "$APT_DIR"/{etc/preferences.d,etc/apt.conf.d,lists/partial,archives/partial}
	: >"$APT_DIR/status"
	write_sources >"$APT_DIR/sources.list.new"
	cmp -s "$APT_DIR/sources.list.new" "$APT_DIR/sources.list" 2>/dev/null || rm -f "$APT_DIR/updated"
	mv "$APT_DIR/sources.list.new" "$APT_DIR/sources.list"
	apt_options >"$APT_DIR/options"
	{
		cat "$APT_DIR/options"
		cat <<-CONF
			Dir::State::status "$APT_DIR/status";
			Dir::State::lists "$APT_DIR/lists";
			Dir::Cache "$APT_DIR";
			Dir::Cache::archives "$APT_DIR/archives";
			Dir::Etc::sourcelist "$APT_DIR/sources.list";
			Dir::Etc::sourceparts "/dev/null";
			Dir::Etc::preferences "/dev/null";
			Dir::Etc::preferencesparts "/dev/null";
			Acquire::Languages "none";
			APT::Architecture "amd64";
			APT::Architectures { "amd64"; };
			APT::Sandbox::User "root";
			APT::Update::Post-Invoke { };
			APT::Update::Post-Invoke-Success { };
			#clear APT::Update::Post-Invoke;
			#clear APT::Update::Post-Invoke-Success;
			#clear DPkg::Post-Invoke;
		CONF
	} >"$APT_DIR/apt.conf"
	# A list of packages is good for a day.
	if [ -z "$(find "$APT_DIR/updated" -mtime -1 2>/dev/null)" ]; then
		say "reading the package lists of Debian 13 and its backports"
		logged "$APT_DIR/update.log" apt_private apt-get update
		if grep -qE '^(W|E|Err):' "$APT_DIR/update.log" && ! ls "$APT_DIR"/lists/*backports*Packages* >/dev/null 2>&1; then
			tail -n 10 "$APT_DIR/update.log" >&2
			if grep -qE "Temporary failure resolving|Could not (resolve|connect)|Unable to connect|Connection (timed out|failed)" \
				"$APT_DIR/update.log"; then
				die "no network: this machine's apt sources cannot be reached" \
					"it is needed once; what is in $CACHE stays"
			fi
			die "the mirror of this machine does not serve $SUITE-backports" \
				"check the apt sources, or the age of debian-archive-keyring"
		fi
		touch "$APT_DIR/updated"
	fi
}

apt_private() { APT_CONFIG=$APT_DIR/apt.conf "$@"; }
