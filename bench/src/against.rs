//! Two builds in turn: what ours costs to what the other does, pair by pair, so that a busy minute of the machine hits both.

use crate::report::{Spread, Table, micros, quantile_us};
use crate::session::{self, Session};
use crate::subject::{Setting, Subject};
use anyhow::{Context, Result};
use std::fmt::Write as _;
use std::time::Duration;

/// What one phase cost.
type Cost = fn(&Session) -> f64;

/// One turn: the other build, ours, and the least bridge, one after the other.
#[derive(Debug)]
struct Turn {
    other: Session,
    ours: Session,
    least: Session,
}

/// What was measured of one subject at one QoS.
#[derive(Debug)]
pub(crate) struct Pairs {
    subject: Subject,
    qos: u8,
    turns: Vec<Turn>,
}

/// Lets them take turns.
pub(crate) fn run(
    (other, ours): (&Setting, &Setting),
    subjects: &[Subject],
    qos: &[u8],
    repeats: u32,
    measured: Duration,
) -> Result<Vec<Pairs>> {
    let mut all = Vec::new();
    for &qos in qos {
        for &subject in subjects.iter().filter(|subject| subject.is_tidegate()) {
            for setting in [other, ours] {
                // Fills the cache of compiled plugins; its time does not count.
                session::start_only(setting, subject, qos).with_context(|| subject.name())?;
            }
            all.push(Pairs { subject, qos, turns: Vec::new() });
        }
    }
    for repeat in 1..=repeats {
        for Pairs { subject, qos, turns } in &mut all {
            let one = |setting: &Setting, subject: Subject| {
                session::run(setting, subject, *qos, measured).with_context(|| subject.name())
            };
            let turn =
                Turn { other: one(other, *subject)?, ours: one(ours, *subject)?, least: one(ours, Subject::Least)? };
            let [other, ours] = [&turn.other, &turn.ours].map(|session| micros(session.full.cpu_us));
            eprintln!("{repeat}/{repeats}  QoS {qos}  {:24} {other} then, {ours} now", subject.name());
            turns.push(turn);
        }
    }
    Ok(all)
}

