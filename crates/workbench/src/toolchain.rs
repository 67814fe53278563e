//! From a folder to a component, by the compiler of its language; what is missing is said with the command that brings it.

mod plan;
mod rust;
mod tool;

use crate::encode::encode;
use crate::project::{Project, World};
use crate::template::complete;
use plan::{BUNDLE, Made, Plan, plan};
use std::path::PathBuf;

/// What a compiler writes, where it can be told.
fn in_between(project: &Project) -> String {
    format!("{}.wasm.made", project.name)
}

/// Builds the component of a folder, as [`made`] does, and says what to do where the world is too small.
///
/// # Errors
/// As there.
pub fn build(project: &Project, is_release: bool) -> Result<PathBuf, String> {
    made(project, is_release).map_err(|words| format!("{words}{}", hint_of_world(project, &words)))
}

/// Builds the component of a folder; where it is. What the folder lacks of what joins its rule to the contract is written first, so
/// that a rule can be kept without it. `is_release` makes it small and fast, and leaves out what is for developing.
///
/// # Errors
/// A compiler is missing, or does not like the source: in its words.
fn made(project: &Project, is_release: bool) -> Result<PathBuf, String> {
    complete(project)?;
    let Plan { steps, made } = plan(project, is_release)?;
    let cache = project.folder.join("__pycache__");
    let had_cache = cache.exists();
    let ran = steps.iter().try_for_each(|step| step.run(&project.folder));
    if !had_cache {
        // Of the Python within the component, for which no variable is set.
        let _ = std::fs::remove_dir_all(cache);
    }
    let _ = std::fs::remove_file(project.folder.join(BUNDLE));
    ran?;
    let read = |path: &str| {
        let path = project.folder.join(path);
        std::fs::read(&path).map_err(|error| format!("{}: {error}", path.display()))
    };
    let component = match made {
        Made::Component(path) => read(&path)?,
        Made::Module { path, world } => encode(read(&path)?, world.map(|world| (project.wit(), world)))?,
    };
    let _ = std::fs::remove_file(project.folder.join(in_between(project)));
    // Aside, then renamed: a gateway may be watching it.
    let to = project.component();
    let aside = to.with_extension("wasm.new");
    std::fs::write(&aside, component)
        .and_then(|()| std::fs::rename(&aside, &to))
        .map_err(|error| format!("{}: {error}", to.display()))?;
    Ok(to)
}

/// No compiler says of an import that the world has not what is to be done about it.
fn hint_of_world(project: &Project, words: &str) -> &'static str {
    let has_no_state = matches!(project.world, World::Plugin | World::Timed);
    if has_no_state && ["gateway/state@", "import state"].iter().any(|name| words.contains(name)) {
        "\nfor durable state say `world = \"stateful\"` or `\"stateful-timed\"` in plugin.toml"
    } else {
        ""
    }
}
