//! What `top` shows of a status: tables that can be sorted.

use crate::people::{bytes, count, rate, span};
use crate::table::Tone;
use tidegate_admin::model::Status;
use tidegate_gateway::harmless;

/// A row, and what it is sorted by.
pub(super) struct Row {
    pub(super) tone: Tone,
    pub(super) cells: Vec<String>,
    keys: Vec<Key>,
}

/// Numbers from the largest, texts from the first.
#[derive(Debug, Clone, PartialEq)]
enum Key {
    Number(f64),
    Text(String),
}

/// One table.
pub(super) struct View {
    /// Each with whether it holds numbers.
    pub(super) columns: &'static [(&'static str, bool)],
    pub(super) rows: Vec<Row>,
}

fn text(text: &str) -> (String, Key) {
    let shown = harmless(text);
    (shown.clone(), Key::Text(shown))
}

fn number(shown: String, value: f64) -> (String, Key) {
    (shown, Key::Number(value))
}

fn counted(n: u64) -> (String, Key) {
    number(count(n), n as f64)
}

fn each(n: Option<f64>) -> (String, Key) {
    number(rate(n), n.unwrap_or(-1.0))
}

fn row(is_bad: bool, cells: Vec<(String, Key)>) -> Row {
    let (cells, keys) = cells.into_iter().unzip();
    Row { tone: if is_bad { Tone::Bad } else { Tone::Plain }, cells, keys }
}

