//! `tidegate parked`: messages that a plugin could not decide or a target did not take, through the admin listener of the running gateway.

use crate::{Failure, admin_client, check};

/// Of `tidegate parked`.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    #[command(flatten)]
    config: check::ConfigFile,
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, clap::Subcommand)]
enum What {
    /// All of them, as JSON.
    List,
    /// One, with the first 4 KiB of its payload.
    Show { number: u64 },
    /// Let one enter its route again, or send it to the target that did not take it.
    Replay {
        number: u64,
        /// To this broker or target set instead, as it is.
        #[arg(long, value_name = "TARGET")]
        to: Option<String>,
    },
    /// Forget one.
    Delete { number: u64 },
}

/// Asks and prints the answer.
pub(crate) fn parked(arguments: Arguments) -> Result<(), Failure> {
    let config = arguments.config.load()?;
    let (method, path) = match arguments.what {
        What::List => ("GET", "/parked".to_owned()),
        What::Show { number } => ("GET", format!("/parked/{number}")),
        What::Replay { number, to: None } => ("POST", format!("/parked/{number}/replay")),
        What::Replay { number, to: Some(to) } => ("POST", format!("/parked/{number}/replay?to={to}")),
        What::Delete { number } => ("DELETE", format!("/parked/{number}")),
    };
    print!("{}", admin_client::ask(&config, method, &path)?);
    Ok(())
}
