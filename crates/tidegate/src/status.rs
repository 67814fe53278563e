//! `tidegate status`: how a running gateway does, on one screen.

use crate::admin_client::read;
use crate::people::{ago, bytes, count, messages, rate, span};
use crate::table::{Column, Line, Tone, lines, print, width};
use crate::{Failure, admin_client, check};
use std::time::Duration;
use tidegate_admin::model::{BrokerStatus, RouteStatus, Status};

/// Of `tidegate status`.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    #[command(flatten)]
    config: check::ConfigFile,
    /// Everything there is, as JSON: what `/api/v1/status` of the admin listener says.
    #[arg(long)]
    json: bool,
    /// Only this route.
    #[arg(long, value_name = "ROUTE")]
    route: Option<String>,
}

/// So far apart are two looks, for messages a second.
const APART: Duration = Duration::from_millis(1_050);

/// Asks the gateway and prints how it does.
pub(crate) fn status(arguments: Arguments) -> Result<(), Failure> {
    let config = arguments.config.load()?;
    let look = || admin_client::ask(&config, "GET", "/api/v1/status");
    let mut answer = look()?;
    let mut status: Status = read(&answer)?;
    if status.routes.iter().any(|route| route.rates.is_none()) {
        // Nobody has looked a moment ago.
        std::thread::sleep(APART);
        answer = look()?;
        status = read(&answer)?;
    }
    if let Some(name) = &arguments.route {
        status.routes.retain(|route| route.name == *name);
        if status.routes.is_empty() {
            return Err(Failure::Usage(format!("the gateway that runs has no route `{name}`")));
        }
    }
    if arguments.json {
        print!("{answer}");
        return Ok(());
    }
    let width = width();
    match arguments.route {
        Some(_) => print(&route_lines(&status.routes, width)),
        None => print(&screen(&status, width)),
    }
    Ok(())
}

/// Everything, as lines.
pub(crate) fn screen(status: &Status, width: usize) -> Vec<Line> {
    let mut all = head(status);
    all.push(Line::new(Tone::Plain, ""));
    all.extend(broker_lines(status, width));
    if !status.sets.is_empty() || !status.sources.is_empty() {
        all.push(Line::new(Tone::Plain, ""));
        all.extend(group_lines(status, width));
    }
    all.push(Line::new(Tone::Plain, ""));
    all.extend(route_lines(&status.routes, width));
    let waiting: Vec<_> = status.queues.iter().filter(|queue| queue.messages > 0).collect();
    if !waiting.is_empty() {
        all.push(Line::new(Tone::Plain, ""));
        let columns = [
            Column::Text("WAITS FOR"),
            Column::Text("PRIORITY"),
            Column::Number("MESSAGES"),
            Column::Number("SIZE"),
            Column::Number("OLDEST"),
            Column::Number("OF QUOTA"),
        ];
        let rows: Vec<_> = waiting
            .iter()
            .map(|queue| {
                let used = queue.used.map_or("-".to_owned(), |used| format!("{:.1} %", used * 100.0));
                let cells = vec![
                    queue.target.clone(),
                    queue.priority.clone(),
                    count(queue.messages),
                    bytes(queue.bytes),
                    span(queue.oldest_s),
                    used,
                ];
                (Tone::Plain, cells)
            })
            .collect();
        all.extend(lines(&columns, &rows, width));
    }
    all
}

fn head(status: &Status) -> Vec<Line> {
    let about = &status.gateway;
    let up = span(about.now_ms.saturating_sub(about.started_at_ms) as f64 / 1000.0);
    let (tone, state) = if status.ready { (Tone::Good, "ready") } else { (Tone::Bad, "not ready") };
    let mut all = vec![Line::new(tone, format!("{} {}: {state}, up {up}", about.name, about.version))];
    all.extend(status.problems.iter().map(|problem| Line::new(Tone::Bad, format!("  {problem}"))));
    let reload = &status.reload;
    if reload.is_refused {
        let when = reload.refused_at_ms.map(ago).unwrap_or_default();
        all.push(Line::new(Tone::Bad, format!("the file was refused {when}; what ran before keeps running:")));
        all.extend(reload.reasons.iter().map(|reason| Line::new(Tone::Bad, format!("  {reason}"))));
    } else {
        let when = reload.applied_at_ms.map(ago).unwrap_or_default();
        let words = if reload.applied == 0 { "read at the start, " } else { "applied " };
        all.push(Line::new(Tone::Soft, format!("what runs is the file on disk, {words}{when}")));
    }
    all.extend(reload.next_start.iter().map(|change| Line::new(Tone::Bad, format!("  {change}"))));
    let totals = &status.totals;
    let balanced = if totals.is_balanced() { "yes" } else { "NO, please report this" };
    all.push(Line::new(
        Tone::Plain,
        format!(
            "{} in, {} out, {} dropped, {} waiting, {} parked; every message accounted for: {balanced}",
            count(totals.received),
            count(totals.delivered),
            count(totals.dropped),
            count(status.waiting),
            count(status.parked)
        ),
    ));
    let disk = &status.disk;
    let tone = if disk.state == "good" && disk.damaged == 0 { Tone::Soft } else { Tone::Bad };
    all.push(Line::new(
        tone,
        format!(
            "memory {}, processor {}, disk {}, {} written, {} places damaged",
            bytes(status.process.memory_bytes),
            span(status.process.cpu_s),
            disk.state,
            bytes(disk.written_bytes),
            disk.damaged
        ),
    ));
    all
}

