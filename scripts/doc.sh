#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# rustdoc for the module (kbuild has no target for external modules), and
# rust-project.json with the argument rust-analyzer. Needs the built module.

. "$(dirname "$0")/../qemu/lib.sh"

tree=$("$TOP/qemu/kernel.sh" stock)/O
source=$("$TOP/qemu/kernel.sh" source)
out=$TOP/build/stock

if [ "${1:-}" = rust-analyzer ]; then
	logged "$TOP/build/rust-analyzer.log" "$TOP/qemu/toolchain.sh" \
		make -C "$tree" M="$TOP" MO="$out" rust-analyzer
	project=$(find "$out" "$TOP" -maxdepth 1 -name rust-project.json | head -n 1)
	# Editors see the toolchain root from outside.
	root=$("$TOP/qemu/toolchain.sh")
	sed "s|\"/usr/|\"${root%/}/usr/|g" "$project" >"$TOP/build/rust-project.json"
	rm -f "$project"
	mv "$TOP/build/rust-project.json" "$TOP/rust-project.json"
	exit
fi

say "making the documentation"
features=$(sed -n 's/^rust_allowed_features := //p' "$source/scripts/Makefile.build")
RUSTC_BOOTSTRAP=1 OBJTREE=$tree RUST_MODFILE=rust_uring RUST_URING_OBJ=$out/rust_uring \
	logged "$TOP/build/doc.log" "$TOP/qemu/toolchain.sh" \
	rustdoc --edition=2021 --crate-name rust_uring --crate-type rlib --document-private-items \
	--target="$tree/scripts/target.json" --sysroot=/dev/null -L "$tree/rust" \
	--extern kernel --extern pin_init --extern zerocopy --extern zerocopy_derive \
	--cfg MODULE "@$tree/include/generated/rustc_cfg" -Zunstable-options \
	-A rustdoc::private_intra_doc_links -Zcrate-attr=no_std "-Zcrate-attr=feature($features)" \
	-o "$TOP/build/doc" "$TOP/rust_uring/rust_uring_main.rs"
grep -E '^warning' "$TOP/build/doc.log" >&2 || true
