//! What the well members of a balancing set get while one of them is slow, against the same set with none that is.

use super::site::{Place, Site};
use super::spread;
use super::traffic::{Feed, Tap};
use crate::report::{Spread, Table};
use anyhow::{Context, Result};
use std::path::Path;
use std::time::{Duration, Instant};

const MEMBERS: usize = 4;

const TOPICS: u64 = 400;

/// Each way: with mosquitto's window of 20 the slow member takes 50 messages a second at most.
const SLOW: Duration = Duration::from_millis(200);

/// Messages a second: of the first the slow member can carry the sixteenth of its share that `relief` leaves it, of the second not.
const LOADS: [u32; 2] = [1_000, 10_000];

const BALANCE: &str = "policy = \"balance\"\ntakeover_after = \"1m\"\nfailback = \"10s\"\n";
const RELIEF: &str = "relief = { latency = \"100ms\" }\n";

/// The set has found out which share the slow one can carry, a step a second.
const SETTLING: Duration = Duration::from_secs(6);

const MEASURED: Duration = Duration::from_secs(5);

/// Whether one is slow, and whether the set may give it less.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Case {
    AllWell,
    Relief,
    NoRelief,
}

impl Case {
    const ALL: [Self; 3] = [Self::AllWell, Self::Relief, Self::NoRelief];

    fn name(self) -> &'static str {
        match self {
            Self::AllWell => "all four are well",
            Self::Relief => "one is slow, `relief`",
            Self::NoRelief => "one is slow, no `relief`",
        }
    }
}

/// Messages a second: all, at the three that are well; and the share of the fourth in percent.
struct Outcome {
    published_per_s: f64,
    well_per_s: f64,
    slow_share: f64,
}

pub(super) fn run(tidegate: &Path, turns: u32) -> Result<String> {
    let headings = ["", "published/s", "at the three well ones/s", "to all well, %", "share of the fourth, %"];
    let mut table = Table::new(&headings);
    for per_s in LOADS {
        let mut all: Vec<Vec<Outcome>> = Case::ALL.iter().map(|_| Vec::new()).collect();
        for _ in 0..turns {
            for (case, outcomes) in Case::ALL.iter().zip(&mut all) {
                let outcome = one(tidegate, *case, per_s).context(case.name())?;
                eprintln!("{per_s}/s, {}: {:.0}/s at the well ones", case.name(), outcome.well_per_s);
                outcomes.push(outcome);
            }
        }
        for (case, outcomes) in Case::ALL.iter().zip(&all) {
            let ratios = outcomes.iter().zip(&all[0]).map(|(own, well)| 100.0 * own.well_per_s / well.well_per_s);
            let median = |of: fn(&Outcome) -> f64| Spread::of(outcomes.iter().map(of).collect()).median;
            table.row([
                case.name().to_owned(),
                format!("{:.0}", median(|one| one.published_per_s)),
                format!("{:.0}", median(|one| one.well_per_s)),
                spread(ratios, 0),
                format!("{:.1}", median(|one| one.slow_share)),
            ]);
        }
    }
    let mut page = String::new();
    table.finish(&mut page);
    Ok(page)
}

fn one(tidegate: &Path, case: Case, per_s: u32) -> Result<Outcome> {
    let relief = if case == Case::NoRelief { "" } else { RELIEF };
    let site = Site::of_set(tidegate, MEMBERS, "", &format!("{BALANCE}{relief}"));
    let well = |places: &[Place]| -> Result<Vec<Tap>> {
        places.iter().skip(1).map(|place| Tap::start(place.broker.port())).collect()
    };
    let well = well(&site.places)?;
    let feed = Feed::start(site.home_port, TOPICS, per_s)?;
    site.wait("all get some", || well.iter().all(|tap| tap.received() > 0))?;
    if case != Case::AllWell {
        site.places[0].proxy.latency(SLOW);
    }
    std::thread::sleep(SETTLING);
    well.iter().for_each(|tap| drop(tap.take()));
    let (begin, before) = (Instant::now(), feed.sent());
    std::thread::sleep(MEASURED);
    let (seconds, published) = (begin.elapsed().as_secs_f64(), feed.sent() - before);
    let arrived = well.iter().map(Tap::received).sum::<usize>();
    Ok(Outcome {
        published_per_s: published as f64 / seconds,
        well_per_s: arrived as f64 / seconds,
        slow_share: 100.0 * site.share(&site.places[0]),
    })
}
