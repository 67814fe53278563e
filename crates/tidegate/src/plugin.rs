//! `tidegate plugin`: for the authors of plugins, and what plugins remember.

mod state;
mod try_samples;

use crate::own_cache::own_cache;
use crate::{Failure, check};
use std::path::PathBuf;
use tidegate_plugin::{Host, HostConfig};

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
    /// Say what a component is, what it imports, exports and takes.
    Inspect {
        /// The component.
        component: PathBuf,
    },
    /// Try samples: messages that come in, and what a plugin must make of them.
    Test(try_samples::Arguments),
    /// What plugins remember.
    State {
        #[command(subcommand)]
        what: state::State,
    },
}

/// Does what it is asked for.
pub(crate) fn plugin(arguments: Arguments) -> Result<(), Failure> {
    match arguments.what {
        What::Inspect { component } => {
            let told = tidegate_workbench::inspect(&host()?, &component).map_err(Failure::Config)?;
            print!("{told}");
            Ok(())
        }
        What::Test(arguments) => try_samples::try_samples(&arguments),
        What::State { what } => state::state(&arguments.config.load()?, what),
    }
}

/// As a gateway has it, with a cache of one's own.
fn host() -> Result<Host, Failure> {
    Host::new(&HostConfig { cache_dir: own_cache() }).map_err(|error| Failure::Unavailable(error.to_string()))
}