fn broker_lines(status: &Status, width: usize) -> Vec<Line> {
    let columns = [
        Column::Text("BROKER"),
        Column::Text("STATE"),
        Column::Text("SPEAKS"),
        Column::Number("IN"),
        Column::Number("OUT"),
        Column::Text("WHAT IS WRONG"),
    ];
    let row = |broker: &BrokerStatus| {
        let (tone, state) = match (broker.up, broker.ready) {
            (true, true) => (Tone::Plain, "up"),
            (true, false) => (Tone::Bad, "trouble"),
            (false, _) => (Tone::Bad, "away"),
        };
        let wrong: Vec<&str> = match broker.up {
            false => broker.error.iter().map(String::as_str).collect(),
            true => broker.problems.iter().map(String::as_str).collect(),
        };
        let cells = vec![
            broker.name.clone(),
            state.to_owned(),
            broker.version.clone(),
            rate(broker.rates.map(|rates| rates.received)),
            rate(broker.rates.map(|rates| rates.delivered)),
            wrong.join("; "),
        ];
        (tone, cells)
    };
    lines(&columns, &status.brokers.iter().map(row).collect::<Vec<_>>(), width)
}

fn group_lines(status: &Status, width: usize) -> Vec<Line> {
    let columns = [Column::Text("SET"), Column::Text("MEMBERS: WHO GETS WHAT")];
    let sets = status.sets.iter().map(|set| {
        let member = |member: &tidegate_admin::model::MemberStatus| {
            let out = if member.is_out { ", given up" } else { "" };
            let strained = if member.relieved_to < 1.0 { ", strained" } else { "" };
            format!("{} {:.0} %{out}{strained}", member.broker, member.share * 100.0)
        };
        let members: Vec<String> = set.members.iter().map(member).collect();
        (if set.down { Tone::Bad } else { Tone::Plain }, vec![set.name.clone(), members.join(", ")])
    });
    let sources = status.sources.iter().map(|source| {
        let words = match source.subscribed.is_empty() {
            true => "subscribed to at none".to_owned(),
            false => format!("subscribed to at {}", source.subscribed.join(", ")),
        };
        (if source.down { Tone::Bad } else { Tone::Plain }, vec![source.name.clone(), words])
    });
    lines(&columns, &sets.chain(sources).collect::<Vec<_>>(), width)
}

pub(crate) fn route_lines(routes: &[RouteStatus], width: usize) -> Vec<Line> {
    let columns = [
        Column::Text("ROUTE"),
        Column::Number("IN"),
        Column::Number("OUT"),
        Column::Number("DROPPED"),
        Column::Number("PARKED"),
        Column::Number("UNDER WAY"),
        Column::Number("P99"),
        Column::Text("DROPPED FOR, AND WHAT IS WRONG"),
    ];
    let row = |route: &RouteStatus| {
        let mut drops: Vec<_> = route.drops.iter().collect();
        drops.sort_by_key(|(_, count)| std::cmp::Reverse(**count));
        let mut words: Vec<String> = Vec::new();
        if route.looping {
            words.push("in a loop".to_owned());
        }
        if route.waiting {
            words.push("its plugins are being compiled".to_owned());
        }
        let failing = route.plugins.iter().filter(|plugin| plugin.failures > 0);
        words.extend(failing.map(|plugin| format!("{} did not decide {}", plugin.name, messages(plugin.failures))));
        let is_bad = !words.is_empty() || route.account.parked > 0;
        words.extend(drops.iter().map(|(reason, dropped)| format!("{reason} {}", count(**dropped))));
        let cells = vec![
            route.name.clone(),
            rate(route.rates.map(|rates| rates.received)),
            rate(route.rates.map(|rates| rates.delivered)),
            rate(route.rates.map(|rates| rates.dropped)),
            count(route.account.parked),
            count(route.account.in_flight),
            route.p99_ms.map_or("-".to_owned(), |ms| span(ms / 1000.0)),
            words.join(", "),
        ];
        (if is_bad { Tone::Bad } else { Tone::Plain }, cells)
    };
    lines(&columns, &routes.iter().map(row).collect::<Vec<_>>(), width)
}
