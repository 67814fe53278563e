//! The figures of all runs, as a page.

use crate::session::{PACE_PER_S, Phase, SLOW_PER_S, Session};
use crate::subject::Subject;
use std::collections::BTreeMap;
use std::fmt::Write;
use std::time::Duration;

/// The part of a machine that others may use before the page must say so.
const QUIET: f64 = 0.1;

/// All runs of one benchmark.
#[derive(Debug, Default)]
pub(crate) struct Results {
    pub(crate) sessions: BTreeMap<(Subject, u8), Vec<Session>>,
    pub(crate) starts: BTreeMap<Subject, Vec<Duration>>,
    pub(crate) skipped: Vec<(Subject, String)>,
}

/// What the benchmark ran on and how.
#[derive(Debug)]
pub(crate) struct Circumstances {
    /// `Name: value` lines.
    pub(crate) facts: Vec<(&'static str, String)>,
    pub(crate) measured: Duration,
}

impl Results {
    /// The whole page.
    pub(crate) fn page(&self, circumstances: &Circumstances) -> String {
        let mut page = String::from("# What it costs\n\n");
        page.push_str(
            "Written by `cargo run --release -p tidegate-bench`: one connection in, one out, 200-byte JSON payloads, topic\n\
             `dev/<n>/temp` to `site/cottage/<n>/temp`, null brokers at both ends, so that no broker's cost is in a figure.\n\
             Medians of interleaved repeats; in brackets the lowest and the highest.\n\n",
        );
        for (name, value) in &circumstances.facts {
            let _ = writeln!(page, "- {name}: {value}");
        }
        page.push('\n');
        let others = self.others();
        if others > QUIET {
            let _ = writeln!(
                page,
                "**Other work used {:.0} % of the machine meanwhile: the latencies and messages a second say little, and CPU\n\
                 times are of a machine whose caches are shared and whose idle wake-ups are rare.**\n",
                100.0 * others,
            );
        }
        self.full_speed(&mut page);
        self.paced(&mut page, PACE_PER_S, |of| (of.paced, &of.latencies_ns), Subject::p50_target_us);
        self.paced(&mut page, SLOW_PER_S, |of| (of.slow, &of.slow_latencies_ns), |_| None);
        self.process(&mut page);
        self.health(&mut page);
        for (subject, why) in &self.skipped {
            let _ = writeln!(page, "Not measured: {}: {why}\n", subject.name());
        }
        page.push_str(&explanation(circumstances.measured));
        page
    }

    fn full_speed(&self, page: &mut String) {
        page.push_str("## Full speed\n\n");
        let mut table = Table::new(&["", "QoS", "CPU µs a message", "target", "messages/s", "to mosquitto's CPU"]);
        for (&(subject, qos), sessions) in self.by_qos() {
            let cpu = spread(sessions, |session| session.full.cpu_us);
            let rate = spread(sessions, |session| session.full.per_s);
            let mosquitto = self.sessions.get(&(Subject::Mosquitto, qos)).map(|sessions| {
                let theirs = spread(sessions, |session| session.full.cpu_us).median;
                format!("1/{:.1}", theirs / cpu.median)
            });
            table.row([
                subject.name().to_owned(),
                qos.to_string(),
                format!("{} ({} – {})", micros(cpu.median), micros(cpu.low), micros(cpu.high)),
                target(subject.cpu_target_us(qos), cpu.median),
                thousands(rate.median),
                mosquitto.unwrap_or_default(),
            ]);
        }
        table.finish(page);
    }

    fn paced(
        &self,
        page: &mut String,
        per_s: u32,
        of: fn(&Session) -> (Phase, &Vec<u64>),
        p50_target_us: fn(Subject) -> Option<f64>,
    ) {
        let _ = writeln!(page, "## At {} a second, one message a write\n", thousands(per_s.into()));
        let mut table = Table::new(&["", "QoS", "p50 µs", "target", "p99 µs", "CPU µs a message", "messages/s"]);
        for (&(subject, qos), sessions) in self.by_qos() {
            let p50 = spread(sessions, |session| quantile_us(of(session).1, 0.5));
            let p99 = spread(sessions, |session| quantile_us(of(session).1, 0.99));
            table.row([
                subject.name().to_owned(),
                qos.to_string(),
                format!("{:.0} ({:.0} – {:.0})", p50.median, p50.low, p50.high),
                target(p50_target_us(subject), p50.median),
                format!("{:.0} ({:.0} – {:.0})", p99.median, p99.low, p99.high),
                micros(spread(sessions, |session| of(session).0.cpu_us).median),
                thousands(spread(sessions, |session| of(session).0.per_s).median),
            ]);
        }
        table.finish(page);
    }

