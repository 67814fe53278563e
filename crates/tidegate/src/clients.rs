//! `tidegate clients`: who is connected to the box's own brokers, and sending one away, through the admin listener of the running gateway.

use crate::access::own_broker;
use crate::people::{ago, bytes, count, span};
use crate::table::{Column, Line, Tone, lines, print, wants_json, width};
use crate::{Failure, admin_client, check, operate, tap};
use tidegate_admin::model::{Client, ClientDetails, Clients};
use tidegate_config::Config;

/// What an expiry says that never comes, in seconds.
const FOR_EVER_S: u32 = u32::MAX;

/// Of `tidegate clients`.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    #[command(flatten)]
    config: check::ConfigFile,
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, clap::Subcommand)]
enum What {
    /// All of them, or some, connected or away: a table on a terminal, JSON elsewhere.
    List {
        #[command(flatten)]
        of: OfBroker,
        /// Only with this in their identifier, user name or address.
        #[arg(long = "match", value_name = "TEXT")]
        matching: Option<String>,
        /// Only those who are connected.
        #[arg(long, conflicts_with = "away")]
        connected: bool,
        /// Only those who are away, and have a session.
        #[arg(long)]
        away: bool,
        /// At most so many.
        #[arg(long, default_value_t = 1000)]
        limit: u32,
        /// As JSON, on a terminal too.
        #[arg(long)]
        json: bool,
        /// As a table, elsewhere too.
        #[arg(long, conflicts_with = "json")]
        table: bool,
    },
    /// One of them, with its subscriptions.
    Show {
        /// Its client identifier.
        client: String,
        #[command(flatten)]
        of: OfBroker,
        /// As JSON.
        #[arg(long)]
        json: bool,
    },
    /// End the connection of one; its will is published, and it may come back.
    Disconnect {
        /// Its client identifier.
        client: String,
        #[command(flatten)]
        of: OfBroker,
        /// End its session, too: its subscriptions and all that waits for it are gone.
        #[arg(long)]
        forget: bool,
    },
}

#[derive(Debug, clap::Args)]
struct OfBroker {
    /// Of which of the box's own brokers; need not be said where there is one.
    #[arg(long)]
    broker: Option<String>,
}

impl OfBroker {
    fn name<'a>(&self, config: &'a Config) -> Result<&'a str, Failure> {
        own_broker(config, self.broker.as_deref()).map(|(name, _)| name)
    }
}

/// Asks and prints the answer.
pub(crate) fn clients(arguments: Arguments) -> Result<(), Failure> {
    let config = arguments.config.load()?;
    let path = |broker: &str, rest: &str| format!("/api/v1/brokers/{broker}/{rest}");
    match arguments.what {
        What::List { of, matching, connected, away, limit, json, table } => {
            let mut query = format!("clients?limit={limit}");
            if let Some(text) = &matching {
                query += &format!("&match={}", tap::coded(text));
            }
            match (connected, away) {
                (true, _) => query += "&connected=true",
                (_, true) => query += "&connected=false",
                _ => {}
            }
            let answer = admin_client::ask(&config, "GET", &path(of.name(&config)?, &query))?;
            if wants_json(json, table) {
                println!("{}", answer.trim_end());
            } else {
                print(&table_of(&admin_client::read(&answer)?));
            }
            Ok(())
        }
        What::Show { client, of, json } => {
            let path = path(of.name(&config)?, &format!("client?id={}", tap::coded(&client)));
            let answer = admin_client::ask(&config, "GET", &path)?;
            match json {
                true => println!("{}", answer.trim_end()),
                false => print(&details(&admin_client::read(&answer)?)),
            }
            Ok(())
        }
        What::Disconnect { client, of, forget } => {
            let rest = format!("client/disconnect?id={}&forget={forget}", tap::coded(&client));
            operate::post(&config, &path(of.name(&config)?, &rest))
        }
    }
}

fn table_of(found: &Clients) -> Vec<Line> {
    let columns = [
        Column::Text("CLIENT"),
        Column::Text("USER"),
        Column::Text("ADDRESS"),
        Column::Text("MQTT"),
        Column::Text("SINCE"),
        Column::Number("SUBS"),
        Column::Number("WAIT"),
        Column::Number("IN"),
        Column::Number("OUT"),
        Column::Number("DROPPED"),
    ];
    let row = |one: &Client| {
        let (address, version, since) = match &one.connection {
            Some(connection) => (connection.address.clone(), spoken(one), ago(connection.since_ms)),
            None => ("away".to_owned(), String::new(), one.away_since_ms.map(ago).unwrap_or_default()),
        };
        let user = one.username.clone().unwrap_or_default();
        let numbers = [one.subscriptions as u64, one.queued as u64, one.received, one.sent, one.dropped].map(count);
        let tone = if one.connection.is_some() { Tone::Plain } else { Tone::Soft };
        (tone, [one.client_id.clone(), user, address, version, since].into_iter().chain(numbers).collect())
    };
    let mut all = match found.clients.is_empty() {
        true => vec![Line::new(Tone::Plain, "no client is connected, and none has a session")],
        false => lines(&columns, &found.clients.iter().map(row).collect::<Vec<_>>(), width()),
    };
    if found.count > found.clients.len() {
        let words = format!("{} more: say `--limit` or `--match`", count((found.count - found.clients.len()) as u64));
        all.push(Line::new(Tone::Soft, words));
    }
    for failed in &found.failed_logins {
        let words = format!("{}: {} wrong passwords, the last {}", failed.address, failed.count, ago(failed.last_ms));
        all.push(Line::new(Tone::Bad, words));
    }
    all
}

fn spoken(client: &Client) -> String {
    let connection = client.connection.as_ref();
    connection.map(|connection| format!("{} {}", connection.transport, connection.version)).unwrap_or_default()
}

fn details(found: &ClientDetails) -> Vec<Line> {
    let one = &found.client;
    let mut all = Vec::new();
    let mut say = |what: &str, words: String| {
        all.push(Line::new(Tone::Plain, tidegate_gateway::harmless(&format!("{what:14}{words}"))));
    };
    say("client", one.client_id.clone());
    say("user", one.username.clone().unwrap_or_else(|| "none".to_owned()));
    match &one.connection {
        Some(connection) => {
            say("connected", format!("from {}, {}, {}", connection.address, spoken(one), ago(connection.since_ms)));
            let keep_alive = match connection.keep_alive_s {
                0 => "none".to_owned(),
                seconds => span(f64::from(seconds)),
            };
            say("keep-alive", keep_alive);
        }
        None => say("away", one.away_since_ms.map(ago).unwrap_or_default()),
    }
    let session = match one.session_expiry_s {
        0 => "ends with its connection".to_owned(),
        FOR_EVER_S => "is kept for ever".to_owned(),
        seconds => format!("is kept for {}", span(f64::from(seconds))),
    };
    say("session", session);
    let waiting =
        format!("{} ({}), {} under way", count(one.queued as u64), bytes(one.queued_bytes as u64), one.in_flight);
    say("waits", waiting);
    say("published", format!("{}, {} not taken", count(one.received), count(one.refused)));
    say("was sent", format!("{}, {} dropped", count(one.sent), count(one.dropped)));
    if one.held_up > 0 {
        say("held up", format!("{} times, for publishing faster than it may", count(one.held_up)));
    }
    if let Some(topic) = &found.will_topic {
        say("will", topic.clone());
    }
    for subscription in &found.subscriptions {
        say("subscribed", format!("{} at QoS {}", subscription.filter, subscription.qos));
    }
    all
}
