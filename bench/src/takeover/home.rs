//! Home's rate and latency while the office is away, and while it catches up: the same devices, the same subscribers.

use super::site::{Site, route};
use super::spread;
use super::traffic::{Arrival, Feed, Tap};
use crate::report::{Table, quantile_us};
use crate::usage::Cpu;
use anyhow::Result;
use std::path::Path;
use std::time::{Duration, Instant};
use tidegate_testkit::FaultProxy;

/// Messages a second, each to the barn and to the office.
const PER_S: u32 = 2_000;

const TOPICS: u64 = 100;

const MEASURED: Duration = Duration::from_secs(5);

/// What the office is like, one after the other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Office {
    There,
    Refuses,
    CatchesUp,
    Silent,
}

impl Office {
    const TURN: [Self; 5] = [Self::There, Self::Refuses, Self::CatchesUp, Self::Silent, Self::CatchesUp];
    const ALL: [Self; 4] = [Self::There, Self::Refuses, Self::Silent, Self::CatchesUp];

    fn name(self) -> &'static str {
        match self {
            Self::There => "there",
            Self::Refuses => "refuses connections",
            Self::CatchesUp => "is back, and gets what waited",
            Self::Silent => "says nothing",
        }
    }

    fn becomes(self, proxy: &FaultProxy) {
        match self {
            Self::There | Self::CatchesUp => proxy.heal(),
            Self::Refuses => {
                proxy.refuse(true);
                proxy.reset();
            }
            Self::Silent => proxy.black_hole(true),
        }
    }
}

/// What home saw in one phase.
#[derive(Default)]
struct Phase {
    published: u64,
    /// At the own broker and in the barn, out of so many published for each.
    arrived: [usize; 2],
    per_s: f64,
    p50_us: f64,
    p99_us: f64,
    cpu_us: f64,
}

pub(super) fn run(tidegate: &Path, turns: u32) -> Result<String> {
    let mut all: Vec<(Office, Phase)> = Vec::new();
    // The barn is the first place, the office the second.
    let routes = route("barn", "m0") + &route("office", "m1");
    let keys = "keep_alive = \"2s\"\nreconnect = { min = \"100ms\", max = \"500ms\" }";
    for _ in 0..turns {
        let site = Site::start(tidegate, 2, keys, &routes);
        let taps = [Tap::start(site.home_port)?, Tap::start(site.places[0].broker.port())?];
        let feed = Feed::start(site.home_port, TOPICS, PER_S)?;
        std::thread::sleep(Duration::from_secs(1));
        for office in Office::TURN {
            office.becomes(&site.places[1].proxy);
            let phase = phase(&site, &feed, &taps)?;
            eprintln!("the office {}: {:.0}/s, p99 {:.0} µs", office.name(), phase.per_s, phase.p99_us);
            all.push((office, phase));
            if office == Office::CatchesUp {
                site.wait("the office has everything", || site.waiting() < f64::from(PER_S) / 10.0)?;
            }
        }
        feed.stop()?;
    }
    let headings = ["the office", "published", "arrived at home", "messages/s", "p50 µs", "p99 µs", "CPU µs a message"];
    let mut table = Table::new(&headings);
    for office in Office::ALL {
        let phases: Vec<&Phase> = all.iter().filter(|(other, _)| *other == office).map(|(_, phase)| phase).collect();
        let of = |figure: fn(&Phase) -> f64, digits| spread(phases.iter().map(|phase| figure(phase)), digits);
        table.row([
            office.name().to_owned(),
            phases.iter().map(|phase| phase.published).sum::<u64>().to_string(),
            [0, 1]
                .map(|place| phases.iter().map(|phase| phase.arrived[place]).sum::<usize>().to_string())
                .join(" and "),
            of(|phase| phase.per_s, 0),
            of(|phase| phase.p50_us, 0),
            of(|phase| phase.p99_us, 0),
            of(|phase| phase.cpu_us, 1),
        ]);
    }
    let mut page = String::new();
    table.finish(&mut page);
    Ok(page)
}

fn phase(site: &Site, feed: &Feed, taps: &[Tap; 2]) -> Result<Phase> {
    taps.iter().for_each(|tap| drop(tap.take()));
    let (begin, before, cpu) = (Instant::now(), feed.sent(), Cpu::of(site.gateway.pid())?);
    std::thread::sleep(MEASURED);
    let came = [taps[0].take(), taps[1].take()];
    let (seconds, published) = (begin.elapsed().as_secs_f64(), feed.sent() - before);
    let cpu_ns = Cpu::of(site.gateway.pid())?.since_ns(&cpu);
    let arrived = [came[0].len(), came[1].len()];
    let mut took: Vec<u64> = came.iter().flatten().map(|arrival: &Arrival| arrival.took_ns).collect();
    took.sort_unstable();
    Ok(Phase {
        published,
        arrived,
        per_s: (arrived[0] + arrived[1]) as f64 / 2.0 / seconds,
        p50_us: quantile_us(&took, 0.5),
        p99_us: quantile_us(&took, 0.99),
        cpu_us: cpu_ns as f64 / 1e3 / published as f64,
    })
}
