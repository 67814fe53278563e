//! The readings of one key: a pane for each stretch of time between two windows' ends, and the windows that are made of them.
//!
//! A window that ends at a boundary is made of the panes before it, one of them when windows do not overlap.

use crate::stats::Stats;
use serde::Deserialize;
use tidegate_sdk::decimal::Decimal;

/// The readings between two boundaries.
#[derive(Clone, Debug, PartialEq, Deserialize)]
pub(crate) struct Pane {
    #[serde(rename = "start")]
    pub(crate) start_ms: u64,
    /// The `id` of the last message in it.
    #[serde(rename = "id")]
    pub(crate) last_id: u64,
    /// Of each field; none if no message had it.
    pub(crate) stats: Vec<Option<Stats>>,
}

/// Panes that are over.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
pub(crate) struct Past {
    /// The earliest first.
    pub(crate) panes: Vec<Pane>,
    /// Windows that end here or before have been said.
    #[serde(rename = "said")]
    pub(crate) said_ms: u64,
    /// The messages that closed the last of them, each of which says them again when it is delivered again.
    #[serde(rename = "by", default)]
    pub(crate) closings: Vec<Closing>,
}

/// So many closings are known: messages that are decided together may close several windows, and come again together.
pub(crate) const MAX_CLOSINGS: usize = 4;

/// And for so long.
const CLOSING_KNOWN_MS: u64 = 30_000;

/// What one message closed: its `id`, when it came, and where windows had been said to before and were said to by it.
#[derive(Clone, Copy, Debug, PartialEq, Deserialize)]
pub(crate) struct Closing(u64, u64, u64, u64);

/// Of each key.
#[derive(Clone, Debug)]
pub(crate) struct Panes {
    pub(crate) now: Option<Pane>,
    pub(crate) past: Past,
}

/// What a window says.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Window {
    pub(crate) start_ms: u64,
    pub(crate) end_ms: u64,
    pub(crate) stats: Vec<Option<Stats>>,
}

/// How windows lie: one ends at each multiple of `every`, and is as long as `over`, a multiple of it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Lengths {
    pub(crate) every_ms: u64,
    pub(crate) over_ms: u64,
}

impl Lengths {
    /// The boundary at or before this time.
    pub(crate) fn boundary_ms(self, at_ms: u64) -> u64 {
        at_ms - at_ms % self.every_ms
    }
}

impl Pane {
    /// As it is read back, by hand: it is written with each message.
    pub(crate) fn keep(&self, to: &mut Vec<u8>) {
        let Self { start_ms, last_id, stats } = self;
        to.extend_from_slice(format!("{{\"start\":{start_ms},\"id\":{last_id},\"stats\":[").as_bytes());
        for (at, stats) in stats.iter().enumerate() {
            to.extend_from_slice(if at > 0 { b"," } else { b"" });
            match stats {
                Some(stats) => stats.keep(to),
                None => to.extend_from_slice(b"null"),
            }
        }
        to.extend_from_slice(b"]}");
    }
}

impl Past {
    /// As it is read back.
    pub(crate) fn keep(&self, to: &mut Vec<u8>) {
        to.extend_from_slice(b"{\"panes\":[");
        for (at, pane) in self.panes.iter().enumerate() {
            to.extend_from_slice(if at > 0 { b"," } else { b"" });
            pane.keep(to);
        }
        to.extend_from_slice(format!("],\"said\":{}", self.said_ms).as_bytes());
        for (at, Closing(id, at_ms, from_ms, to_ms)) in self.closings.iter().enumerate() {
            let before = if at == 0 { ",\"by\":[" } else { "," };
            to.extend_from_slice(format!("{before}[{id},{at_ms},{from_ms},{to_ms}]").as_bytes());
        }
        to.extend_from_slice(if self.closings.is_empty() { b"}" } else { b"]}" });
    }
}

impl Panes {
    /// Of a key whose first reading comes in the pane that begins here.
    pub(crate) fn new(boundary_ms: u64) -> Self {
        Self { now: None, past: Past { panes: Vec::new(), said_ms: boundary_ms, closings: Vec::new() } }
    }

    /// Whether this message is in it already.
    pub(crate) fn counts(&self, id: u64) -> bool {
        self.now.iter().chain(&self.past.panes).any(|pane| id <= pane.last_id)
    }

    /// The windows that message of this id has closed, to be said again.
    pub(crate) fn again(&self, id: u64, lengths: Lengths) -> Vec<Window> {
        let closing = self.past.closings.iter().find(|Closing(by, ..)| *by == id);
        closing.map_or_else(Vec::new, |Closing(_, _, from_ms, to_ms)| self.windows(*from_ms, *to_ms, lengths))
    }