    fn process(&self, page: &mut String) {
        page.push_str("## Memory and start\n\n");
        let mut table = Table::new(&["", "idle MiB", "target", "peak MiB", "start to first message ms", "target"]);
        for (&subject, starts) in &self.starts {
            let sessions = self.sessions.iter().filter(|((other, _), _)| *other == subject);
            let sessions: Vec<Session> = sessions.flat_map(|(_, sessions)| sessions).cloned().collect();
            let idle = spread(&sessions, |session| session.idle_kib as f64 / 1024.0);
            let peak = spread(&sessions, |session| session.peak_kib as f64 / 1024.0);
            let millis: Vec<f64> = starts.iter().map(|start| start.as_secs_f64() * 1e3).collect();
            let start = Spread::of(millis);
            let ours = |value: f64| subject.is_tidegate().then_some(value);
            table.row([
                subject.name().to_owned(),
                format!("{:.1}", idle.median),
                target(ours(25.0), idle.median),
                format!("{:.1}", peak.high),
                format!("{:.0} ({:.0} – {:.0})", start.median, start.low, start.high),
                target(ours(50.0), start.median),
            ]);
        }
        table.finish(page);
    }

    /// A figure is worth something only if the messages arrived, and nobody else used the machine.
    fn health(&self, page: &mut String) {
        page.push_str("## Whether the figures can be believed\n\n");
        let headings =
            ["", "QoS", "phase", "lost", "gaps or disorder", "wrong topic or payload", "machine used by others"];
        let mut table = Table::new(&headings);
        for (&(subject, qos), sessions) in self.by_qos() {
            for (name, phase) in
                [("full speed", (|s| s.full) as fn(&Session) -> Phase), ("paced", |s| s.paced), ("slow", |s| s.slow)]
            {
                let phases: Vec<Phase> = sessions.iter().map(phase).collect();
                let others = Spread::of(phases.iter().map(|phase| 100.0 * phase.others).collect());
                table.row([
                    subject.name().to_owned(),
                    qos.to_string(),
                    name.to_owned(),
                    phases.iter().map(|phase| phase.lost).sum::<i64>().to_string(),
                    phases.iter().map(|phase| phase.faults.gaps).sum::<u64>().to_string(),
                    phases.iter().map(|phase| phase.faults.foreign).sum::<u64>().to_string(),
                    format!("{:.0} % ({:.0} – {:.0})", others.median, others.low, others.high),
                ]);
            }
        }
        table.finish(page);
    }

    /// Part of the machine used by others, the median of all phases.
    fn others(&self) -> f64 {
        let phases = self.sessions.values().flatten().flat_map(|session| [session.full, session.paced, session.slow]);
        Spread::of(phases.map(|phase| phase.others).collect()).median
    }

