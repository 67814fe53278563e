//! What a bridge carries in one direction: which subscription each `topic` line makes, and how mosquitto gives topics
//! another name.
//!
//! mosquitto subscribes once for each line, gets what several lines match once, and looks for its new name in another
//! pass: the first line of the direction that has a prefix and matches, whichever line it came by (`bridge__remap_topic_in`
//! and `send__publish`). So a line is without effect where a line that is looked at before it matches all of its topics.

use crate::problem::Place;
use crate::settings::{Direction, Side, TopicLine};
use tidegate_message::TopicFilter;
use tidegate_message::text::is_portable;

/// A line in one of its directions.
#[derive(Clone, Debug)]
pub(super) struct Flow<'l> {
    pub(super) line: &'l TopicLine,
    /// What is subscribed to.
    pub(super) filter: TopicFilter,
    /// Taken off the front of topics.
    pub(super) strip: String,
    /// Put there.
    pub(super) prefix: String,
    /// Whether mosquitto looks at the line for new names.
    renames: bool,
}

/// Several lines that one route can carry.
#[derive(Debug)]
pub(super) struct Group<'l> {
    /// Those that are subscribed to, in order; at least one.
    pub(super) flows: Vec<Flow<'l>>,
    /// Those that others cover, and by which.
    pub(super) covered: Vec<(Place, String)>,
    /// The highest of its lines.
    pub(super) qos: u8,
    /// Whether they differ in it.
    pub(super) mixed: bool,
}

/// What becomes of the lines of a direction.
#[derive(Debug, Default)]
pub(super) struct Flows<'l> {
    pub(super) groups: Vec<Group<'l>>,
    /// Lines that cannot be carried, and why.
    pub(super) refused: Vec<(&'l TopicLine, String)>,
    /// Lines that have no effect with mosquitto, and why.
    pub(super) dead: Vec<(Place, String)>,
    /// What a message does otherwise than with mosquitto.
    pub(super) differs: Vec<(Place, String)>,
}

impl<'l> Flows<'l> {
    /// The lines that go away from this side.
    pub(super) fn from(lines: &'l [TopicLine], from: Side) -> Self {
        let goes = |line: &&TopicLine| {
            matches!(
                (line.direction, from),
                (Direction::Both, _) | (Direction::Out, Side::Local) | (Direction::In, Side::Remote)
            )
        };
        let mut flows = Self::default();
        let mut alive = Vec::new();
        for line in lines.iter().filter(goes) {
            match Flow::of(line, from) {
                Ok(flow) => alive.push(flow),
                Err(why) => flows.refused.push((line, why)),
            }
        }
        let of_no_effect: Vec<Option<usize>> = (0..alive.len()).map(|at| renamed_by(&alive, at)).collect();
        for (flow, by) in alive.iter().zip(&of_no_effect) {
            let Some(by) = by.and_then(|by| alive.get(by)) else { continue };
            let words = format!(
                "`{}` has no effect: mosquitto renames all of its messages by the line at {}",
                flow.line.written, by.line.place
            );
            flows.dead.push((flow.line.place.clone(), words));
        }
        let mut dead = of_no_effect.iter();
        alive.retain(|_| dead.next().is_some_and(Option::is_none));
        for (at, flow) in alive.iter().enumerate() {
            let earlier = alive[..at].iter().find(|other| !other.goes_as(flow) && other.filter.overlaps(&flow.filter));
            if let Some(other) = earlier {
                let words = format!(
                    "what it and the line at {} both match goes out by both; mosquitto sends it once, renamed by the \
                     first of its lines with a prefix",
                    other.line.place
                );
                flows.differs.push((flow.line.place.clone(), words));
            }
        }
        flows.groups = groups(alive);
        flows
    }
}