/// As a page: costs, ratios pair by pair, and whether they can be believed.
pub(crate) fn page(all: &[Pairs], facts: &[(&'static str, String)]) -> String {
    let mut page = String::from(
        "# Two builds in turn\n\nCPU time a message in µs, memory and start; medians, ratios pair by pair with the lowest and the highest.\n\n",
    );
    for (name, value) in facts {
        let _ = writeln!(page, "- {name}: {value}");
    }
    page.push('\n');
    let headings =
        ["", "QoS", "phase", "then", "now", "now to then", "now to the least", "p50 then", "p50 now", "lost, gaps"];
    let mut table = Table::new(&headings);
    for Pairs { subject, qos, turns } in all {
        let of = |figure: &dyn Fn(&Turn) -> f64| Spread::of(turns.iter().map(figure).collect());
        let ratio = |spread: Spread| format!("{:.2} ({:.2} – {:.2})", spread.median, spread.low, spread.high);
        let faults: i64 = turns.iter().map(Turn::faults).sum();
        let p50 = |session: fn(&Turn) -> &Session| {
            format!("{:.0}", of(&|turn| quantile_us(&session(turn).latencies_ns, 0.5)).median)
        };
        let slow_p50 = |session: fn(&Turn) -> &Session| {
            format!("{:.0}", of(&|turn| quantile_us(&session(turn).slow_latencies_ns, 0.5)).median)
        };
        let mut row = |phase: &str, cpu: fn(&Session) -> f64, [p50_then, p50_now, faults]: [String; 3]| {
            table.row([
                subject.name().to_owned(),
                qos.to_string(),
                phase.to_owned(),
                micros(of(&|turn| cpu(&turn.other)).median),
                micros(of(&|turn| cpu(&turn.ours)).median),
                ratio(of(&|turn| cpu(&turn.ours) / cpu(&turn.other))),
                ratio(of(&|turn| cpu(&turn.ours) / cpu(&turn.least))),
                p50_then,
                p50_now,
                faults,
            ]);
        };
        row("full speed", |of| of.full.cpu_us, [String::new(), String::new(), faults.to_string()]);
        row("10,000/s", |of| of.paced.cpu_us, [p50(|turn| &turn.other), p50(|turn| &turn.ours), String::new()]);
        let slow = [slow_p50(|turn| &turn.other), slow_p50(|turn| &turn.ours), String::new()];
        row("1,000/s", |of| of.slow.cpu_us, slow);
        row("idle, MiB", |of| of.idle_kib as f64 / 1024.0, Default::default());
        row("start, ms", |of| of.start.as_secs_f64() * 1e3, Default::default());
    }
    table.finish(&mut page);
    page
}

/// A line of `bench/history.csv` for each ratio: what ours costs to the other build, and to the least bridge.
pub(crate) fn history(all: &[Pairs], facts: &[(&'static str, String)]) -> String {
    let fact = |name: &str| facts.iter().find(|(of, _)| *of == name).map_or("", |(_, value)| value.as_str());
    let mut lines = String::new();
    for Pairs { subject, qos, turns } in all {
        let phases: [(&str, Cost); 3] =
            [("full speed", |of| of.full.cpu_us), ("10000/s", |of| of.paced.cpu_us), ("1000/s", |of| of.slow.cpu_us)];
        for (phase, cpu) in phases {
            let ratio = |to: fn(&Turn) -> &Session| {
                let Spread { median, low, high } =
                    Spread::of(turns.iter().map(|turn| cpu(&turn.ours) / cpu(to(turn))).collect());
                format!("{median:.2},{low:.2},{high:.2}")
            };
            let (then, least) = (ratio(|turn| &turn.other), ratio(|turn| &turn.least));
            let (date, build, load) = (fact("Date"), fact("Revision"), fact("Messages"));
            let _ = writeln!(
                lines,
                "\"{date}\",\"{build}\",\"{load}\",\"{}\",{qos},{phase},{then},{least}",
                subject.name()
            );
        }
    }
    lines
}

impl Turn {
    /// Messages that ours lost, repeated, disordered or spoiled.
    fn faults(&self) -> i64 {
        let of = |phase: session::Phase| phase.lost + (phase.faults.gaps + phase.faults.foreign) as i64;
        of(self.ours.full) + of(self.ours.paced) + of(self.ours.slow)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::session::Phase;

    fn session(cpu_us: f64, lost: i64) -> Session {
        let phase = Phase { cpu_us, per_s: 1e6 / cpu_us, lost, faults: Default::default(), others: 0.0 };
        let start = Duration::from_millis(20);
        let latencies_ns = vec![20_000; 10];
        Session {
            start,
            idle_kib: 1,
            peak_kib: 1,
            full: phase,
            paced: phase,
            slow: phase,
            slow_latencies_ns: latencies_ns.clone(),
            latencies_ns,
        }
    }

    #[test]
    fn ratios_are_of_pairs_and_faults_of_ours() {
        // The machine was twice as slow in the second turn: the ratios do not show it.
        let turn =
            |slow: f64| Turn { other: session(slow, 5), ours: session(0.6 * slow, 1), least: session(0.2 * slow, 0) };
        let pairs = Pairs { subject: Subject::Plain, qos: 1, turns: vec![turn(1.0), turn(2.0)] };
        let page = page(&[pairs], &[("Date", "2026-11-28".to_owned())]);
        for wanted in ["0.60 (0.60 – 0.60)", "3.00 (3.00 – 3.00)", "| 1.50 ", "| 0.90 ", "- Date: 2026-11-28", "| 6 "]
        {
            assert!(page.contains(wanted), "{wanted} is not in\n{page}");
        }
    }
}
