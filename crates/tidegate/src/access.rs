//! `tidegate access`: what a client of the box's own broker may do, and by which rule.

use crate::{Failure, check};
use tidegate_config::{Config, EmbeddedBroker};
use tidegate_gateway::{AccessAction, Certificate, ClientNames, explain_access};

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
    /// A name in the certificate that it shows; may be given more than once.
    #[arg(long = "certificate", value_name = "NAME")]
    certificates: Vec<Box<str>>,
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
    let certificate = Certificate::Shown(&asked.certificates);
    let client = ClientNames { user: asked.user.as_deref(), client_id: &asked.client, certificate };
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
        let config = self.config.load()?;
        let (name, broker) = own_broker(&config, self.broker.as_deref())?;
        Ok((name.to_owned(), broker.clone()))
    }
}

/// The one of the box's own brokers that is meant, or the only one: its name, and what the configuration says of it.
pub(crate) fn own_broker<'a>(
    config: &'a Config,
    wanted: Option<&str>,
) -> Result<(&'a str, &'a EmbeddedBroker), Failure> {
    let own = config.brokers.iter().filter_map(|(name, broker)| Some((name.as_str(), broker.embedded()?)));
    let all: Vec<_> = own.collect();
    let names = all.iter().map(|(name, _)| *name).collect::<Vec<_>>().join(", ");
    let words = match (wanted, &all[..]) {
        (_, []) => {
            "no broker of this configuration is the box's own: it alone has users, access lists and clients".to_owned()
        }
        (None, [one]) => return Ok(*one),
        (None, _) => format!("name the broker: --broker, one of {names}"),
        (Some(wanted), _) => match all.iter().find(|(name, _)| *name == wanted) {
            Some(one) => return Ok(*one),
            None => format!("`{wanted}` is none of the box's own brokers; these are {names}"),
        },
    };
    Err(Failure::Usage(words))
}
