//! Follows messages through routes, to find those that come back to where they were.
//!
//! What is followed is a pattern: the topics that a route takes, and what its remap makes of them. Plugins are taken to
//! leave topics alone, as most do; one that was granted topics may not, and then nothing is certain.

use crate::broker::{BridgeMode, Broker, Version};
use crate::check::may_rewrite;
use crate::checked::{Config, Route};
use crate::pattern::Pattern;
use crate::read::Marks;
use crate::reader::Reader;
use crate::values::shown;
use std::collections::{BTreeSet, VecDeque};
use tidegate_message::TopicFilter;

/// The most pairs of patterns compared in all, so that no configuration takes more than a second or two to check.
const MAX_STEPS: usize = 4_000_000;

/// Whether what a route sends to a broker comes back to us.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Echo {
    /// It does.
    Yes,
    /// It depends on what the broker is, MQTT 5 has no-local and mosquitto the bridge bit; or on a plugin.
    Perhaps,
    /// It does not: MQTT 5 with no-local, or the box's own broker.
    No,
}

/// A pattern that has come to a route, and how.
struct Visit {
    route: usize,
    topics: Pattern,
    /// The visit before this one.
    from: Option<usize>,
    /// The broker it came through.
    through: String,
}

/// Reports routes that feed themselves: an error if that is certain, a warning if it depends on the brokers.
pub(crate) fn check(reader: &Reader<'_>, config: &Config, marks: &Marks) {
    let mut reported = BTreeSet::new();
    let mut steps = MAX_STEPS;
    let next = next_routes(config, &mut steps);
    for allowed in [Echo::Yes, Echo::Perhaps] {
        for start in (0..config.routes.len()).filter(|route| !next[*route].is_empty()) {
            let Some(cycle) = find(config, &next, start, allowed, &mut steps) else { continue };
            let routes: BTreeSet<usize> = cycle.iter().map(|(route, _)| *route).collect();
            if !reported.insert(routes) {
                continue;
            }
            report(reader, config, marks, start, &cycle, allowed);
        }
    }
    if steps == 0 {
        let what = "there are too many routes to see whether any feed themselves";
        reader.warning(&(0..0), what, "see to it that no message can come back to where it was");
    }
}

/// Routes that feed themselves if every one of these brokers sends us back what we publish there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ring {
    /// By name, in the order in which a message goes through them.
    pub routes: Vec<String>,
    /// Those between the routes, by name.
    pub brokers: Vec<String>,
}

/// Every ring of a configuration that depends on its brokers. One that is certain is an error of [`parse`](crate::parse).
pub fn rings(config: &Config) -> Vec<Ring> {
    let (mut rings, mut seen) = (Vec::new(), BTreeSet::new());
    let mut steps = MAX_STEPS;
    let next = next_routes(config, &mut steps);
    for start in (0..config.routes.len()).filter(|route| !next[*route].is_empty()) {
        let Some(cycle) = find(config, &next, start, Echo::No, &mut steps) else { continue };
        // Nothing is certain of a plugin that may change topics.
        let rewrites = |plugin: &String| may_rewrite(config, plugin);
        if cycle.iter().any(|(route, _)| config.routes[*route].plugins.iter().any(rewrites)) {
            continue;
        }
        if seen.insert(cycle.iter().map(|(route, _)| *route).collect::<BTreeSet<_>>()) {
            let routes = cycle.iter().map(|(route, _)| config.routes[*route].name.clone()).collect();
            rings.push(Ring { routes, brokers: cycle.into_iter().map(|(_, broker)| broker).collect() });
        }
    }
    rings
}

