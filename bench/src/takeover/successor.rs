//! From a fault of the first member of a set to the first message at the second, under load.

use super::site::Site;
use super::spread;
use super::traffic::{Arrival, Feed, Tap};
use crate::report::Table;
use anyhow::{Context, Result};
use std::collections::{HashMap, HashSet};
use std::path::Path;
use std::time::{Duration, Instant};
use tidegate_testkit::Direction;

/// Messages a second.
const PER_S: u32 = 1_000;

const TOPICS: u64 = 10;

/// So many are at the first member before anything happens, and at the second afterwards.
const SOME: usize = 300;

/// In the configuration where the member falls silent.
const KEEP_ALIVE_S: f64 = 2.0;

/// In the configuration where it stops acknowledging.
const TAKEOVER_AFTER_S: f64 = 1.0;

/// What the first member suffers.
#[derive(Debug, Clone, Copy)]
enum Fault {
    /// Connections are reset, and new ones refused.
    Refuses,
    /// The broker is killed: connections end, and new ones are accepted by the proxy and closed.
    Killed,
    /// Connections are reset, and new ones stand and say nothing.
    ResetThenSilent,
    /// Connections stand, and nothing passes in either direction.
    Silent,
    /// What it is sent arrives, and no answer comes back.
    StopsAcknowledging,
}

struct Case {
    name: &'static str,
    fault: Fault,
    /// Of each broker.
    keys: &'static str,
    /// Of the set.
    set: &'static str,
    aim_s: f64,
}

const CASES: [Case; 5] = [
    Case { name: "connections reset, new ones refused", fault: Fault::Refuses, keys: "", set: "", aim_s: 1.0 },
    Case { name: "the broker killed, new connections closed", fault: Fault::Killed, keys: "", set: "", aim_s: 1.0 },
    Case {
        name: "connections reset, new ones not answered",
        fault: Fault::ResetThenSilent,
        keys: "",
        set: "",
        aim_s: 3.0,
    },
    Case {
        name: "silent, `keep_alive = \"2s\"`",
        fault: Fault::Silent,
        keys: "keep_alive = \"2s\"",
        set: "",
        aim_s: 1.5 * KEEP_ALIVE_S,
    },
    Case {
        name: "acknowledges nothing, `takeover_after = \"1s\"`",
        fault: Fault::StopsAcknowledging,
        keys: "",
        set: "takeover_after = \"1s\"",
        aim_s: TAKEOVER_AFTER_S + 0.5,
    },
];

/// What one takeover was like.
struct Turn {
    took: Duration,
    repeated: usize,
    reordered: usize,
    lost: u64,
}

pub(super) fn run(tidegate: &Path, turns: u32) -> Result<String> {
    let mut all: Vec<Vec<Turn>> = CASES.iter().map(|_| Vec::new()).collect();
    for _ in 0..turns {
        for (case, turns) in CASES.iter().zip(&mut all) {
            let turn = turn(tidegate, case).context(case.name)?;
            eprintln!("{}: {:.3} s, {} twice", case.name, turn.took.as_secs_f64(), turn.repeated);
            turns.push(turn);
        }
    }
    let headings =
        ["the first member", "s to the first message at the second", "aim", "came twice", "out of order", "lost"];
    let mut table = Table::new(&headings);
    for (case, turns) in CASES.iter().zip(&all) {
        table.row([
            case.name.to_owned(),
            spread(turns.iter().map(|turn| turn.took.as_secs_f64()), 2),
            format!("≤ {:.1}", case.aim_s),
            spread(turns.iter().map(|turn| turn.repeated as f64), 0),
            turns.iter().map(|turn| turn.reordered).sum::<usize>().to_string(),
            turns.iter().map(|turn| turn.lost).sum::<u64>().to_string(),
        ]);
    }
    let mut page = String::new();
    table.finish(&mut page);
    Ok(page)
}

fn turn(tidegate: &Path, case: &Case) -> Result<Turn> {
    let mut site = Site::of_set(tidegate, 2, case.keys, case.set);
    let [first, second] = [&site.places[0], &site.places[1]].map(|place| Tap::start(place.broker.port()));
    let (first, second) = (first?, second?);
    let feed = Feed::start(site.home_port, TOPICS, PER_S)?;
    site.wait("the first member has some", || first.received() >= SOME)?;
    let place = &mut site.places[0];
    if matches!(case.fault, Fault::Refuses) {
        // The listener is gone before the clock starts.
        place.proxy.refuse(true);
    }
    let begin = Instant::now();
    match case.fault {
        Fault::Refuses => place.proxy.reset(),
        Fault::Killed => place.broker.kill(),
        Fault::ResetThenSilent => {
            place.proxy.black_hole(true);
            place.proxy.reset();
        }
        Fault::Silent => place.proxy.black_hole(true),
        Fault::StopsAcknowledging => place.proxy.freeze(Direction::ToClient, true),
    }
    let took = second.first().with_context(|| site.gateway.log())?.saturating_duration_since(begin);
    site.wait("the second member has some", || second.received() >= SOME)?;
    let sent = feed.stop()?;
    site.wait("nothing waits any more", || site.waiting() == 0.0)?;
    let numbers = |all: &[Arrival]| all.iter().map(|came| came.n).collect::<HashSet<_>>();
    let (at_first, at_second) = (first.take(), second.take());
    let all = &numbers(&at_first) | &numbers(&at_second);
    Ok(Turn {
        took,
        repeated: at_first.len() + at_second.len() - all.len(),
        reordered: reordered(&at_first) + reordered(&at_second),
        lost: sent - all.len() as u64,
    })
}

/// How many came behind a later one of their topic, repetitions apart.
fn reordered(all: &[Arrival]) -> usize {
    let mut highest: HashMap<u32, u64> = HashMap::new();
    let mut seen = HashSet::new();
    let mut count = 0;
    for came in all.iter().filter(|came| seen.insert(came.n)) {
        let highest = highest.entry(came.topic).or_insert(came.n);
        count += usize::from(came.n < *highest);
        *highest = came.n.max(*highest);
    }
    count
}
