//! How `dkc` is linked.
//!
//! Where the program lies in memory is decided when it starts, and 690,000 addresses in it are made to fit. Listed one by
//! one they take 16 MB of the program file, which every start reads and keeps in memory; as ranges (the ELF gABI's
//! `SHT_RELR`) they take 0.2 MB. The loader of glibc knows ranges since 2.36.
//!
//! Of functions whose code is equal one is kept: LLD, by which rustc links on x86-64 Linux since 1.90, finds 8 MB of them.

use std::process::Command;

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    let target = std::env::var("TARGET").unwrap_or_default();
    if target == "x86_64-unknown-linux-gnu" {
        println!("cargo:rustc-link-arg-bins=-Wl,--icf=all");
    }
    let is_here = std::env::var("HOST").is_ok_and(|host| host == target);
    if target.ends_with("-linux-gnu") && is_here && glibc() >= Some((2, 36)) {
        println!("cargo:rustc-link-arg-bins=-Wl,-z,pack-relative-relocs");
    }
}

/// The version of the C library of this machine.
#[expect(
    clippy::disallowed_methods,
    reason = "a build asks the machine that it is made on"
)]
fn glibc() -> Option<(u32, u32)> {
    let answer = Command::new("getconf").arg("GNU_LIBC_VERSION").output().ok()?;
    let answer = String::from_utf8(answer.stdout).ok()?;
    let (major, minor) = answer.trim().strip_prefix("glibc ")?.split_once('.')?;
    Some((major.parse().ok()?, minor.parse().ok()?))
}
