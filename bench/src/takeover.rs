//! Several brokers as one: how long a takeover takes, what is repeated, what moves, who is slowed.
//!
//! Members of sets, the barn and the office are real mosquittos as they come; between them and the gateway is a proxy that breaks
//! connections, falls silent, or is slow. Devices publish to the gateway's own broker, 200 bytes at QoS 1, so that a message is
//! acknowledged when it is on disk; what arrives is read at the mosquittos themselves.
//!
//! | Part | What it measures |
//! |---|---|
//! | [`successor`] | from a fault of the first member to the first message at the second; what came twice |
//! | [`topics`] | how many topics move when one of ten members leaves, and how evenly four members share them |
//! | [`strained`] | what the well members get while one is slow |
//! | [`home`] | home's rate and latency while the office is away |

mod home;
mod site;
mod strained;
mod successor;
mod topics;
mod traffic;

use crate::report::Spread;
use anyhow::Result;
use std::path::Path;

/// What is measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Part {
    /// From a fault to the first message at the successor
    Successor,
    /// Topics that move, and how evenly they are shared
    Topics,
    /// The well members while one is slow
    Strained,
    /// Home while the office is away
    Home,
}

impl Part {
    pub(crate) const ALL: [Self; 4] = [Self::Successor, Self::Topics, Self::Strained, Self::Home];
}

/// Measures these parts, each so many times in turn, and prints a table of each.
pub(crate) fn run(tidegate: &Path, parts: &[Part], turns: u32) -> Result<()> {
    for part in parts {
        let page = match part {
            Part::Successor => successor::run(tidegate, turns)?,
            Part::Topics => topics::run(tidegate, turns)?,
            Part::Strained => strained::run(tidegate, turns)?,
            Part::Home => home::run(tidegate, turns)?,
        };
        println!("{page}");
    }
    Ok(())
}

/// Median, lowest and highest.
fn spread(values: impl IntoIterator<Item = f64>, digits: usize) -> String {
    let Spread { low, median, high } = Spread::of(values.into_iter().collect());
    format!("{median:.digits$} ({low:.digits$} – {high:.digits$})")
}
