//! Which topics move when a member of a balancing set leaves and comes back, and how evenly the members share them.

use super::site::Site;
use super::spread;
use super::traffic::{Tap, one_each};
use crate::report::Table;
use anyhow::{Context, Result};
use std::collections::HashMap;
use std::path::Path;

/// Members of which one leaves, and topics.
const TEN: usize = 10;
const TOPICS: u64 = 2_000;

/// Members that share topics, and how many.
const FOUR: usize = 4;
const MANY_TOPICS: u64 = 10_000;

const SET: &str = "policy = \"balance\"\nfailback = \"1s\"";

/// What a topic is at, by its number.
type Owners = HashMap<u32, usize>;

pub(super) fn run(tidegate: &Path, turns: u32) -> Result<String> {
    let mut table = Table::new(&["", "measured", "aim"]);
    let (mut moved, mut needless, mut strayed) = (Vec::new(), 0, 0);
    let mut site = Site::of_set(tidegate, TEN, "reconnect = { min = \"50ms\", max = \"200ms\" }", SET);
    let taps = taps(&site)?;
    for turn in 0..(turns as usize).min(TEN) {
        let before = owners(&site, &taps, TOPICS)?;
        leave(&mut site, turn, true)?;
        let without = owners(&site, &taps, TOPICS)?;
        leave(&mut site, turn, false)?;
        let after = owners(&site, &taps, TOPICS)?;
        let differ = before.iter().filter(|(topic, owner)| without[topic] != **owner);
        let (its_own, others): (Vec<_>, Vec<_>) = differ.partition(|(_, owner)| **owner == turn);
        moved.push(100.0 * (its_own.len() + others.len()) as f64 / TOPICS as f64);
        needless += others.len();
        strayed += before.iter().filter(|(topic, owner)| after[topic] != **owner).count();
    }
    let mean = moved.iter().sum::<f64>() / moved.len() as f64;
    table.row([
        format!("topics that move when one of {TEN} members leaves, % of {TOPICS} (mean {mean:.1})"),
        spread(moved, 1),
        "10".to_owned(),
    ]);
    table.row(["of them, topics of members that stay".to_owned(), needless.to_string(), "0".to_owned()]);
    table.row(["topics elsewhere than before when it is back".to_owned(), strayed.to_string(), "0".to_owned()]);

    let site = Site::of_set(tidegate, FOUR, "", SET);
    let mut counts = [0; FOUR];
    owners(&site, &self::taps(&site)?, MANY_TOPICS)?.values().for_each(|owner| counts[*owner] += 1);
    let mean = MANY_TOPICS as f64 / FOUR as f64;
    let furthest = counts.iter().map(|count| 100.0 * (f64::from(*count) - mean).abs() / mean).fold(0.0, f64::max);
    table.row([
        format!("{MANY_TOPICS} topics at {FOUR} members: {counts:?}; the furthest from a fourth, %"),
        format!("{furthest:.1}"),
        "≤ 10".to_owned(),
    ]);
    let mut page = String::new();
    table.finish(&mut page);
    Ok(page)
}

fn taps(site: &Site) -> Result<Vec<Tap>> {
    site.places.iter().map(|place| Tap::start(place.broker.port())).collect()
}

/// Publishes to each topic once, and sees where it arrives.
fn owners(site: &Site, taps: &[Tap], topics: u64) -> Result<Owners> {
    one_each(site.home_port, topics)?;
    let all = || taps.iter().map(Tap::received).sum::<usize>() as u64;
    site.wait("every topic arrives", || all() >= topics)?;
    let came =
        taps.iter().enumerate().flat_map(|(owner, tap)| tap.take().into_iter().map(move |came| (came.topic, owner)));
    let owners: Owners = came.collect();
    (owners.len() as u64 == topics).then_some(owners).context("a topic came twice, and another did not come")
}

/// One member leaves or comes back, and the set knows.
fn leave(site: &mut Site, member: usize, on: bool) -> Result<()> {
    let place = &site.places[member];
    place.proxy.refuse(on);
    if on {
        place.proxy.reset();
    }
    site.wait("the set knows", || (site.share(place) == 0.0) == on)
}
