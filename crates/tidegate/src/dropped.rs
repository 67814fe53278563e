//! `tidegate dropped`: the last messages that a running gateway has dropped, and why.

use crate::people::{ago, messages};
use crate::table::{Column, Line, Tone, lines, print, width};
use crate::{Failure, admin_client, check};
use tidegate_admin::model::Drops;

/// Of `tidegate dropped`.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    #[command(flatten)]
    config: check::ConfigFile,
    /// Only in this route.
    #[arg(long)]
    route: Option<String>,
    /// Only for this reason, as it is counted.
    #[arg(long)]
    reason: Option<String>,
    /// One message a line, as JSON.
    #[arg(long)]
    json: bool,
}

/// Asks the gateway and prints them, the oldest first.
pub(crate) fn dropped(arguments: Arguments) -> Result<(), Failure> {
    let config = arguments.config.load()?;
    let answer = admin_client::ask(&config, "GET", "/api/v1/dropped")?;
    let mut drops: Drops = admin_client::read(&answer)?;
    drops.kept.retain(|one| {
        arguments.route.as_ref().is_none_or(|route| one.route == *route)
            && arguments.reason.as_ref().is_none_or(|reason| one.reason == *reason)
    });
    if arguments.json {
        for one in &drops.kept {
            println!("{}", serde_json::json!(one));
        }
        return Ok(());
    }
    let columns = [Column::Text("WHEN"), Column::Text("ROUTE"), Column::Text("REASON"), Column::Text("TOPIC")];
    let row = |one: &tidegate_admin::model::Dropped| {
        let topic = one.topic.clone().unwrap_or_else(|| "(not known any more)".to_owned());
        (Tone::Plain, vec![ago(one.at_ms), one.route.clone(), one.reason.clone(), topic])
    };
    let mut all = match drops.kept.is_empty() {
        true => vec![Line::new(Tone::Plain, "nothing of that was dropped")],
        false => lines(&columns, &drops.kept.iter().map(row).collect::<Vec<_>>(), width()),
    };
    let words = format!(
        "dropped since the start: {}; the last 25 of each reason of each route are kept",
        messages(drops.total)
    );
    all.push(Line::new(Tone::Soft, words));
    print(&all);
    Ok(())
}
