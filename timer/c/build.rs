//! The library's name within ABI 0. It is never unloaded, because the tick thread runs its code.

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    println!("cargo:rustc-cdylib-link-arg=-Wl,-soname,libunisono_timer.so.0");
    println!("cargo:rustc-cdylib-link-arg=-Wl,-z,nodelete");
}
