//! `hostile` misbehaves in the way its `mode` says, to show that the gateway holds.
//!
//! Each mode is a promise's test: a trap, a loop, too much memory, too much output, a topic or target it may not send
//! to. `pass` behaves, for comparison.

use serde::Deserialize;
use std::hint::black_box;
use tidegate_sdk::{Decision, Failure, Message, Output, Plugin, Problems, log};

/// The plugin's `config` table.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// How to misbehave.
    mode: Mode,
    /// Misbehave only for a message whose payload contains this; pass the others.
    only: Option<String>,
    /// `slow`: CPU time to burn for a message, in milliseconds, roughly.
    #[serde(default = "default_slow_ms")]
    slow_ms: u64,
    /// `output-bomb`, `log-flood`: how many.
    #[serde(default = "default_count")]
    count: usize,
    /// `big-payload`: bytes.
    #[serde(default = "default_bytes")]
    bytes: usize,
    /// `foreign-target`: its name. `bad-topic`: the topic.
    name: Option<String>,
}

fn default_slow_ms() -> u64 {
    20
}

fn default_count() -> usize {
    4_000_000
}

fn default_bytes() -> usize {
    1 << 30
}

#[derive(Clone, Copy, Deserialize, PartialEq, Eq, Debug)]
#[serde(rename_all = "kebab-case")]
enum Mode {
    /// Decides every message honestly.
    Pass,
    /// Executes `unreachable` by way of a panic.
    Trap,
    /// Recurses until the stack is used up.
    DeepStack,
    /// Never returns.
    Loop,
    /// Never returns from `configure`.
    LoopInConfigure,
    /// Traps in `configure`.
    TrapInConfigure,
    /// Allocates and touches memory until it is refused.
    MemoryBomb,
    /// Keeps a little more memory with each message.
    MemoryLeak,
    /// `count` outputs for one message.
    OutputBomb,
    /// One output with `bytes` of payload.
    BigPayload,
    /// A topic with a wildcard, or `name`.
    BadTopic,
    /// A target nobody granted, or `name`.
    ForeignTarget,
    /// `count` lines in the log for one message.
    LogFlood,
    /// An empty `forward`.
    EmptyForward,
    /// Fails with `retry`, always.
    Retry,
    /// Fails with `reject`, always.
    Reject,
    /// Burns about `slow_ms` for each message, and passes it.
    Slow,
    /// Refuses its configuration with diagnostics.
    RefuseConfig,
}

/// The plugin.
pub struct Hostile {
    config: Config,
    kept: Vec<Vec<u8>>,
}

impl Plugin for Hostile {
    type Config = Config;

    fn configure(config: Config) -> Result<Self, Problems> {
        match config.mode {
            Mode::RefuseConfig => {
                let mut problems = Problems::one("thresholds[2].max", "must be above `min` (30)");
                problems.add("", "and nothing else is right either");
                return Err(problems);
            }
            Mode::TrapInConfigure => panic!("hostile: trap in configure"),
            Mode::LoopInConfigure => spin_forever(),
            _ => {}
        }
        Ok(Self { config, kept: Vec::new() })
    }

    fn handle(&mut self, _source: &str, message: Message) -> Result<Decision, Failure> {
        let spared = |only: &String| !contains(&message.payload, only.as_bytes());
        if self.config.only.as_ref().is_some_and(spared) {
            return Ok(Decision::pass());
        }
        match self.config.mode {
            Mode::Trap => panic!("hostile: trap"),
            Mode::DeepStack => drop(black_box(recurse(1))),
            Mode::Loop => spin_forever(),
            Mode::MemoryBomb => loop {
                self.kept.push(black_box(vec![1; 1 << 20]));
            },
            Mode::MemoryLeak => self.kept.push(black_box(vec![1; 64 << 10])),
            Mode::OutputBomb => return Ok(Decision::forward(vec![Output::onward(); self.config.count])),
            Mode::BigPayload => return Ok(Output::onward().payload(vec![b'x'; self.config.bytes]).into()),
            Mode::BadTopic => return Ok(Output::onward().topic(self.name_or("site/+/#")).into()),
            Mode::ForeignTarget => return Ok(Output::target(self.name_or("nobody-granted-this")).into()),
            Mode::LogFlood => (0..self.config.count).for_each(|i| log::warn!("hostile: line {i}")),
            Mode::EmptyForward => return Ok(Decision::forward([])),
            Mode::Retry => return Err(Failure::retry("hostile: try again")),
            Mode::Reject => return Err(Failure::reject("hostile: never")),
            Mode::Slow => burn(self.config.slow_ms),
            Mode::Pass | Mode::RefuseConfig | Mode::TrapInConfigure | Mode::LoopInConfigure => {}
        }
        Ok(Decision::pass())
    }
}

impl Hostile {
    fn name_or<'a>(&'a self, default: &'a str) -> &'a str {
        self.config.name.as_deref().unwrap_or(default)
    }
}

fn contains(payload: &[u8], needle: &[u8]) -> bool {
    payload.windows(needle.len().max(1)).any(|window| window == needle)
}

fn spin_forever() -> ! {
    let mut turns = 0_u64;
    loop {
        turns = black_box(turns.wrapping_add(1));
    }
}

/// Without a clock: so many turns of a multiplication that no optimiser can fold take about a millisecond each.
fn burn(slow_ms: u64) {
    const TURNS_PER_MS: u64 = 400_000;
    let mut x = 1_u64;
    for _ in 0..slow_ms.saturating_mul(TURNS_PER_MS) {
        x = black_box(x.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1));
    }
}

#[allow(unconditional_recursion, reason = "that is the point")]
fn recurse(depth: u64) -> u64 {
    let frame = black_box([depth; 64]);
    recurse(depth + 1) + frame[63]
}

tidegate_sdk::plugin!(Hostile);

#[cfg(test)]
mod tests {
    use super::*;
    use tidegate_sdk::testing;

    #[test]
    fn it_misbehaves_only_for_what_it_is_told_to() {
        let mut plugin: Hostile = testing::plugin(r#"{"mode": "reject", "only": "poison"}"#);
        assert!(matches!(plugin.handle("home", Message::new("a", "fine")), Ok(Decision::Pass)));
        assert!(plugin.handle("home", Message::new("a", "some poison")).is_err());
    }

    #[test]
    fn it_refuses_with_a_path() {
        assert_eq!(testing::refused::<Hostile>(r#"{"mode": "refuse-config"}"#)[0].at, "thresholds[2].max");
    }
}
