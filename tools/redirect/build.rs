// SPDX-License-Identifier: GPL-2.0

//! How the redirect is linked: on its own, ready before everything else.

fn main() {
    for arg in [
        // No C library, no startup files: the object is also put into programs that have neither.
        "-nostdlib",
        // Its constructor runs before those of all other objects, which may make system calls.
        "-Wl,-z,initfirst",
        // A call within the object stays within it.
        "-Wl,-Bsymbolic",
        "-Wl,-z,now",
        // Everything that is not there must be weak, and there is one such thing; see raw.rs.
        "-Wl,-z,defs",
    ] {
        println!("cargo:rustc-cdylib-link-arg={arg}");
    }
    println!("cargo:rerun-if-changed=build.rs");
}
