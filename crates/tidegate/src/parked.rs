//! `tidegate parked`: messages that a plugin could not decide or a target did not take, through the admin listener of the running gateway.

use crate::people::{ago, messages};
use crate::table::{Column, Line, Tone, lines, print, wants_json, width};
use crate::{Failure, admin_client, check};
use tidegate_admin::model::Parked;
use tidegate_config::Config;

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
    /// All of them, or some: a table on a terminal, JSON elsewhere.
    List {
        #[command(flatten)]
        filter: Filter,
        /// As JSON, on a terminal too.
        #[arg(long)]
        json: bool,
        /// As a table, elsewhere too.
        #[arg(long, conflicts_with = "json")]
        table: bool,
    },
    /// One, with the first 4 KiB of its payload.
    Show { number: u64 },
    /// Let them enter their routes again, or send them to the target that did not take them.
    Replay {
        #[command(flatten)]
        which: Which,
        /// To this broker or target set instead, as they are.
        #[arg(long, value_name = "TARGET")]
        to: Option<String>,
    },
    /// Forget them.
    Delete {
        #[command(flatten)]
        which: Which,
    },
}

/// Some of them.
#[derive(Debug, clap::Args)]
struct Filter {
    /// Only of this route.
    #[arg(long)]
    route: Option<String>,
    /// Only those that this plugin could not decide.
    #[arg(long)]
    plugin: Option<String>,
    /// Only those that this target did not take.
    #[arg(long)]
    target: Option<String>,
    /// Only of this kind, or with this in their reason.
    #[arg(long)]
    reason: Option<String>,
}

impl Filter {
    fn lets(&self, one: &Parked) -> bool {
        let is = |wanted: &Option<String>, found: &str| wanted.as_ref().is_none_or(|wanted| wanted == found);
        is(&self.route, &one.route)
            && is(&self.plugin, &one.plugin)
            && is(&self.target, &one.target)
            && self.reason.as_ref().is_none_or(|wanted| one.kind == *wanted || one.reason.contains(wanted))
    }
}

/// Those with these numbers, or all that a filter lets.
#[derive(Debug, clap::Args)]
struct Which {
    /// Their numbers.
    #[arg(required_unless_present = "all", value_name = "NUMBER")]
    numbers: Vec<u64>,
    /// All of them, or all with these:
    #[arg(long, conflicts_with = "numbers")]
    all: bool,
    #[command(flatten)]
    filter: Filter,
}

/// Asks and prints the answer.
pub(crate) fn parked(arguments: Arguments) -> Result<(), Failure> {
    let config = arguments.config.load()?;
    match arguments.what {
        What::List { filter, json, table } => {
            let found = list(&config, &filter)?;
            match wants_json(json, table) {
                true => println!("{}", serde_json::json!(found)),
                false => print(&table_of(&found)),
            }
            Ok(())
        }
        What::Show { number } => {
            print!("{}", admin_client::ask(&config, "GET", &format!("/parked/{number}"))?);
            Ok(())
        }
        What::Replay { which, to } => {
            let to = to.map(|to| format!("?to={to}")).unwrap_or_default();
            each(&config, &which, "POST", |number| format!("/parked/{number}/replay{to}"))
        }
        What::Delete { which } => each(&config, &which, "DELETE", |number| format!("/parked/{number}")),
    }
}

fn list(config: &Config, filter: &Filter) -> Result<Vec<Parked>, Failure> {
    let answer = admin_client::ask(config, "GET", "/parked")?;
    let mut found: Vec<Parked> = admin_client::read(&answer)?;
    found.retain(|one| filter.lets(one));
    Ok(found)
}

/// Does the same to each, and says how it went; goes on after one that cannot be, and fails then.
fn each(config: &Config, which: &Which, method: &str, path: impl Fn(u64) -> String) -> Result<(), Failure> {
    let numbers = match which.all {
        true => list(config, &which.filter)?.iter().map(|one| one.number).collect(),
        false => which.numbers.clone(),
    };
    let (mut done, mut failed) = (0, Vec::new());
    for number in &numbers {
        match admin_client::ask(config, method, &path(*number)) {
            Ok(words) if !which.all => print!("{words}"),
            Ok(_) => done += 1,
            Err(Failure::Unavailable(words)) => failed.push(words),
            Err(failure) => return Err(failure),
        }
    }
    if which.all {
        println!("{}: {}", messages(done), if method == "POST" { "on their way again" } else { "deleted" });
    }
    match failed.is_empty() {
        true => Ok(()),
        false => Err(Failure::Unavailable(failed.join("\n"))),
    }
}

fn table_of(found: &[Parked]) -> Vec<Line> {
    if found.is_empty() {
        return vec![Line::new(Tone::Plain, "nothing is parked")];
    }
    let columns = [
        Column::Number("NUMBER"),
        Column::Text("RECEIVED"),
        Column::Text("ROUTE"),
        Column::Text("BY"),
        Column::Text("TOPIC"),
        Column::Text("WHY"),
    ];
    let row = |one: &Parked| {
        let by = if one.plugin.is_empty() { &one.target } else { &one.plugin };
        let why = format!("{}: {}", one.kind, one.reason);
        (
            Tone::Plain,
            vec![one.number.to_string(), ago(one.received_ms), one.route.clone(), by.clone(), one.topic.clone(), why],
        )
    };
    lines(&columns, &found.iter().map(row).collect::<Vec<_>>(), width())
}
