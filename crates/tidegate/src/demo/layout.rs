//! What is shown, as lines for a screen of so many columns and rows. Pure: the terminal is [`super::screen`]'s.

use super::events::Event;
use std::time::Duration;
use tidegate_gateway::{RouteSnapshot, Snapshot};

/// How a line looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Style {
    Plain,
    Strong,
    Good,
    Bad,
}

/// A line of the screen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Line {
    pub(crate) text: String,
    pub(crate) style: Style,
}

impl Line {
    fn new(text: impl Into<String>, style: Style) -> Self {
        Self { text: text.into(), style }
    }
}

/// Everything there is to show.
#[derive(Debug)]
pub(crate) struct View<'a> {
    pub(crate) now: &'a Snapshot,
    pub(crate) before: &'a Snapshot,
    /// From `before` to `now`.
    pub(crate) seconds: f64,
    pub(crate) title: String,
    pub(crate) story: &'a str,
    /// What it is good for, and what to type for it.
    pub(crate) commands: &'a [(&'static str, String)],
    pub(crate) events: &'a [Event],
}

/// Rows that what has happened has at least, if they are needed.
const EVENT_ROWS_MIN: usize = 4;

/// The whole screen: no line is longer than `columns`, and there are no more than `rows`.
///
/// Where there is little room the story goes first, then the commands, and the oldest of what has happened.
pub(crate) fn screen(view: &View<'_>, columns: usize, rows: usize) -> Vec<Line> {
    let head = vec![Line::new(view.title.clone(), Style::Strong)];
    let table = with_gap(table(view.now, view.before, view.seconds, columns));
    let story = plain(wrap(view.story, columns, ""));
    let commands = with_gap(commands(view.commands, columns));
    let fixed = head.len() + table.len() + EVENT_ROWS_MIN + 1;
    let has_commands = fixed + commands.len() <= rows;
    let has_story = has_commands && fixed + commands.len() + story.len() <= rows;
    let mut lines = head;
    lines.extend(story.into_iter().filter(|_| has_story));
    lines.extend(table);
    lines.extend(commands.into_iter().filter(|_| has_commands));
    // A blank row and the heading come before them.
    let left = rows.saturating_sub(lines.len() + 2);
    let events = events(view.events, columns);
    if left > 0 && !events.is_empty() {
        lines.push(Line::new("", Style::Plain));
        lines.push(Line::new("What has happened", Style::Strong));
        lines.extend(events.into_iter().rev().take(left).rev());
    }
    lines.truncate(rows);
    lines.iter_mut().for_each(|line| line.text = cut(&line.text, columns));
    lines
}

fn with_gap(mut lines: Vec<Line>) -> Vec<Line> {
    lines.insert(0, Line::new("", Style::Plain));
    lines
}

fn plain(lines: Vec<String>) -> Vec<Line> {
    lines.into_iter().map(|text| Line::new(text, Style::Plain)).collect()
}

/// How much a number of a route grows in a second.
type Rate<'a> = dyn Fn(fn(&RouteSnapshot) -> u64) -> f64 + 'a;