impl<'l> Flow<'l> {
    fn of(line: &'l TopicLine, from: Side) -> Result<Self, String> {
        let text = line.filter(from);
        let filter = TopicFilter::new(text.clone()).map_err(|error| error.to_string())?;
        let mut strip = line.prefix(from).unwrap_or_default().to_owned();
        let mut prefix = line.prefix(from.other()).unwrap_or_default().to_owned();
        if !is_portable(&text) || !is_portable(&prefix) {
            return Err("Tidegate takes no control characters in topics".to_owned());
        }
        if filter.share().is_some() && !strip.is_empty() {
            return Err("a prefix before `$share` names no topic".to_owned());
        }
        if let Some(pattern) = &line.pattern {
            let ends_within = !prefix.is_empty() && !prefix.ends_with('/');
            if ends_within && (strip.is_empty() || strip.ends_with('/')) {
                // A prefix that runs into a level takes the level with it, so that the remap ends where a level does.
                let level = &pattern[..pattern.find('/').map_or(pattern.len(), |slash| slash + 1)];
                strip.push_str(level);
                prefix.push_str(level);
            }
        }
        if strip == prefix {
            (strip, prefix) = (String::new(), String::new());
        }
        let renames = line.local.is_some() || line.remote.is_some();
        Ok(Self { line, filter, strip, prefix, renames })
    }

    /// Whether topics get the same names.
    fn goes_as(&self, other: &Self) -> bool {
        (&self.strip, &self.prefix) == (&other.strip, &other.prefix)
    }
}

/// The line by which mosquitto renames every message of this one, if that is another and gives other names.
fn renamed_by(flows: &[Flow<'_>], at: usize) -> Option<usize> {
    let flow = &flows[at];
    (0..flows.len()).find(|by| {
        let other = &flows[*by];
        let is_before = *by < at || !flow.renames;
        *by != at && other.renames && is_before && other.filter.covers(&flow.filter) && !other.goes_as(flow)
    })
}

/// Lines that give the same names, and have the same QoS or share topics, go by one route: what several of them match must
/// go once.
fn groups(flows: Vec<Flow<'_>>) -> Vec<Group<'_>> {
    let mut sets: Vec<Vec<Flow<'_>>> = Vec::new();
    for flow in flows {
        let belongs = |set: &Vec<Flow<'_>>| {
            set.iter().any(|other| {
                let together = other.line.qos == flow.line.qos || other.filter.overlaps(&flow.filter);
                other.goes_as(&flow) && together
            })
        };
        // It may join several that had nothing in common before.
        let (with, others): (Vec<_>, Vec<_>) = sets.into_iter().partition(belongs);
        sets = others;
        let mut set: Vec<Flow<'_>> = with.into_iter().flatten().collect();
        set.push(flow);
        sets.push(set);
    }
    sets.sort_by(|a, b| a[0].line.place.cmp(&b[0].line.place));
    sets.into_iter().map(group).collect()
}

fn group(flows: Vec<Flow<'_>>) -> Group<'_> {
    let qos = flows.iter().map(|flow| flow.line.qos).max().unwrap_or_default();
    let mixed = flows.iter().any(|flow| flow.line.qos != qos);
    let mut covered = Vec::new();
    let is_covered: Vec<bool> = (0..flows.len())
        .map(|at| {
            let flow = &flows[at];
            let by = (0..flows.len()).find(|by| {
                let (other, flow) = (&flows[*by].filter, &flow.filter);
                // Of two that cover each other the first stays.
                *by != at && other.share() == flow.share() && other.covers(flow) && (!flow.covers(other) || *by < at)
            });
            if let Some(by) = by.and_then(|by| flows.get(by)) {
                let words = format!("`{}` is in `{}`, at {}", flow.line.written, by.filter, by.line.place);
                covered.push((flow.line.place.clone(), words));
            }
            by.is_some()
        })
        .collect();
    let mut is_covered = is_covered.into_iter();
    let flows = flows.into_iter().filter(|_| !is_covered.next().unwrap_or(false)).collect();
    Group { flows, covered, qos, mixed }
}

/// The line that mosquitto 2.1 takes this one for a repetition of, though it is none: it compares prefixes only where both
/// lines have them (`bridge__find_topic`).
pub(super) fn skipped_by_newer<'l>(earlier: &'l [TopicLine], line: &TopicLine) -> Option<&'l TopicLine> {
    let alike = |a: &Option<String>, b: &Option<String>| a.is_none() || b.is_none() || a == b;
    let found = earlier.iter().find(|other| {
        let same_pattern = other.pattern.is_none() || other.pattern == line.pattern;
        (other.direction, other.qos) == (line.direction, line.qos)
            && same_pattern
            && alike(&other.local, &line.local)
            && alike(&other.remote, &line.remote)
    })?;
    let same = (&found.pattern, &found.local, &found.remote) == (&line.pattern, &line.local, &line.remote);
    (!same).then_some(found)
}
