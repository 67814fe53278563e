//! Rust: by rustup's targets, or by Debian's packages with the standard library's source.

use super::plan::{Made, Plan};
use super::tool::Tool;
use std::path::{Path, PathBuf};
use std::process::Command;

const HINT: &str = "with rustup: rustup target add wasm32-wasip2; without its targets, on Debian and Ubuntu: apt-get install \
                    rustc-web cargo-web rust-web-src; Fedora, untested: dnf install rust cargo rust-std-static-wasm32-unknown-unknown";

const CARGO: Tool = Tool {
    names: &["cargo"],
    local: &[],
    hint: "Rust 1.90 or later from rustup, then: rustup target add wasm32-wasip2",
};

/// Debian's, which knows where its own library's source is.
const DEBIAN: &str = "/usr/bin/cargo";
const DEBIAN_SOURCE: &str = "/usr/lib/rustlib/src/rust/library";

/// What it is built by.
///
/// # Errors
/// No toolchain for WebAssembly is there.
pub(super) fn plan(folder: &Path) -> Result<Plan, String> {
    let sysroot = sysroot();
    let has =
        |target: &str| sysroot.as_ref().is_some_and(|root| root.join("lib/rustlib").join(target).join("lib").exists());
    let target_dir = std::env::var("CARGO_TARGET_DIR").unwrap_or_else(|_| "target".to_owned());
    let made = |target: &str| format!("{target_dir}/{target}/release/rule.wasm");
    let cargo = |target: &str| CARGO.step(folder, &["build", "--release", "--target", target]);
    if has("wasm32-wasip2") {
        let target = "wasm32-wasip2";
        return Ok(Plan { steps: vec![cargo(target)?], made: Made::Component(made(target)) });
    }
    let target = "wasm32-unknown-unknown";
    let made = Made::Module { path: made(target), world: None };
    if has(target) {
        return Ok(Plan { steps: vec![cargo(target)?], made });
    }
    if !Path::new(DEBIAN).exists() || !Path::new(DEBIAN_SOURCE).exists() {
        return Err(format!("Rust has no target for WebAssembly: {HINT}"));
    }
    let step = Tool { names: &["cargo"], local: &[DEBIAN], hint: HINT }
        .step(folder, &["build", "--release", "--target", target, "-Zbuild-std=std,panic_abort"])?
        .with([("RUSTC", "/usr/bin/rustc".to_owned()), ("RUSTC_BOOTSTRAP", "1".to_owned())])
        .with(linker(sysroot.as_deref()).map(|linker| ("CARGO_TARGET_WASM32_UNKNOWN_UNKNOWN_LINKER", linker)));
    Ok(Plan { steps: vec![step], made })
}

fn sysroot() -> Option<PathBuf> {
    let output = Command::new("rustc").args(["--print", "sysroot"]).output().ok()?;
    Some(PathBuf::from(String::from_utf8(output.stdout).ok()?.trim()))
}

/// The one that every toolchain of rustup ships; without one, what the compiler itself finds.
fn linker(sysroot: Option<&Path>) -> Option<String> {
    let hosts = std::fs::read_dir(sysroot?.join("lib/rustlib")).ok()?;
    let linkers = hosts.filter_map(Result::ok).map(|host| host.path().join("bin/rust-lld"));
    linkers.into_iter().find(|linker| linker.exists()).map(|linker| linker.display().to_string())
}
