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

/// Builds the component of a folder; where it is. What the folder lacks of what joins its rule to the contract is written first, so
/// that a rule can be kept without it. `is_release` makes it small and fast, and leaves out what is for developing.
///
/// # Errors
/// A compiler is missing, or does not like the source: in its words.
pub fn build(project: &Project, is_release: bool) -> Result<PathBuf, String> {
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
    ran.map_err(|words| format!("{words}{}", hint_of_world(project, &words)))?;
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

/// What a compiler says of an import that the world has not, none of them says so that it helps.
fn hint_of_world(project: &Project, words: &str) -> String {
    let wants = ["gateway/state", "tidegate_gateway_state", "imports.state", "import state", "'state'"];
    if matches!(project.world, World::Plugin | World::Timed) && wants.iter().any(|name| words.contains(name)) {
        "\nfor durable state say `world = \"stateful\"` or \"stateful-timed\" in plugin.toml".to_owned()
    } else {
        String::new()
    }
}
