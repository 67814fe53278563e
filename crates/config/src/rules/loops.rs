//! Follows messages through routes, to find those that come back to where they were.
//!
//! What is followed is a pattern: the topics that a route takes, and what its remap makes of them. Plugins are taken to
//! leave topics alone, as most do; one that was granted topics may not, and then nothing is certain.

use crate::model::{Broker, Config, Route, Source, Version};
use crate::sections::Draft;
use crate::topics::{FilterTree, Pattern};
use crate::tree::Context;
use crate::values::shown;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::ops::ControlFlow;
use tidegate_message::TopicFilter;
use tidegate_message::text::PORTABLE_LEVELS_MAX;

/// The most that patterns are compared in all, so that no configuration takes more than a second or two to check: one for each
/// pair, and one for each sixteen levels of it.
const MAX_STEPS: usize = 4_000_000;

/// And to name rings that are none, which few ask for.
const RING_STEPS: usize = 500_000;

/// Takes the cost of a comparison off `steps`. False if there are none left.
fn spend(steps: &mut usize, topics: &Pattern) -> bool {
    *steps = steps.saturating_sub(1 + topics.depth() / 16);
    *steps > 0
}

/// Whether what a route sends to a broker comes back to us.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Echo {
    /// It does.
    Yes,
    /// It depends on what the broker is, for only MQTT 5 carries marks; or on a plugin.
    Perhaps,
    /// It does not, or is known again.
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

/// Reports routes that feed themselves: an error if that is certain, a warning if it depends on the brokers; and rings in which
/// that is prevented, for those who ask.
pub(crate) fn check(context: &Context<'_>, draft: &Draft) {
    let mut reported = BTreeSet::new();
    let mut search = Search::new(&draft.config);
    let mut report_all = |search: &mut Search<'_>, allowed| {
        for start in search.starts() {
            let Some(cycle) = search.find(start, allowed) else { continue };
            let routes: BTreeSet<usize> = cycle.iter().map(|(route, _)| *route).collect();
            if reported.insert(routes) {
                report(context, draft, start, &cycle, allowed);
            }
        }
    };
    report_all(&mut search, Echo::Yes);
    report_all(&mut search, Echo::Perhaps);
    if search.steps == 0 {
        let what = "there are too many routes to see whether any feed themselves";
        context.warning(&(0..0), what, "see to it that no message can come back to where it was");
    }
    search.steps = RING_STEPS;
    report_all(&mut search, Echo::No);
}

/// The routes of a configuration as a graph.
struct Search<'c> {
    config: &'c Config,
    /// What each route takes: its filters.
    taken: Vec<Vec<Pattern>>,
    /// Which routes may take what each one sends, and by which broker.
    next: Vec<Vec<(usize, &'c str)>>,
    /// What is left of [`MAX_STEPS`].
    steps: usize,
}

impl<'c> Search<'c> {
    fn new(config: &'c Config) -> Self {
        let takes = |route: &Route| route.from.topics.iter().map(Pattern::of).collect();
        let taken = config.routes.iter().map(takes).collect();
        let mut search = Self { config, taken, next: Vec::new(), steps: MAX_STEPS };
        let way = |route: usize, next: usize| {
            Some((next, through(config, &config.routes[route], &config.routes[next].from)?))
        };
        let next = in_rings(search.edges()).into_iter().enumerate();
        search.next =
            next.map(|(route, next)| next.into_iter().filter_map(|next| way(route, next)).collect()).collect();
        search
    }

    /// Where a ring may begin.
    fn starts(&self) -> Vec<usize> {
        (0..self.next.len()).filter(|route| !self.next[*route].is_empty()).collect()
    }

    /// Of each route those that may take what it sends.
    fn edges(&mut self) -> Vec<Vec<usize>> {
        let Self { config, taken, steps, .. } = self;
        let mut sources: BTreeMap<&str, FilterTree<(usize, usize)>> = BTreeMap::new();
        for (at, route) in config.routes.iter().enumerate() {
            for broker in &route.from.brokers {
                let tree = sources.entry(broker).or_default();
                taken[at].iter().enumerate().for_each(|(filter, topics)| tree.insert(topics, (at, filter)));
            }
        }
        let mut edges = Vec::with_capacity(taken.len());
        for (route, takes) in config.routes.iter().zip(&*taken) {
            let brokers: BTreeSet<&str> = route.to.iter().flat_map(|target| config.brokers_of(target)).collect();
            let sent: Vec<Pattern> = takes.iter().filter_map(|topics| topics.sent_by(route)).collect();
            let mut next = BTreeSet::new();
            for (tree, out) in brokers
                .iter()
                .filter_map(|broker| sources.get(broker))
                .flat_map(|tree| sent.iter().map(move |out| (tree, out)))
            {
                let _ = tree.meeting(out, |(other, filter)| {
                    if !spend(steps, out) {
                        return ControlFlow::Break(());
                    }
                    if out.meet(&taken[other][filter]).is_some() {
                        next.insert(other);
                    }
                    ControlFlow::Continue(())
                });
            }
            edges.push(next.into_iter().collect());
        }
        edges
    }

