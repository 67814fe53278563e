//! `tidegate plugin`: for the authors of plugins, and what plugins remember.

mod beside;
mod develop;
mod state;
mod try_samples;
mod versions;

pub(crate) use try_samples::files;

use crate::own_cache::own_cache;
use crate::{Failure, check, logs};
use std::path::{Path, PathBuf};
use tidegate_plugin::{Component, Host, HostConfig};
use tidegate_workbench::{Language, Project};

/// Of `tidegate plugin`.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    #[command(flatten)]
    config: check::ConfigFile,
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, clap::Subcommand)]
enum What {
    /// Make a folder with a rule to begin with, samples and the contract; nothing is fetched.
    New {
        /// The folder, and by its name the plugin.
        name: PathBuf,
        /// What it is written in.
        #[arg(long, value_enum)]
        lang: Language,
    },
    /// Make a component of a folder, by the compiler of its language.
    Build {
        /// The plugin's folder.
        #[arg(default_value = ".")]
        folder: PathBuf,
        /// Without WASI: smaller, and exceptions have fewer words.
        #[arg(long)]
        release: bool,
    },
    /// Say what a component is, what it imports, exports and takes.
    Inspect {
        /// The component.
        component: PathBuf,
    },
    /// Measure what a message costs, by the messages of a file of samples, and memory over many.
    Bench {
        /// The component; or the folder of a plugin.
        #[arg(default_value = ".")]
        plugin: PathBuf,
        /// The file of samples; in a plugin's folder the first one that decides messages.
        samples: Option<PathBuf>,
        /// So many messages are decided to see what memory does; 0 leaves that out.
        #[arg(long, default_value_t = 100_000)]
        messages: u64,
    },
    /// Let two components decide the same messages, and tell where they differ: another version, or another language.
    Compare {
        /// A component, or the folder of a plugin.
        one: PathBuf,
        /// The other.
        other: PathBuf,
        /// The file of samples, whose messages, configuration, grants and limits are taken.
        samples: PathBuf,
        /// So many messages are generated from those of the samples: odd numbers, nesting, escapes, what is no JSON.
        #[arg(long, default_value_t = 10_000)]
        generated: usize,
        /// The same messages for the same seed.
        #[arg(long, default_value_t = 1)]
        seed: u64,
    },
    /// Compile every plugin of a configuration into the gateway's cache, for its next start. Run it as the gateway's user.
    Compile,
    /// Build at each save, try the samples, and show what the newest build decides of live messages.
    Dev(develop::Arguments),
    /// Try samples: messages that come in, and what a plugin must make of them.
    Test(try_samples::Arguments),
    /// What has run in a gateway: each version of a plugin, when, with what configuration, and what it did.
    Versions {
        /// Which plugin.
        name: String,
        /// One version a line, as JSON.
        #[arg(long)]
        json: bool,
    },
    /// Have an earlier version of a plugin run again, until another one is saved or it is configured in another way.
    Rollback {
        /// Which plugin.
        name: String,
        /// How the digest of the version begins; the one before without it.
        digest: Option<String>,
        /// Its number, as `versions` has it: of several configurations of one component.
        #[arg(long, conflicts_with = "digest")]
        number: Option<u64>,
    },
    /// How the candidate that is tried beside a plugin does, and what it decides otherwise. Fails with 1 if it decides something so.
    Diff {
        /// Which plugin.
        name: String,
        /// As JSON.
        #[arg(long)]
        json: bool,
    },
    /// Have the candidate of a plugin run in its place, until another one is saved or it is configured in another way.
    Promote {
        /// Which plugin.
        name: String,
    },
    /// Try the candidate of a plugin no more, until it is another one.
    Abandon {
        /// Which plugin.
        name: String,
    },
    /// What plugins remember.
    State {
        #[command(subcommand)]
        what: state::State,
    },
}

