//! `tidegate access`: what a client of the box's own broker may do, and by which rule.

use crate::{Failure, check};
use tidegate_config::{Broker, Config, EmbeddedBroker};
use tidegate_gateway::{AccessAction, explain_access};

/// Of `tidegate access`.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, clap::Subcommand)]
enum What {
    /// Whether a client may do something, and which rule says so; fails with 1 if it may not. Reads the configuration, and asks no
    /// gateway.
    Explain(Explain),
}

#[derive(Debug, clap::Args)]
struct Explain {
    #[command(flatten)]
    config: check::ConfigFile,
    /// The broker, where there are several of the box's own.
    #[arg(long, short)]
    broker: Option<String>,
    /// The user name that the client gives; without it, it gives none.
    #[arg(long, short)]
    user: Option<String>,
    /// Its client identifier.
    #[arg(long, value_name = "CLIENT-ID", default_value = "")]
    client: String,
    /// What it asks for.
    action: Action,
    /// A topic, or with `subscribe` a filter.
    topic: String,
}

#[derive(Debug, Clone, Copy, clap::ValueEnum)]
enum Action {
    /// To publish to a topic.
    Publish,
    /// To subscribe with a filter.
    Subscribe,
    /// To be given what is published to a topic.
    Receive,
}

pub(crate) fn access(arguments: Arguments) -> Result<(), Failure> {
    let What::Explain(asked) = arguments.what;
    let config = asked.config.load()?;
    let (name, broker) = own(&config, asked.broker.as_deref())?;
    let (action, does) = match asked.action {
        Action::Publish => (AccessAction::Publish, "publish to"),
        Action::Subscribe => (AccessAction::Subscribe, "subscribe with"),
        Action::Receive => (AccessAction::Receive, "be given what is published to"),
    };
    let client = (asked.user.as_deref(), &*asked.client);
    let (may, place) = explain_access(name, &broker.lists, client, action, &asked.topic).map_err(Failure::Usage)?;
    let has_lists = broker.lists.acl_file.is_some() || !broker.lists.rules.is_empty();
    let why = match place {
        Some(place) => format!("by {place}"),
        None if !has_lists => format!("for `{name}` has no access lists"),
        None => "for no rule allows it".to_owned(),
    };
    let verb = if may { "may" } else { "may not" };
    println!("it {verb} {does} `{}`, {why}", tidegate_gateway::harmless(&asked.topic));
    if may { Ok(()) } else { Err(Failure::Found) }
}

/// The broker that is meant.
pub(crate) fn own<'a>(config: &'a Config, wanted: Option<&str>) -> Result<(&'a str, &'a EmbeddedBroker), Failure> {
    let own = config.brokers.iter().filter_map(|(name, broker)| match broker {
        Broker::Embedded(embedded) => Some((name.as_str(), embedded)),
        Broker::Link(_) | Broker::Nats(_) => None,
    });
    let all: Vec<_> = own.collect();
    let names = || all.iter().map(|(name, _)| *name).collect::<Vec<_>>().join(", ");
    match (wanted, &all[..]) {
        (None, [one]) => Ok(*one),
        (_, []) => {
            Err(Failure::Usage("no broker of this configuration is the box's own: access lists are its alone".into()))
        }
        (None, _) => Err(Failure::Usage(format!("name the broker: --broker, one of {}", names()))),
        (Some(wanted), all) => all.iter().find(|(name, _)| *name == wanted).copied().ok_or_else(|| {
            Failure::Usage(format!("`{wanted}` is none of the box's own brokers; these are {}", names()))
        }),
    }
}