/// A column of the table.
struct Column {
    name: &'static str,
    /// With the space before it.
    width: usize,
    /// Where there is too little room, the highest goes first.
    spare: u8,
    value: fn(&RouteSnapshot, &Rate<'_>) -> String,
}

/// The first column is the route's name.
const NAME_WIDTH: usize = 10;

const COLUMNS: [Column; 9] = [
    Column { name: "in", width: 9, spare: 4, value: |route, _| route.account.received.to_string() },
    Column { name: "out", width: 9, spare: 3, value: |route, _| route.account.out.to_string() },
    Column {
        name: "in/s",
        width: 7,
        spare: 1,
        value: |_, rate| format!("{:.0}", rate(|route| route.account.received)),
    },
    Column { name: "out/s", width: 7, spare: 0, value: |_, rate| format!("{:.0}", rate(|route| route.account.out)) },
    Column { name: "dropped", width: 9, spare: 2, value: |route, _| route.account.dropped_total().to_string() },
    Column { name: "failed", width: 7, spare: 6, value: |route, _| failures(route).to_string() },
    Column { name: "parked", width: 7, spare: 5, value: |route, _| route.account.parked.to_string() },
    Column { name: "p50", width: 7, spare: 8, value: |route, _| time(route.account.latency.quantile_us(0.5)) },
    Column { name: "p99", width: 7, spare: 7, value: |route, _| time(route.account.latency.quantile_us(0.99)) },
];

fn failures(route: &RouteSnapshot) -> u64 {
    route.plugins.iter().map(|plugin| plugin.failures).sum()
}

/// Two lines a route, with the rates since the snapshot before; the first line is the heading.
pub(crate) fn table(now: &Snapshot, before: &Snapshot, seconds: f64, columns: usize) -> Vec<Line> {
    let mut shown: Vec<&Column> = COLUMNS.iter().collect();
    while NAME_WIDTH + shown.iter().map(|column| column.width).sum::<usize>() > columns {
        let Some(spare) = shown.iter().map(|column| column.spare).max() else { break };
        shown.retain(|column| column.spare != spare);
    }
    let cells = |name: &str, values: Vec<String>| {
        let name: String = name.chars().take(NAME_WIDTH).collect();
        let cells =
            shown.iter().zip(values).map(|(column, value)| format!(" {value:>width$}", width = column.width - 1));
        format!("{name:<NAME_WIDTH$}{}", cells.collect::<String>())
    };
    let names = shown.iter().map(|column| column.name.to_owned()).collect();
    let mut lines = vec![Line::new(cells("route", names), Style::Strong)];
    for route in &now.routes {
        let earlier = before.routes.iter().find(|known| known.name == route.name);
        let rate = |value: fn(&RouteSnapshot) -> u64| {
            let since = value(route).saturating_sub(earlier.map_or(0, value));
            since as f64 / seconds.max(0.001)
        };
        let values = shown.iter().map(|column| (column.value)(route, &rate)).collect();
        lines.push(Line::new(cells(&route.name, values), Style::Plain));
        lines.push(Line::new(format!("  {}", details(route)), Style::Plain));
    }
    lines
}

/// Its plugins with the first digits of their SHA-256, and why what was dropped was dropped.
fn details(route: &RouteSnapshot) -> String {
    let plugins: Vec<_> = route.plugins.iter().map(|plugin| format!("{}@{}", plugin.name, plugin.version)).collect();
    let dropped: Vec<_> = route.account.dropped.iter().filter(|(_, count)| **count > 0).collect();
    let dropped: Vec<_> = dropped.iter().map(|(reason, count)| format!("{reason} {count}")).collect();
    match dropped.is_empty() {
        true => plugins.join(" "),
        false => format!("{}; {}", plugins.join(" "), dropped.join(", ")),
    }
}

/// An upper bound on a latency, in one unit whatever it is.
fn time(us: Option<u64>) -> String {
    match us {
        None => "-".to_owned(),
        Some(us) if us < 10_000 => format!("<{:.1}ms", us as f64 / 1000.0),
        Some(us) => format!("<{}ms", us / 1000),
    }
}

/// Before every command: what it is good for.
const PURPOSE_WIDTH: usize = 9;

/// What can be typed; a shell takes what is broken with backslashes for one line.
pub(crate) fn commands(commands: &[(&'static str, String)], columns: usize) -> Vec<Line> {
    let mut lines = Vec::new();
    for (purpose, command) in commands {
        for (number, part) in wrap(command, columns.saturating_sub(PURPOSE_WIDTH), " \\").into_iter().enumerate() {
            let purpose = if number == 0 { purpose } else { "" };
            lines.push(Line::new(format!("{purpose:<PURPOSE_WIDTH$}{part}"), Style::Plain));
        }
    }
    lines
}

fn events(events: &[Event], columns: usize) -> Vec<Line> {
    let mut lines = Vec::new();
    for Event { at, bad, text } in events {
        let time = seconds(*at);
        let room = columns.saturating_sub(time.len() + 1);
        for (number, part) in wrap(text, room, "").into_iter().enumerate() {
            let margin = if number == 0 { time.clone() } else { " ".repeat(time.len()) };
            let style = if *bad { Style::Bad } else { Style::Good };
            lines.push(Line::new(format!("{margin} {part}"), style));
        }
    }
    lines
}

/// `  12 s`.
fn seconds(at: Duration) -> String {
    format!("{:>4} s", at.as_secs())
}

/// Breaks a text at spaces into lines of at most `columns`, `mark` at the end of every line but the last included. A word
/// that is longer than a line stays whole: a path in two pieces is of no use.
fn wrap(text: &str, columns: usize, mark: &str) -> Vec<String> {
    let mut lines = vec![String::new()];
    for word in text.split(' ') {
        let Some(line) = lines.last_mut() else { break };
        let room = columns.saturating_sub(mark.chars().count());
        if line.is_empty() {
            *line = word.to_owned();
        } else if line.chars().count() + 1 + word.chars().count() <= room {
            *line += " ";
            *line += word;
        } else {
            *line += mark;
            lines.push(word.to_owned());
        }
    }
    lines
}

/// The beginning of a text that is too long, with a sign that there is more.
fn cut(text: &str, columns: usize) -> String {
    if text.chars().count() <= columns {
        return text.to_owned();
    }
    let kept: String = text.chars().take(columns.saturating_sub(1)).collect();
    if columns == 0 { String::new() } else { format!("{kept}…") }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tidegate_gateway::{Account, Histogram, PluginSnapshot};

    fn snapshot() -> Snapshot {
        let plugin =
            |name: &str| PluginSnapshot { name: name.into(), version: "a0992b37".into(), ..Default::default() };
        let mut latency = Histogram::default();
        latency.record(2_000);
        latency.record(131_000);
        let route = |name: &str, plugins: Vec<PluginSnapshot>| RouteSnapshot {
            twins: 0,
            name: name.into(),
            account: Account {
                received: 1_234_567,
                out: 1_200_000,
                dropped: [("routed to drop".into(), 34_567), ("unchanged".into(), 1), ("never".into(), 0)].into(),
                latency: latency.clone(),
                ..Default::default()
            },
            plugins,
        };
        let telemetry = route("telemetry", vec![plugin("by-kind"), plugin("celsius"), plugin("calm")]);
        Snapshot { routes: vec![telemetry, route("alarms", vec![plugin("alarms-only")])], ..Default::default() }
    }

    const REFUSED: &str = "reload refused, what ran keeps running: demo.toml:20:48: unknown key `rond` in `config`; did \
                           you mean `round`?";

    fn shown(columns: usize, rows: usize, events: &[Event]) -> Vec<String> {
        let (now, before) = (snapshot(), snapshot());
        let commands = [
            ("listen", "tidegate sub -u mqtt://127.0.0.1:39221 -t '#'".to_owned()),
            (
                "ask why",
                "tidegate explain -c /tmp/tidegate-demo-AbCdEf/demo.toml -b home -t dev/hall/temp -p '{\"temp\":71.6}'"
                    .to_owned(),
            ),
        ];
        let view = View {
            now: &now,
            before: &before,
            seconds: 0.5,
            title: "tidegate demo, for 12 s; Ctrl-C ends it".into(),
            story: "Eight rooms publish readings in Fahrenheit; plugins drop debug readings, send alarms to the office.",
            commands: &commands,
            events,
        };
        screen(&view, columns, rows).into_iter().map(|line| line.text).collect()
    }

    fn event(text: &str) -> Event {
        Event { at: Duration::from_secs(12), bad: true, text: text.into() }
    }

    #[test]
    fn no_screen_is_too_small_and_none_is_overrun() {
        let events = vec![event(REFUSED); 30];
        for columns in 1..=200 {
            for rows in [1, 2, 5, 10, 24, 50] {
                let lines = shown(columns, rows, &events);
                assert!(lines.len() <= rows, "{} lines for {rows} rows", lines.len());
                let longest = lines.iter().map(|line| line.chars().count()).max();
                assert!(longest <= Some(columns), "{longest:?} for {columns} columns: {lines:?}");
            }
        }
    }

    #[test]
    fn eighty_columns_hold_the_whole_table_and_why_a_reload_was_refused() {
        let screen = shown(80, 24, &[event(REFUSED)]).join("\n");
        for words in ["route", "p99", "<2.0ms", "<131ms", "calm@a0992b37", "1234567", "did you mean"] {
            assert!(screen.contains(words), "no `{words}` in\n{screen}");
        }
        assert!(screen.contains("explain -c /tmp/tidegate-demo-AbCdEf/demo.toml -b home -t \\\n"), "{screen}");
    }

    #[test]
    fn where_there_is_little_room_the_newest_event_stays() {
        let events: Vec<_> = (0..30).map(|number| event(&format!("event {number}"))).collect();
        for rows in [12, 16, 24] {
            let screen = shown(60, rows, &events).join("\n");
            assert!(screen.contains("event 29") && screen.contains("out/s"), "{screen}");
        }
    }

    #[test]
    fn a_broken_command_is_one_line_to_a_shell() {
        let command = "a bb ccc dddd eeeee";
        let lines = wrap(command, 9, " \\");
        assert_eq!(lines, ["a bb \\", "ccc \\", "dddd \\", "eeeee"]);
        assert_eq!(lines.join("\n").replace(" \\\n", " "), command);
    }
}