    /// The shortest way from a route back to itself, as routes and the brokers behind them.
    fn find(&mut self, start: usize, allowed: Echo) -> Option<Vec<(usize, String)>> {
        let Self { config, taken, next, steps } = self;
        let begin =
            |topics: &Pattern| Visit { route: start, topics: topics.clone(), from: None, through: String::new() };
        let mut visits: Vec<Visit> = taken[start].iter().map(begin).collect();
        let mut been: BTreeMap<usize, Vec<usize>> = BTreeMap::from([(start, (0..visits.len()).collect())]);
        let mut queue: VecDeque<usize> = (0..visits.len()).collect();
        while let Some(at) = queue.pop_front() {
            let here = visits[at].route;
            let route = &config.routes[here];
            // What its remap does not take `remap` reports.
            let Some(out) = visits[at].topics.sent_by(route) else { continue };
            // Nor does it give a topic more levels than this; `#` may be none.
            if out.depth() > visits[at].topics.depth().max(PORTABLE_LEVELS_MAX + 1) {
                continue;
            }
            let rewrites = if config.may_rewrite(route) { Echo::Perhaps } else { Echo::Yes };
            for &(next, through) in &next[here] {
                let source = &config.routes[next].from;
                for (filter, takes) in source.topics.iter().zip(&taken[next]) {
                    if !spend(steps, &out) {
                        return None;
                    }
                    // A single route that writes what it reads is a mistake, echo or not.
                    let alone = next == start && here == start;
                    let echo = if alone {
                        Echo::Yes
                    } else {
                        echo(&config.brokers[through], filter, config.gateway.hop_limit > 0)
                    };
                    if echo.max(rewrites) > allowed {
                        continue;
                    }
                    let Some(topics) = out.meet(takes) else { continue };
                    if next == start {
                        return Some(path(&visits, at, through));
                    }
                    let been = been.entry(next).or_default();
                    let is_known =
                        been.iter().any(|visit| !spend(steps, &topics) || visits[*visit].topics.covers(&topics));
                    if !is_known {
                        been.push(visits.len());
                        queue.push_back(visits.len());
                        visits.push(Visit { route: next, topics, from: Some(at), through: through.to_owned() });
                    }
                }
            }
        }
        None
    }
}

/// The broker that a route leads to and another takes from; of several the one that is most likely to echo.
fn through<'c>(config: &'c Config, route: &'c Route, next: &Source) -> Option<&'c str> {
    let reached = route.to.iter().flat_map(|target| config.brokers_of(target)).filter(|broker| next.has(broker));
    let marks = config.gateway.hop_limit > 0;
    let echoes = |broker: &&str| next.topics.iter().map(|filter| echo(&config.brokers[*broker], filter, marks)).min();
    reached.min_by_key(echoes)
}

/// Without the routes that nothing comes to or that lead to nothing: what is left can be in a ring. Of most
/// configurations nothing is.
fn in_rings(mut next: Vec<Vec<usize>>) -> Vec<Vec<usize>> {
    let mut before: Vec<Vec<usize>> = vec![Vec::new(); next.len()];
    for (route, others) in next.iter().enumerate() {
        others.iter().for_each(|other| before[*other].push(route));
    }
    let mut comes: Vec<usize> = before.iter().map(Vec::len).collect();
    let mut leads: Vec<usize> = next.iter().map(Vec::len).collect();
    let mut gone: Vec<usize> = (0..next.len()).filter(|route| comes[*route] == 0 || leads[*route] == 0).collect();
    let mut is_gone = vec![false; next.len()];
    gone.iter().for_each(|route| is_gone[*route] = true);
    // Each edge is taken away once from each of its ends.
    while let Some(route) = gone.pop() {
        for &other in &next[route] {
            comes[other] = comes[other].saturating_sub(1);
            if comes[other] == 0 && !std::mem::replace(&mut is_gone[other], true) {
                gone.push(other);
            }
        }
        for &other in &before[route] {
            leads[other] = leads[other].saturating_sub(1);
            if leads[other] == 0 && !std::mem::replace(&mut is_gone[other], true) {
                gone.push(other);
            }
        }
    }
    for (route, others) in next.iter_mut().enumerate() {
        others.retain(|other| !is_gone[route] && !is_gone[*other]);
    }
    next
}