/// Which routes may take what each route sends, without those that nothing comes to or that lead to nothing: what is
/// left can be in a ring. Most configurations have nothing left.
fn next_routes(config: &Config, steps: &mut usize) -> Vec<Vec<usize>> {
    let takes = |route: &Route| route.from.topics.iter().map(Pattern::of).collect::<Vec<_>>();
    let taken: Vec<_> = config.routes.iter().map(takes).collect();
    let mut next: Vec<Vec<usize>> = Vec::with_capacity(taken.len());
    for (route, takes) in config.routes.iter().zip(&taken) {
        let brokers: BTreeSet<&str> = route.to.iter().flat_map(|target| config.brokers_of(target)).collect();
        let sent: Vec<Pattern> = takes.iter().filter_map(|topics| sent(route, topics)).collect();
        let mut meets = |other: &usize| {
            brokers.contains(config.routes[*other].from.broker.as_str())
                && sent.iter().any(|out| {
                    *steps = steps.saturating_sub(taken[*other].len());
                    *steps > 0 && taken[*other].iter().any(|topics| out.meet(topics).is_some())
                })
        };
        next.push((0..taken.len()).filter(|other| meets(other)).collect());
    }
    loop {
        let leads_on: Vec<bool> = next.iter().map(|next| !next.is_empty()).collect();
        let reached: BTreeSet<usize> = next.iter().flatten().copied().collect();
        let before: usize = next.iter().map(Vec::len).sum();
        for (route, next) in next.iter_mut().enumerate() {
            next.retain(|other| leads_on[*other] && reached.contains(&route));
        }
        if next.iter().map(Vec::len).sum::<usize>() == before {
            return next;
        }
    }
}

/// What a route makes of topics; `None` when its remap does not take them, which `check` reports.
fn sent(route: &Route, topics: &Pattern) -> Option<Pattern> {
    match &route.remap {
        Some(remap) => topics.remapped(remap),
        None => Some(topics.clone()),
    }
}

/// The shortest way from a route back to itself, as routes and the brokers behind them.
fn find(
    config: &Config,
    next: &[Vec<usize>],
    start: usize,
    allowed: Echo,
    steps: &mut usize,
) -> Option<Vec<(usize, String)>> {
    let begin = |filter| Visit { route: start, topics: Pattern::of(filter), from: None, through: String::new() };
    let mut visits: Vec<Visit> = config.routes[start].from.topics.iter().map(begin).collect();
    let mut queue: VecDeque<usize> = (0..visits.len()).collect();
    while let Some(at) = queue.pop_front() {
        let here = visits[at].route;
        let route = &config.routes[here];
        let Some(out) = sent(route, &visits[at].topics) else { continue };
        let rewrites = route.plugins.iter().any(|plugin| may_rewrite(config, plugin));
        let rewrites = if rewrites { Echo::Perhaps } else { Echo::Yes };
        for &next in &next[here] {
            let source = &config.routes[next].from;
            for filter in &source.topics {
                if *steps == 0 {
                    return None;
                }
                *steps -= 1;
                // A single route that writes what it reads is a mistake, echo or not.
                let alone = next == start && here == start;
                let echo = if alone { Echo::Yes } else { echo(&config.brokers[&source.broker], filter) };
                if echo.max(rewrites) > allowed {
                    continue;
                }
                let Some(topics) = out.meet(&Pattern::of(filter)) else { continue };
                if next == start {
                    return Some(path(&visits, at, &source.broker));
                }
                if !visits.iter().any(|visit| visit.route == next && visit.topics.covers(&topics)) {
                    visits.push(Visit { route: next, topics, from: Some(at), through: source.broker.clone() });
                    queue.push_back(visits.len() - 1);
                }
            }
        }
    }
    None
}

fn echo(broker: &Broker, filter: &TopicFilter) -> Echo {
    match broker {
        // What the gateway publishes there it is never sent.
        Broker::Embedded(_) => Echo::No,
        // No-local is forbidden for shared subscriptions (MQTT 5.0 section 3.8.3.1).
        Broker::Link(_) if filter.share().is_some() => Echo::Yes,
        Broker::Link(link) => match (link.version, link.bridge) {
            (Version::V5, _) => Echo::No,
            (Version::V31 | Version::V311, BridgeMode::Off) => Echo::Yes,
            (Version::Auto | Version::V31 | Version::V311, _) => Echo::Perhaps,
        },
    }
}

fn path(visits: &[Visit], last: usize, broker: &str) -> Vec<(usize, String)> {
    let mut path = vec![(visits[last].route, broker.to_owned())];
    let mut at = last;
    while let Some(before) = visits[at].from {
        path.push((visits[before].route, visits[at].through.clone()));
        at = before;
    }
    path.reverse();
    path
}

