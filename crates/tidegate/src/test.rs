//! `tidegate test`: plays a configuration through, and holds what would be sent against what must be.

use crate::own_cache::own_cache;
use crate::{Failure, check, logs};
use std::path::{Path, PathBuf};
use tidegate_config::Config;
use tidegate_gateway::{Became, Rehearsal};
use tidegate_workbench::scenario::{Came, Scene, scenes};

/// Of `tidegate test`.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// The configuration file, /etc/tidegate/tidegate.toml without it.
    #[arg(long, short)]
    config: Option<PathBuf>,
    /// Files of tests, or folders of them; the folder `tests` beside the configuration if none is named.
    tests: Vec<PathBuf>,
    /// Print what plugins say of steps that are good, too.
    #[arg(long, short)]
    verbose: bool,
}

/// Prints what does not hold, and a count.
pub(crate) fn test(arguments: Arguments, log_format: logs::Format) -> Result<(), Failure> {
    logs::init(log_format, "warn,wasmtime_internal_cache=off");
    let file = arguments.config.map_or_else(check::default_file, Ok)?;
    let config = check::load_and_warn(&file)?;
    let named = match arguments.tests {
        named if named.is_empty() => vec![beside(&file)?],
        named => named,
    };
    let files = crate::plugin::files(&named)?;
    let (mut good, mut bad) = (0, 0);
    for test in &files {
        match one_file(&config, test, arguments.verbose) {
            Ok((held, not)) => (good, bad) = (good + held, bad + not),
            Err(Refused::Test(words)) => {
                bad += 1;
                println!("{words}");
            }
            Err(Refused::Gateway(failure)) => return Err(failure),
        }
    }
    let plural = if files.len() == 1 { "" } else { "s" };
    println!("{}: {good} good, {bad} not, of {} file{plural}", file.display(), files.len());
    if bad == 0 { Ok(()) } else { Err(Failure::Found) }
}

/// The tests that belong to a configuration.
fn beside(file: &Path) -> Result<PathBuf, Failure> {
    let folder = file.parent().unwrap_or(Path::new("")).join("tests");
    let missing =
        || Failure::Usage(format!("there is no folder {}: put tests into it, or name some", folder.display()));
    if folder.is_dir() { Ok(folder) } else { Err(missing()) }
}

enum Refused {
    /// The file is no test.
    Test(String),
    /// The configuration cannot be played through.
    Gateway(Failure),
}

/// How many steps held, and how many did not.
fn one_file(config: &Config, test: &Path, verbose: bool) -> Result<(usize, usize), Refused> {
    let scenes = scenes(test).map_err(Refused::Test)?;
    for (number, scene) in (1..).zip(&scenes) {
        if let Some(from) = scene.from.as_ref().filter(|from| !config.brokers.contains_key(*from)) {
            let known: Vec<_> = config.brokers.keys().map(String::as_str).collect();
            let words =
                format!("step {number}: no broker `{from}` in the configuration; there are {}", known.join(", "));
            return Err(Refused::Test(format!("{}: {words}", test.display())));
        }
    }
    // Each file begins with plugins that remember nothing.
    let mut rehearsal =
        Rehearsal::new(config, own_cache().as_deref()).map_err(|error| Refused::Gateway(Failure::from(error)))?;
    let (mut good, mut bad) = (0, 0);
    for (number, scene) in (1..).zip(&scenes) {
        let name = scene.name.as_ref().map_or_else(String::new, |name| format!(" ({name})"));
        let became =
            play(&mut rehearsal, scene).map_err(|words| Refused::Test(format!("{}: {words}", test.display())))?;
        let difference = differs(scene, &became);
        if verbose || difference.is_some() {
            became.lines.iter().for_each(|line| println!("  {line}"));
        }
        match difference {
            None => good += 1,
            Some(words) => {
                bad += 1;
                println!("{}: step {number}{name}: {words}", test.display());
            }
        }
    }
    Ok((good, bad))
}

fn play(rehearsal: &mut Rehearsal, scene: &Scene) -> Result<Became, String> {
    match (scene.time(), &scene.from) {
        (Some(time), _) => Ok(rehearsal.wait(time)),
        (None, Some(from)) => Ok(rehearsal.message(from, &scene.message()?)),
        (None, None) => Ok(Became::default()),
    }
}

fn differs(scene: &Scene, became: &Became) -> Option<String> {
    let sent = became.sent.iter().map(|one| Came { route: &one.route, to: &one.target, message: &one.message });
    let said = |all: &[(String, String)]| -> Vec<String> {
        all.iter().map(|(route, words)| format!("route `{route}`: {words}")).collect()
    };
    scene.differs(&sent.collect::<Vec<_>>(), &said(&became.dropped), &said(&became.failed), became.routes)
}