impl View {
    pub(super) const COUNT: usize = 4;
    pub(super) const NAMES: [&'static str; Self::COUNT] = ["Routes", "Brokers", "Waiting", "Plugins"];

    /// The one of this number.
    pub(super) fn of(status: &Status, view: usize) -> Self {
        match view {
            0 => Self::routes(status),
            1 => Self::brokers(status),
            2 => Self::waiting(status),
            _ => Self::plugins(status),
        }
    }

    fn routes(status: &Status) -> Self {
        const COLUMNS: &[(&str, bool)] = &[
            ("ROUTE", false),
            ("IN", true),
            ("OUT", true),
            ("DROPPED", true),
            ("PARKED", true),
            ("UNDER WAY", true),
            ("P99", true),
            ("MOST DROPPED FOR", false),
        ];
        let rows = status.routes.iter().map(|route| {
            let most = route.drops.iter().max_by_key(|(_, count)| **count);
            let most = most.map(|(reason, dropped)| format!("{reason} {}", count(*dropped))).unwrap_or_default();
            let is_bad = route.looping || route.account.parked > 0 || route.plugins.iter().any(|plugin| plugin.is_open);
            row(
                is_bad,
                vec![
                    text(&route.name),
                    each(route.rates.map(|rates| rates.received)),
                    each(route.rates.map(|rates| rates.delivered)),
                    each(route.rates.map(|rates| rates.dropped)),
                    counted(route.account.parked),
                    counted(route.account.in_flight),
                    match route.p99_ms {
                        Some(ms) => number(span(ms / 1000.0), ms),
                        None => number("-".to_owned(), -1.0),
                    },
                    text(&most),
                ],
            )
        });
        Self { columns: COLUMNS, rows: rows.collect() }
    }

    fn brokers(status: &Status) -> Self {
        const COLUMNS: &[(&str, bool)] = &[
            ("BROKER", false),
            ("STATE", false),
            ("SPEAKS", false),
            ("IN", true),
            ("OUT", true),
            ("WHAT IS WRONG", false),
        ];
        let rows = status.brokers.iter().map(|broker| {
            let state = match (broker.up, broker.ready) {
                (true, true) => "up",
                (true, false) => "trouble",
                (false, _) => "away",
            };
            let wrong = match broker.up {
                false => broker.error.clone().unwrap_or_default(),
                true => broker.problems.join("; "),
            };
            row(
                !(broker.up && broker.ready),
                vec![
                    text(&broker.name),
                    text(state),
                    text(&broker.version),
                    each(broker.rates.map(|rates| rates.received)),
                    each(broker.rates.map(|rates| rates.delivered)),
                    text(&wrong),
                ],
            )
        });
        Self { columns: COLUMNS, rows: rows.collect() }
    }

    fn waiting(status: &Status) -> Self {
        const COLUMNS: &[(&str, bool)] = &[
            ("WAITS FOR", false),
            ("PRIORITY", false),
            ("MESSAGES", true),
            ("SIZE", true),
            ("OLDEST", true),
            ("OF QUOTA", true),
        ];
        let rows = status.queues.iter().map(|queue| {
            row(
                queue.used.is_some_and(|used| used > 0.8),
                vec![
                    text(&queue.target),
                    text(&queue.priority),
                    counted(queue.messages),
                    number(bytes(queue.bytes), queue.bytes as f64),
                    number(if queue.messages == 0 { "-".to_owned() } else { span(queue.oldest_s) }, queue.oldest_s),
                    number(
                        queue.used.map_or("-".to_owned(), |used| format!("{:.1} %", used * 100.0)),
                        queue.used.unwrap_or(-1.0),
                    ),
                ],
            )
        });
        Self { columns: COLUMNS, rows: rows.collect() }
    }

    fn plugins(status: &Status) -> Self {
        const COLUMNS: &[(&str, bool)] = &[
            ("PLUGIN", false),
            ("ROUTE", false),
            ("VERSION", false),
            ("A MESSAGE", true),
            ("CHANGED", true),
            ("DROPPED", true),
            ("FAILED", true),
            ("MEMORY", true),
        ];
        let all = status.routes.iter().flat_map(|route| route.plugins.iter().map(move |plugin| (route, plugin)));
        let rows = all.map(|(route, plugin)| {
            let of = |outcome: &str| plugin.outcomes.get(outcome).copied().unwrap_or_default();
            row(
                plugin.is_open || plugin.failures > 0,
                vec![
                    text(&plugin.name),
                    text(&route.name),
                    text(&plugin.version),
                    match plugin.mean_us {
                        Some(us) => number(format!("{us:.1} us"), us),
                        None => number("-".to_owned(), -1.0),
                    },
                    counted(of("changed")),
                    counted(of("dropped")),
                    counted(plugin.failures),
                    number(bytes(plugin.memory_bytes), plugin.memory_bytes as f64),
                ],
            )
        });
        Self { columns: COLUMNS, rows: rows.collect() }
    }

    /// Numbers from the largest, texts from the first; the other way round if it is reversed.
    pub(super) fn sort(&mut self, by: usize, reversed: bool) {
        self.rows.sort_by(|a, b| {
            let order = match (&a.keys[by], &b.keys[by]) {
                (Key::Number(a), Key::Number(b)) => b.total_cmp(a),
                (Key::Text(a), Key::Text(b)) => a.cmp(b),
                (Key::Number(_), Key::Text(_)) => std::cmp::Ordering::Less,
                (Key::Text(_), Key::Number(_)) => std::cmp::Ordering::Greater,
            };
            if reversed { order.reverse() } else { order }
        });
    }

    /// How wide each column is, with a sign for the sorted one.
    pub(super) fn widths(&self) -> Vec<u16> {
        let cells = |at: usize| self.rows.iter().map(move |row| row.cells[at].chars().count());
        let head = |at: usize| self.columns[at].0.chars().count() + 1;
        (0..self.columns.len()).map(|at| cells(at).chain([head(at)]).max().unwrap_or(1).min(60) as u16).collect()
    }
}

/// The lines above the tables.
pub(super) fn head(status: &Status) -> Vec<(Tone, String)> {
    let about = &status.gateway;
    let up = span(about.now_ms.saturating_sub(about.started_at_ms) as f64 / 1000.0);
    let (tone, state) = if status.ready { (Tone::Good, "ready") } else { (Tone::Bad, "not ready") };
    let totals = |pick: fn(&tidegate_admin::model::Rates) -> f64| {
        let all: Vec<f64> = status.routes.iter().filter_map(|route| route.rates.as_ref().map(pick)).collect();
        rate((!all.is_empty()).then(|| all.iter().sum()))
    };
    let mut lines = vec![
        (tone, format!("{} {}: {state}, up {up}", harmless(&about.name), about.version)),
        (
            Tone::Plain,
            format!(
                "in {}  out {}  dropped {}  waiting {}  parked {}  memory {}",
                totals(|rates| rates.received),
                totals(|rates| rates.delivered),
                totals(|rates| rates.dropped),
                count(status.waiting),
                count(status.parked),
                bytes(status.process.memory_bytes)
            ),
        ),
    ];
    if status.reload.is_refused {
        lines.push((
            Tone::Bad,
            "the file was refused; what ran before keeps running: `tidegate status` says why".to_owned(),
        ));
    }
    if let Some(problem) = status.problems.first() {
        let more = match status.problems.len() {
            1 => String::new(),
            count => format!(" (and {} more)", count - 1),
        };
        lines.push((Tone::Bad, format!("{}{more}", harmless(problem))));
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_sorted_by_what_they_mean() {
        let rows = [("b", 9.0), ("a", 10.0), ("c", 1.0)];
        let rows = rows.map(|(name, n)| row(false, vec![text(name), number(rate(Some(n)), n)]));
        let mut view = View { columns: &[("NAME", false), ("N", true)], rows: rows.into() };
        let names = |view: &View| view.rows.iter().map(|row| row.cells[0].clone()).collect::<String>();
        view.sort(1, false);
        assert_eq!(names(&view), "abc", "from the largest number");
        view.sort(1, true);
        assert_eq!(names(&view), "cba");
        view.sort(0, false);
        assert_eq!(names(&view), "abc");
    }
}
