//! The library's name. It is never unloaded, because its threads run its code.

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    println!("cargo:rustc-cdylib-link-arg=-Wl,-soname,libunisono_dahdi.so");
    println!("cargo:rustc-cdylib-link-arg=-Wl,-z,nodelete");
}