/// Does what it is asked for.
pub(crate) fn plugin(arguments: Arguments) -> Result<(), Failure> {
    match arguments.what {
        What::New { name, lang } => {
            let written = tidegate_workbench::write(&name, lang).map_err(Failure::Usage)?;
            written.iter().for_each(|path| println!("{}", path.display()));
            println!("begin with {}", name.join("README.md").display());
            Ok(())
        }
        What::Build { folder, release } => {
            let project = Project::load(&folder).map_err(Failure::Config)?;
            let component = tidegate_workbench::build(&project, release).map_err(Failure::Unavailable)?;
            let told = tidegate_workbench::inspect(&host()?, &component).map_err(Failure::Config)?;
            print!("{told}");
            println!("made {}", component.display());
            Ok(())
        }
        What::Inspect { component } => {
            let told = tidegate_workbench::inspect(&host()?, &component).map_err(Failure::Config)?;
            print!("{told}");
            Ok(())
        }
        What::Bench { plugin, samples, messages } => bench(&plugin, samples, messages),
        What::Compare { one, other, samples, generated, seed } => compare(&one, &other, &samples, generated, seed),
        What::Compile => {
            logs::init(logs::Format::Text, "info,wasmtime_internal_cache=off");
            let (compiled, wrong) = tidegate_gateway::compile_plugins(&arguments.config.load()?)?;
            println!("{compiled} compiled, {} not", wrong.len());
            if wrong.is_empty() { Ok(()) } else { Err(Failure::Config(wrong.join("\n"))) }
        }
        What::Dev(of) => develop::develop(&of, arguments.config.given()?),
        What::Test(arguments) => try_samples::try_samples(&arguments),
        What::Versions { name, json } => versions::versions(&arguments.config.load()?, &name, json),
        What::Rollback { name, digest, number } => {
            let to = number.map(|number| format!("#{number}")).or(digest);
            versions::roll_back(&arguments.config.load()?, &name, to.as_deref())
        }
        What::Diff { name, json } => versions::diff(&arguments.config.load()?, &name, json),
        What::Promote { name } => versions::end_trial(&arguments.config.load()?, &name, "promote"),
        What::Abandon { name } => versions::end_trial(&arguments.config.load()?, &name, "abandon"),
        What::State { what } => state::state(&arguments.config.load()?, what),
    }
}

fn compare(one: &Path, other: &Path, samples: &Path, generated: usize, seed: u64) -> Result<(), Failure> {
    let host = host()?;
    let (one, other) = (compiled(&host, &component_of(one)?)?, compiled(&host, &component_of(other)?)?);
    let compared =
        tidegate_workbench::compare(&host, [&one, &other], samples, generated, seed).map_err(Failure::Config)?;
    compared.firsts.iter().for_each(|words| println!("{words}"));
    for (kind, (differ, of)) in &compared.differ {
        println!("{kind}: {differ} of {of} differ");
    }
    let differ: usize = compared.differ.values().map(|(differ, _)| differ).sum();
    println!("{} messages decided, {differ} differ", compared.messages);
    if differ == 0 { Ok(()) } else { Err(Failure::Found) }
}

/// A folder's component, or the file itself.
fn component_of(path: &Path) -> Result<PathBuf, Failure> {
    if path.is_dir() { Ok(Project::load(path).map_err(Failure::Config)?.component()) } else { Ok(path.to_owned()) }
}

fn compiled(host: &Host, path: &Path) -> Result<Component, Failure> {
    let wrong = |error: &dyn std::fmt::Display| Failure::Config(format!("{}: {error}", path.display()));
    let bytes = std::fs::read(path).map_err(|error| wrong(&error))?;
    host.compile(&bytes).map_err(|error| wrong(&error))
}

fn bench(plugin: &Path, samples: Option<PathBuf>, messages: u64) -> Result<(), Failure> {
    let (component, samples) = match (plugin.is_dir(), samples) {
        (false, None) => return Err(Failure::Usage("name a file of samples, whose messages are decided".to_owned())),
        (false, Some(samples)) => (plugin.to_owned(), samples),
        (true, samples) => {
            let project = Project::load(plugin).map_err(Failure::Config)?;
            (project.component(), samples.map_or_else(|| project.first_samples(), Ok).map_err(Failure::Config)?)
        }
    };
    let host = host()?;
    let compiled = compiled(&host, &component)?;
    tidegate_workbench::bench(&host, &compiled, &samples, messages, &mut |line| println!("{line}"))
        .map_err(Failure::Config)
}

/// As a gateway has it, with a cache of one's own.
fn host() -> Result<Host, Failure> {
    Host::new(&HostConfig { cache_dir: own_cache(), ..HostConfig::default() })
        .map_err(|error| Failure::Unavailable(error.to_string()))
}
