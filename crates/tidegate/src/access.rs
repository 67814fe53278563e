//! `tidegate access`: what a client of the box's own broker may do, and by which rule.

use crate::{Failure, check};
use tidegate_config::{Broker, EmbeddedBroker};
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
    own: OwnBroker,
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
    let (name, broker) = asked.own.load()?;
    let (action, does) = match asked.action {
        Action::Publish => (AccessAction::Publish, "publish to"),
        Action::Subscribe => (AccessAction::Subscribe, "subscribe with"),
        Action::Receive => (AccessAction::Receive, "be given what is published to"),
    };
    let client = (asked.user.as_deref(), &*asked.client);
    let (may, place) = explain_access(&name, &broker.lists, client, action, &asked.topic).map_err(Failure::Usage)?;
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

/// Which of the box's own brokers is meant.
#[derive(Debug, clap::Args)]
pub(crate) struct OwnBroker {
    #[command(flatten)]
    config: check::ConfigFile,
    /// The broker, where there are several of the box's own.
    #[arg(long, short)]
    broker: Option<String>,
}

impl OwnBroker {
    /// Its name, and what the configuration says of it.
    pub(crate) fn load(self) -> Result<(String, EmbeddedBroker), Failure> {
        let own = self.config.load()?.brokers.into_iter().filter_map(|(name, broker)| match broker {
            Broker::Embedded(embedded) => Some((name, embedded)),
            Broker::Link(_) | Broker::Nats(_) => None,
        });
        let mut all: Vec<_> = own.collect();
        let names = all.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>().join(", ");
        let at = match (&self.broker, all.len()) {
            (None, 1) => Some(0),
            (_, 0) => {
                let words = "no broker of this configuration is the box's own: access lists are its alone";
                return Err(Failure::Usage(words.to_owned()));
            }
            (None, _) => return Err(Failure::Usage(format!("name the broker: --broker, one of {names}"))),
            (Some(wanted), _) => all.iter().position(|(name, _)| name == wanted),
        };
        let none = || {
            let wanted = self.broker.as_deref().unwrap_or_default();
            Failure::Usage(format!("`{wanted}` is none of the box's own brokers; these are {names}"))
        };
        at.map(|at| all.swap_remove(at)).ok_or_else(none)
    }
}
