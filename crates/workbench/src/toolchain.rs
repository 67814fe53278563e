//! From a folder to a component, by the compiler of its language; what is missing is said with the command that brings it.

use crate::project::{Engine, Language, Project};
use std::path::{Path, PathBuf};
use std::process::Command;

/// A compiler: what it is called, where else it may be, and what brings it.
struct Tool {
    name: &'static str,
    /// Below the plugin's folder.
    local: &'static str,
    hint: &'static str,
}

const JCO: Tool = Tool {
    name: "jco",
    local: "node_modules/.bin/jco",
    hint: "install Node.js 20 or later with npm (Debian 12 has 18; untested: Debian 13 with apt-get install nodejs npm, Fedora \
           with dnf install nodejs, macOS with brew install node), then: npm install",
};

const COMPONENTIZE_JS: Tool = Tool {
    name: "componentize-js",
    local: "node_modules/.bin/componentize-js",
    hint: "npm install @bytecodealliance/componentize-js@0.23.0",
};

const COMPONENTIZE_PY: Tool = Tool {
    name: "componentize-py",
    local: ".venv/bin/componentize-py",
    hint: "install Python 3.10 or later (Debian, Ubuntu: apt-get install python3-venv; Fedora, untested: dnf install python3; \
           macOS, untested: brew install python), then: python3 -m venv .venv && .venv/bin/pip install componentize-py==0.25.1",
};

/// How a language becomes a component.
struct Compiler {
    tool: &'static Tool,
    arguments: &'static [&'static str],
    /// What leaves WASI out, on top.
    without_wasi: &'static [&'static str],
}

const fn compiler(project: &Project) -> Compiler {
    match (project.language, project.engine) {
        (Language::Javascript, Engine::Quickjs) => Compiler {
            tool: &JCO,
            arguments: &[
                "componentize",
                "plugin.js",
                "--wit",
                "wit",
                "-n",
                "plugin",
                "--backend",
                "qjs",
                "--backend-qjs-disable-async",
            ],
            without_wasi: &["--backend-qjs-stub-wasi"],
        },
        (Language::Javascript, Engine::Starlingmonkey) => Compiler {
            tool: &COMPONENTIZE_JS,
            arguments: &["plugin.js", "--wit", "wit", "-n", "plugin"],
            without_wasi: &["-d", "stdio", "random", "clocks", "http", "fetch-event"],
        },
        (Language::Python, _) => Compiler {
            tool: &COMPONENTIZE_PY,
            arguments: &["-d", "wit", "-w", "plugin", "componentize", "app"],
            without_wasi: &["--stub-wasi"],
        },
    }
}

/// Builds the component of a folder; where it is. `is_release` leaves WASI out.
///
/// # Errors
/// A compiler is missing, or does not like the source: in its words.
pub fn build(project: &Project, is_release: bool) -> Result<PathBuf, String> {
    let Compiler { tool, arguments, without_wasi } = compiler(project);
    let without_wasi = if is_release { without_wasi } else { &[] };
    let cache = project.folder.join("__pycache__");
    let had_cache = cache.exists();
    let name = format!("{}.wasm", project.name);
    let made = format!("{name}.new");
    let program = tool.find(&project.folder)?;
    let mut command = Command::new(&program);
    command.current_dir(&project.folder).args(arguments).args(without_wasi).args(["-o", &made]);
    let output = command.output().map_err(|error| format!("{}: {error}", program.display()))?;
    if !had_cache {
        // Of the Python within the component, for which no variable is set.
        let _ = std::fs::remove_dir_all(cache);
    }
    let made = project.folder.join(made);
    if !output.status.success() || !made.exists() {
        let said = [output.stdout, output.stderr].map(|said| String::from_utf8_lossy(&said).into_owned()).concat();
        let _ = std::fs::remove_file(made);
        return Err(format!("{} failed ({}):\n{}", tool.name, output.status, said.trim_end()));
    }
    // Aside, then renamed: a gateway may be watching it.
    let component = project.component();
    std::fs::rename(&made, &component).map_err(|error| format!("{}: {error}", component.display()))?;
    Ok(component)
}

impl Tool {
    fn find(&self, folder: &Path) -> Result<PathBuf, String> {
        let local = folder.join(self.local);
        if local.exists() {
            return local.canonicalize().map_err(|error| format!("{}: {error}", local.display()));
        }
        let path = std::env::var_os("PATH").unwrap_or_default();
        let found = std::env::split_paths(&path).map(|folder| folder.join(self.name)).find(|program| program.is_file());
        found.ok_or_else(|| format!("{} is missing, in {} and in PATH: {}", self.name, local.display(), self.hint))
    }
}
