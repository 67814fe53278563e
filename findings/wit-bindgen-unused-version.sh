#!/usr/bin/env bash
# wit-bindgen 0.61.1: a package that nothing uses renames what is generated, if it is another version of one that is used.
#
# One would have guessed: a package in `wit/deps` that the world does not reach makes no difference, or its own modules at most.
# Seen 2026-11-30: a world of `local:demo` that exports `local:api/things@1.0.0` gives the module `exports::local::api::things`. With
# `wit/deps/next` beside it, which holds `local:api@1.1.0` and is named by nobody, the same module is `exports::local::api1_0_0::things`, and what was
# written against the first does not compile.
# What it costs: whoever ships the next version of an interface beside the one that is frozen breaks the sources of everybody who generates
# from that folder, though nothing of theirs has changed. A folder that is no `deps` is not looked at.
set -euo pipefail
export LC_ALL=C

dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
cd "$dir"
mkdir -p src wit/deps/api
cat >Cargo.toml <<'END'
[package]
name = "demo"
version = "0.0.0"
edition = "2024"
[lib]
crate-type = ["cdylib"]
[dependencies]
wit-bindgen = { version = "=0.61.1", default-features = false, features = ["macros", "realloc"] }
END
echo 'package local:api@1.0.0; interface things { count: func() -> u32; }' >wit/deps/api/api.wit
echo 'package local:demo; world demo { export local:api/things@1.0.0; }' >wit/demo.wit

compiles() { # MODULE: whether the package's module is called so
  cat >src/lib.rs <<END
wit_bindgen::generate!({ path: "wit", world: "demo" });
struct Demo;
impl exports::local::$1::things::Guest for Demo {
    fn count() -> u32 { 1 }
}
END
  cargo check --quiet >out 2>&1 && echo yes || echo no
}

alone="$(compiles api) $(compiles api1_0_0)"
mkdir wit/deps/next
echo 'package local:api@1.1.0; interface more { count: func() -> u32; }' >wit/deps/next/next.wit
beside="$(compiles api) $(compiles api1_0_0)"
echo "alone: api, api1_0_0: $alone; beside 1.1.0: $beside"
[[ $alone = "yes no" && $beside = "no yes" ]]
