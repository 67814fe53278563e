//! `tidegate pause`, `resume` and `reload`: what an operator has a running gateway do.

use crate::{Failure, admin_client, check};
use serde::Deserialize;

/// Of `tidegate pause` and `tidegate resume`.
#[derive(Debug, clap::Args)]
pub(crate) struct OfBroker {
    #[command(flatten)]
    config: check::ConfigFile,
    /// Which.
    broker: String,
}

/// Of `tidegate reload`.
#[derive(Debug, clap::Args)]
pub(crate) struct Reload {
    #[command(flatten)]
    config: check::ConfigFile,
}

/// What the gateway answers.
#[derive(Deserialize)]
struct Outcome {
    message: String,
}

pub(crate) fn post(config: &tidegate_config::Config, path: &str) -> Result<(), Failure> {
    let outcome: Outcome = admin_client::read(&admin_client::ask(config, "POST", path)?)?;
    println!("{}", outcome.message);
    Ok(())
}

/// Has nothing more sent to a broker, or has it go on.
pub(crate) fn pause(arguments: &OfBroker, paused: bool) -> Result<(), Failure> {
    let config = arguments.config.load()?;
    let name = &arguments.broker;
    if !config.brokers.contains_key(name) {
        let known: Vec<_> = config.brokers.keys().map(String::as_str).collect();
        return Err(Failure::Usage(format!("no broker `{name}` in the configuration; there are {}", known.join(", "))));
    }
    post(&config, &format!("/api/v1/brokers/{name}/{}", if paused { "pause" } else { "resume" }))
}

/// Has the files read once more.
pub(crate) fn reload(arguments: &Reload) -> Result<(), Failure> {
    post(&arguments.config.load()?, "/api/v1/reload")
}
