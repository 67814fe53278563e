//! `tidegate explain`: which routes take a message, what their plugins decide, where it goes, and why.

use crate::own_cache::own_cache;
use crate::{Failure, check, logs};
use std::path::PathBuf;
use tidegate_gateway::Sample;
use tidegate_message::{Message, Properties, QoS, Topic};

/// Of `tidegate explain`.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// The configuration file, /etc/tidegate/tidegate.toml without it; `-` reads standard input, with relative paths as from the
    /// current directory.
    #[arg(long, short)]
    config: Option<PathBuf>,
    /// The broker the message comes from.
    #[arg(long, short)]
    broker: String,
    /// Its topic.
    #[arg(long, short)]
    topic: String,
    /// Its payload; `@FILE` reads it from a file.
    #[arg(long, short, default_value = "")]
    payload: String,
    /// Its QoS.
    #[arg(long, short, default_value_t = 1, value_parser = clap::value_parser!(u8).range(0..=2))]
    qos: u8,
    /// It is a retained message.
    #[arg(long, short)]
    retain: bool,
    /// A user property of it; may be given more than once.
    #[arg(long, value_name = "NAME=VALUE", value_parser = user_property)]
    user_property: Vec<(String, String)>,
    /// Its content type.
    #[arg(long, value_name = "TEXT")]
    content_type: Option<String>,
}

/// Prints the explanation to stdout.
pub(crate) fn explain(arguments: Arguments, log_format: logs::Format) -> Result<(), Failure> {
    // What plugins log while they decide is half of the answer.
    logs::init(log_format, "warn,wasmtime_internal_cache=off");
    let config = check::load_and_warn(&arguments.config.map_or_else(check::default_file, Ok)?)?;
    if !config.brokers.contains_key(&arguments.broker) {
        let known: Vec<_> = config.brokers.keys().map(String::as_str).collect();
        let words = format!("no broker `{}` in the configuration; there are {}", arguments.broker, known.join(", "));
        return Err(Failure::Usage(words));
    }
    let topic = Topic::new(arguments.topic).map_err(|error| Failure::Usage(error.to_string()))?;
    let payload = match arguments.payload.strip_prefix('@') {
        Some(path) => std::fs::read(path).map_err(|error| Failure::Usage(format!("{path}: {error}")))?,
        None => arguments.payload.into_bytes(),
    };
    let qos = QoS::from_u8(arguments.qos).unwrap_or_default();
    let mut message = Message { retain: arguments.retain, ..Message::new(topic, payload, qos) };
    if !arguments.user_property.is_empty() || arguments.content_type.is_some() {
        let user = arguments.user_property.into_iter().map(|(name, value)| (name.into(), value.into())).collect();
        let content_type = arguments.content_type.map(Into::into);
        message.properties = Some(Box::new(Properties { content_type, user, ..Properties::default() }));
    }
    let sample = Sample { broker: arguments.broker, message };
    let explanation = tidegate_gateway::explain(&config, &sample, own_cache().as_deref())?;
    print!("{explanation}");
    Ok(())
}

fn user_property(text: &str) -> Result<(String, String), String> {
    let (name, value) = text.split_once('=').ok_or("wants NAME=VALUE")?;
    Ok((name.to_owned(), value.to_owned()))
}