    /// QoS 0 first, then QoS 1, each in the order of the subjects.
    fn by_qos(&self) -> impl Iterator<Item = (&(Subject, u8), &Vec<Session>)> {
        let mut all: Vec<_> = self.sessions.iter().collect();
        all.sort_by_key(|((subject, qos), _)| (*qos, *subject));
        all.into_iter()
    }
}

fn explanation(measured: Duration) -> String {
    format!(
        "## How it is measured\n\n\
         - CPU time is what the scheduler says of all threads of the process under test, kernel and user, over {measured:?} after\n  \
           a second of warm-up, divided by the messages that reached the sink in that time.\n\
         - The source writes packets that were encoded beforehand, at QoS 0 as fast as the socket takes them, at QoS 1 as fast as\n  \
           the window empties; the sink counts, looks at every topic, and acknowledges in batches.\n\
         - Latency is from the source's write to the sink's read, in one process with one clock. All three run on the same cores.\n\
         - At QoS 1 Tidegate acknowledges to its source when its target has acknowledged (`ack = \"delivered\"`); mosquitto\n  \
           acknowledges at once and queues, so that its messages are lost if it is.\n\
         - Start is from `exec` to the first message at the sink, with compiled plugins in the cache; the source sends one every\n  \
           millisecond as soon as it has a subscriber.\n\
         - Peak memory is the highest of all runs. mosquitto's holds its queue, which is not limited here.\n"
    )
}

pub(crate) struct Spread {
    pub(crate) low: f64,
    pub(crate) median: f64,
    pub(crate) high: f64,
}

impl Spread {
    pub(crate) fn of(mut values: Vec<f64>) -> Self {
        values.sort_by(f64::total_cmp);
        let at = |index: usize| values.get(index).copied().unwrap_or(f64::NAN);
        let last = values.len().saturating_sub(1);
        let median = (at(last / 2) + at(last.div_ceil(2))) / 2.0;
        Self { low: at(0), median, high: at(last) }
    }
}

fn spread(sessions: &[Session], figure: impl Fn(&Session) -> f64) -> Spread {
    Spread::of(sessions.iter().map(figure).collect())
}

/// Of sorted nanoseconds, in µs.
pub(crate) fn quantile_us(sorted_ns: &[u64], quantile: f64) -> f64 {
    let index = (sorted_ns.len() as f64 * quantile) as usize;
    sorted_ns.get(index).map_or(f64::NAN, |&ns| ns as f64 / 1e3)
}

fn target(at_most: Option<f64>, measured: f64) -> String {
    match at_most {
        None => String::new(),
        Some(at_most) if measured <= at_most => format!("≤ {at_most}"),
        Some(at_most) => format!("≤ {at_most} **missed**"),
    }
}

pub(crate) fn micros(us: f64) -> String {
    if us < 10.0 { format!("{us:.2}") } else { format!("{us:.1}") }
}

fn thousands(number: f64) -> String {
    let digits = format!("{number:.0}");
    let mut out = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

/// A table of Markdown that can also be read in a terminal.
pub(crate) struct Table {
    rows: Vec<Vec<String>>,
}

impl Table {
    pub(crate) fn new(headings: &[&str]) -> Self {
        Self { rows: vec![headings.iter().map(|&heading| heading.to_owned()).collect()] }
    }

    pub(crate) fn row<const N: usize>(&mut self, cells: [String; N]) {
        self.rows.push(cells.into());
    }

    pub(crate) fn finish(self, page: &mut String) {
        let columns = self.rows.first().map_or(0, Vec::len);
        let width = |column: usize| {
            let cells = self.rows.iter().filter_map(|row| row.get(column));
            cells.map(|cell| cell.chars().count()).max().unwrap_or(0).max(3)
        };
        let widths: Vec<usize> = (0..columns).map(width).collect();
        for (index, row) in self.rows.iter().enumerate() {
            for (cell, &width) in row.iter().zip(&widths) {
                let _ = write!(page, "| {cell:width$} ");
            }
            page.push_str("|\n");
            if index == 0 {
                for &width in &widths {
                    let _ = write!(page, "|{}", "-".repeat(width + 2));
                }
                page.push_str("|\n");
            }
        }
        page.push('\n');
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn session(cpu_us: f64) -> Session {
        let phase = Phase { cpu_us, per_s: 1e6 / cpu_us, lost: 0, faults: Default::default(), others: 0.01 };
        let latencies_ns: Vec<u64> = (1..=100).map(|n| n * 1000).collect();
        let start = Duration::from_millis(20);
        let slow_latencies_ns = latencies_ns.clone();
        Session {
            start,
            idle_kib: 10_240,
            peak_kib: 20_480,
            full: phase,
            paced: phase,
            slow: phase,
            latencies_ns,
            slow_latencies_ns,
        }
    }

    #[test]
    fn the_page_holds_medians_ratios_and_what_was_missed() {
        let mut results = Results::default();
        for (subject, figures) in [(Subject::Mosquitto, [10.0, 12.0, 11.0]), (Subject::Plain, [0.5, 9.0, 0.55])] {
            results.sessions.insert((subject, 0), figures.map(session).into());
            results.starts.insert(subject, vec![Duration::from_millis(20); 5]);
        }
        results.skipped.push((Subject::Convert, "convert.wasm is missing".into()));
        let facts = vec![("Date", "2026-11-24".to_owned())];
        let page = results.page(&Circumstances { facts, measured: Duration::from_secs(5) });
        for wanted in ["0.55 (0.50 – 9.00)", "≤ 0.4 **missed**", "1/20.0", "≤ 25 ", "51 (51 – 51)", "≤ 40 **missed**"]
        {
            assert!(page.contains(wanted), "{wanted} is not in\n{page}");
        }
        assert!(page.contains("Not measured: Tidegate, convert: convert.wasm is missing"));
        assert!(page.contains("- Date: 2026-11-24"));
        assert!(!page.contains("Other work used"));

        for session in results.sessions.values_mut().flatten() {
            (session.full.others, session.paced.others) = (0.5, 0.5);
        }
        let page = results.page(&Circumstances { facts: Vec::new(), measured: Duration::from_secs(5) });
        assert!(page.contains("Other work used 50 %"), "{page}");
    }

    #[test]
    fn medians_and_numbers() {
        assert_eq!(Spread::of(vec![3.0, 1.0]).median, 2.0);
        assert_eq!(Spread::of(vec![3.0, 1.0, 2.0]).median, 2.0);
        assert!(Spread::of(vec![]).median.is_nan());
        assert_eq!([thousands(999.6), thousands(1_234_567.0)], ["1,000", "1,234,567"]);
    }
}