    /// Whether a window ends at this boundary or before that is not said yet.
    pub(crate) fn is_due(&self, boundary_ms: u64) -> bool {
        boundary_ms > self.past.said_ms && (self.now.is_some() || !self.past.panes.is_empty())
    }

    /// How many windows are to be said at this boundary, or a few more: those without a reading are not.
    pub(crate) fn due(&self, boundary_ms: u64, lengths: Lengths) -> usize {
        let mut panes = self.past.panes.iter().chain(&self.now);
        let (first, last) = (panes.next(), self.now.as_ref().or(self.past.panes.last()));
        let Some((first, last)) = first.zip(last) else { return 0 };
        let to_ms = boundary_ms.min(last.start_ms + lengths.over_ms);
        let from_ms = self.past.said_ms.max(first.start_ms);
        usize::try_from(to_ms.saturating_sub(from_ms) / lengths.every_ms).unwrap_or(usize::MAX)
    }

    /// Where readings are taken from: an earlier one is late.
    pub(crate) fn open_ms(&self) -> u64 {
        self.now.as_ref().map_or(self.past.said_ms, |pane| pane.start_ms)
    }

    /// Closes what ends at this boundary or before; by a message, of this `id` and time, or by the timer.
    pub(crate) fn close(&mut self, boundary_ms: u64, by: Option<(u64, u64)>, lengths: Lengths) -> Vec<Window> {
        let from_ms = self.past.said_ms;
        self.past.panes.extend(self.now.take());
        let windows = self.windows(from_ms, boundary_ms, lengths);
        self.past.said_ms = boundary_ms;
        let closings = &mut self.past.closings;
        let now_ms = by.map_or(boundary_ms, |(_, at_ms)| at_ms);
        closings.retain(|Closing(_, at_ms, ..)| now_ms.abs_diff(*at_ms) < CLOSING_KNOWN_MS);
        closings.extend(by.map(|(id, at_ms)| Closing(id, at_ms, from_ms, boundary_ms)));
        closings.drain(..closings.len().saturating_sub(MAX_CLOSINGS));
        let needed_ms = closings.first().map_or(boundary_ms, |Closing(_, _, from_ms, _)| *from_ms);
        let first_ms = (needed_ms + lengths.every_ms).saturating_sub(lengths.over_ms);
        self.past.panes.retain(|pane| pane.start_ms >= first_ms);
        windows
    }

    /// The clock was set back: what is open ends now, and windows begin anew.
    pub(crate) fn break_off(&mut self, boundary_ms: u64, lengths: Lengths) -> Vec<Window> {
        let end_ms = self.now.as_ref().map_or(0, |pane| pane.start_ms + lengths.every_ms);
        let windows = self.close(end_ms.max(self.past.said_ms), None, lengths);
        *self = Self::new(boundary_ms);
        windows
    }

    /// Counts readings, one of each field that has one.
    pub(crate) fn add(&mut self, boundary_ms: u64, id: u64, readings: &[Option<Decimal>], with_deviation: bool) {
        let fields = readings.len();
        let new = || Pane { start_ms: boundary_ms, last_id: id, stats: vec![None; fields] };
        let pane = self.now.get_or_insert_with(new);
        pane.last_id = id;
        for (stats, reading) in pane.stats.iter_mut().zip(readings) {
            *stats = joined(*stats, reading.map(|reading| Stats::of(reading, with_deviation)));
        }
    }

    /// Those that end after the first time and not after the second, but for those without any reading.
    fn windows(&self, from_ms: u64, to_ms: u64, lengths: Lengths) -> Vec<Window> {
        let Lengths { every_ms, over_ms } = lengths;
        let Some(last) = self.past.panes.last() else {
            return Vec::new();
        };
        let to_ms = to_ms.min(last.start_ms + over_ms);
        let first = self.past.panes.iter().find(|pane| pane.start_ms + over_ms > from_ms);
        // Nothing ends before the first pane does: a pause of years is no loop of years.
        let mut end_ms = first.map_or(u64::MAX, |pane| (from_ms + every_ms).max(pane.start_ms + every_ms));
        let mut windows = Vec::new();
        while end_ms <= to_ms {
            let start_ms = end_ms.saturating_sub(over_ms);
            let within = |pane: &&Pane| (start_ms..end_ms).contains(&pane.start_ms);
            let stats = self.past.panes.iter().filter(within).map(|pane| pane.stats.clone());
            let stats =
                stats.reduce(|all, later| all.into_iter().zip(later).map(|(all, later)| joined(all, later)).collect());
            windows.extend(stats.map(|stats| Window { start_ms, end_ms, stats }));
            end_ms += every_ms;
        }
        windows
    }
}

fn joined(earlier: Option<Stats>, later: Option<Stats>) -> Option<Stats> {
    match (earlier, later) {
        (Some(earlier), Some(later)) => Some(earlier.and(later)),
        (earlier, later) => earlier.or(later),
    }
}