fn report(reader: &Reader<'_>, config: &Config, marks: &Marks, start: usize, cycle: &[(usize, String)], allowed: Echo) {
    let at = &marks.routes[start].name;
    let name = shown(&config.routes[start].name);
    if let [(_, broker)] = cycle {
        let (what, hint) =
            (format!("it takes from broker `{broker}` what it sends there"), "narrow its topics, or `remap`");
        match allowed {
            Echo::Yes => reader.error(at, format!("route {name} feeds itself: {what}"), hint),
            _ => {
                let what = format!("route {name} may feed itself: {what}, unless a plugin changes the topic");
                reader.warning(at, what, hint);
            }
        }
        return;
    }
    let way =
        cycle.iter().map(|(route, broker)| format!("{} to broker `{broker}`", shown(&config.routes[*route].name)));
    let way = way.collect::<Vec<_>>().join(", ");
    let hint = "narrow the topics, `remap`, or set `version = \"5\"` on one of the brokers if it speaks that";
    match allowed {
        Echo::Yes => reader.error(at, format!("route {name} feeds itself: {way}, and back"), hint),
        _ => {
            let what = format!("route {name} may feed itself: {way}, and back, unless a broker or plugin prevents it");
            reader.warning(at, what, hint);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    /// Routes as `from filter strip prefix to`, on brokers of one MQTT version; the problems with loops, one a line.
    fn loops(version: &str, routes: &[(&str, &str, &str, &str, &str)]) -> String {
        let mut text = "[gateway]\nname = 'g'\ndata_dir = '/d'\n".to_owned();
        for (broker, _, _, _, _) in routes {
            if !text.contains(&format!("[brokers.{broker}]")) {
                text +=
                    &format!("[brokers.{broker}]\nurl = 'mqtt://{broker}'\nversion = '{version}'\nbridge = 'off'\n");
            }
        }
        for (at, (from, filter, strip, prefix, to)) in routes.iter().enumerate() {
            text += &format!(
                "[[routes]]\nname = 'r{at}'\nfrom = {{ broker = '{from}', topics = ['{filter}'] }}\nto = ['{to}']\n\
                 remap = {{ strip = '{strip}', prefix = '{prefix}' }}\n"
            );
        }
        let problems = match crate::parse(&text, Path::new("f")) {
            Ok((_, warnings)) => warnings,
            Err(problems) => problems.0,
        };
        let loops = problems.iter().filter(|problem| problem.what.contains("itself"));
        loops.map(|problem| problem.what.clone()).collect::<Vec<_>>().join("\n")
    }

    #[test]
    fn a_route_that_takes_what_it_sends_feeds_itself() {
        let alone = |filter, strip, prefix| !loops("3.1.1", &[("a", filter, strip, prefix, "a")]).is_empty();
        assert!(alone("dev/#", "", ""));
        assert!(alone("#", "", "x/"));
        assert!(alone("dev/#", "dev/", "dev/old/"));
        assert!(!alone("dev/#", "dev/", "site/"));
        assert!(!alone("dev/+", "dev/", "dev/old/"), "one level more does not match `+`");
    }

    #[test]
    fn a_ring_of_brokers_is_found_and_named_once() {
        let ring =
            |last| loops("3.1.1", &[("a", "x/#", "", "", "b"), ("b", "#", "", "y/", "c"), ("c", "y/#", last, "", "a")]);
        let way = "route `r0` feeds itself: `r0` to broker `b`, `r1` to broker `c`, `r2` to broker `a`, and back";
        assert_eq!(ring("y/"), way);
        assert_eq!(ring(""), "", "back at a as y/x/..., which r0 does not take");
    }

    #[test]
    fn both_ways_over_brokers_that_do_not_echo_is_a_bridge_and_not_a_loop() {
        let both = |version| loops(version, &[("a", "#", "", "", "b"), ("b", "#", "", "", "a")]);
        assert!(both("3.1.1").starts_with("route `r0` feeds itself"), "{}", both("3.1.1"));
        assert!(both("auto").starts_with("route `r0` may feed itself"), "{}", both("auto"));
        assert_eq!(both("5"), "");
    }

    #[test]
    fn topics_that_grow_for_ever_end_the_search() {
        let routes: Vec<_> = (0..30).map(|_| ("a", "#", "", "x/", "a")).collect();
        assert!(!loops("3.1.1", &routes).is_empty());
    }
}