/// `marks`: messages say which gateways they have passed, where there is MQTT 5.
fn echo(broker: &Broker, filter: &TopicFilter, marks: bool) -> Echo {
    match broker {
        // No-local is forbidden for shared subscriptions (MQTT 5.0 section 3.8.3.1), and without it an echo may go to another
        // member of the group.
        Broker::Link(link) if filter.share().is_some() => match link.version {
            Version::V5 if marks => Echo::No,
            Version::Auto if marks => Echo::Perhaps,
            Version::Auto | Version::V31 | Version::V311 | Version::V5 => Echo::Yes,
        },
        // What the gateway publishes there it is not sent, or knows again.
        Broker::Link(_) | Broker::Embedded(_) => Echo::No,
        // A stream has what the gateway publishes, too: its mark says so.
        Broker::Nats(_) => {
            if marks {
                Echo::No
            } else {
                Echo::Yes
            }
        }
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

fn report(context: &Context<'_>, draft: &Draft, start: usize, cycle: &[(usize, String)], allowed: Echo) {
    let Draft { config, written } = draft;
    let at = &written.routes[start].at;
    let name = shown(&config.routes[start].name);
    if let [(_, broker)] = cycle {
        let (what, hint) =
            (format!("it takes from broker `{broker}` what it sends there"), "narrow its topics, or `remap`");
        match allowed {
            Echo::Yes => context.error(at, format!("route {name} feeds itself: {what}"), hint),
            _ => {
                let what = format!("route {name} may feed itself: {what}, unless a plugin changes the topic");
                context.warning(at, what, hint);
            }
        }
        return;
    }
    let step =
        |(route, broker): &(usize, String)| format!("{} to broker `{broker}`", shown(&config.routes[*route].name));
    let way = cycle.iter().map(step).collect::<Vec<_>>().join(", ");
    let hint = "narrow the topics, `remap`, or set `version = \"5\"` on one of the brokers if it speaks that";
    match allowed {
        Echo::Yes => context.error(at, format!("route {name} feeds itself: {way}, and back"), hint),
        Echo::Perhaps => {
            let what = format!("route {name} may feed itself: {way}, and back, unless a broker or plugin prevents it");
            context.warning(at, what, hint);
        }
        Echo::No => {
            let what = format!("a ring: {way}, and back; what this gateway has sent on comes in again nowhere");
            context.note(at, what);
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
        // What is shared may come back to another member of the group, and no mark travels.
        let ring = |last| {
            let shared = [("a", "$share/g/x/#", "", "", "b"), ("b", "$share/g/#", "", "y/", "c")];
            loops("3.1.1", &[shared[0], shared[1], ("c", "$share/g/y/#", last, "", "a")])
        };
        let way = "route `r0` feeds itself: `r0` to broker `b`, `r1` to broker `c`, `r2` to broker `a`, and back";
        assert_eq!(ring("y/"), way);
        assert_eq!(ring(""), "", "back at a as y/x/..., which r0 does not take");
    }

    #[test]
    fn both_ways_is_a_bridge_and_not_a_loop_unless_it_is_shared_where_no_mark_travels() {
        let both = |version, filter| loops(version, &[("a", filter, "", "", "b"), ("b", filter, "", "", "a")]);
        for version in ["3.1.1", "auto", "5"] {
            assert_eq!(both(version, "#"), "");
        }
        let shared = |version| both(version, "$share/g/#");
        assert!(shared("3.1.1").starts_with("route `r0` feeds itself"), "{}", shared("3.1.1"));
        assert!(shared("auto").starts_with("route `r0` may feed itself"), "{}", shared("auto"));
        assert_eq!(shared("5"), "");
    }

    /// What comes down goes up again under a longer name, and never where it began: the search ends, by the levels or by the
    /// length of a name that grows, and such routes are no news.
    #[test]
    fn what_comes_back_under_an_ever_longer_name_ends_the_search() {
        for prefix in ["far/", "x"] {
            let side: Vec<String> = (0..40).map(|n| format!("side{n}/#")).collect();
            let mut routes: Vec<_> = side.iter().map(|filter| ("near", filter.as_str(), "", "", "far")).collect();
            routes.extend([("near", "#", "", "", "far"), ("far", "#", "", prefix, "near")]);
            assert_eq!(loops("5", &routes), "");
        }
    }

    #[test]
    fn topics_that_grow_for_ever_end_the_search() {
        let routes: Vec<_> = (0..30).map(|_| ("a", "$share/g/#", "", "x/", "a")).collect();
        assert!(!loops("3.1.1", &routes).is_empty());
    }
}
