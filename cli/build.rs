//! How `dkc` is linked.
//!
//! A program that may lie anywhere in memory makes the 690,000 addresses in it fit at each start, and so has 9 MB of its own
//! instead of pages of the file. At an address that the linker chose, a start takes 15 ms less
//! (`docs/decisions/0003-build-profile.md` has the figures, and what is given up).
//!
//! Of functions whose code is equal one is kept: LLD, by which rustc links on x86-64 Linux since 1.90, finds 8 MB of them.

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    let target = std::env::var("TARGET").unwrap_or_default();
    if target == "x86_64-unknown-linux-gnu" {
        println!("cargo:rustc-link-arg-bins=-Wl,--icf=all");
    }
    if target.ends_with("-linux-gnu") {
        println!("cargo:rustc-link-arg-bins=-no-pie");
    }
}
