//! `script` decides messages by a rule of a few lines that stands in the configuration, in the language Rhai: no compiler.
//!
//! The script is compiled once and evaluated for each message, which it sees as `message`. What its last expression is, is
//! the decision: `pass()`, `drop("why")`, `reject("why")`, an output such as `onward().topic("x")`, or a list of outputs.
//!
//! Invariants: a script that is no Rhai refuses the configuration with line and column. Operations, calls within calls, and
//! the sizes of texts, lists and maps are bounded, and what breaks a bound rejects its message with line and column.
//!
//! Start reading at [`Script::handle`]; `language.rs` has the functions a script can call.

mod clock;
mod json;
mod kept;
mod language;
mod message;
#[cfg(all(target_arch = "wasm32", target_os = "unknown"))]
mod random;

use kept::Kept;
use language::{Decided, kind};
use message::Incoming;
use rhai::{AST, Array, Dynamic, Engine, EvalAltResult, Position, Scope};
use serde::Deserialize;
use tidegate_sdk::{Decision, Failure, Message, Output, Plugin, Problems};

/// `max_operations`: by default, and the most it may say. A million take some 50 ms, the deadline of a call.
const DEFAULT_OPERATIONS: u64 = 100_000;
const MAX_OPERATIONS: u64 = 10_000_000;

/// Longer rules want a plugin of their own.
const MAX_SCRIPT_BYTES: usize = 64 << 10;

/// So much is told of an error: it may quote values.
const MAX_TOLD: usize = 300;

/// The plugin's `config` table.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// The rule.
    script: String,
    /// What one message may take.
    #[serde(default = "default_operations")]
    max_operations: u64,
}

fn default_operations() -> u64 {
    DEFAULT_OPERATIONS
}

/// The plugin.
pub struct Script {
    engine: Engine,
    rule: AST,
    kept: Kept,
}

impl Plugin for Script {
    type Config = Config;

    fn configure(config: Config) -> Result<Self, Problems> {
        let Config { script, max_operations } = config;
        let mut problems = Problems::none();
        if !(1..=MAX_OPERATIONS).contains(&max_operations) {
            problems.add("max_operations", format!("must be from 1 to {MAX_OPERATIONS}"));
        }
        if script.len() > MAX_SCRIPT_BYTES {
            problems.add("script", format!("at most {MAX_SCRIPT_BYTES} bytes: write a plugin for more"));
            return Err(problems);
        }
        if script.trim().is_empty() {
            problems.add("script", "must say what becomes of a message: `pass()`, for one");
        }
        let kept = Kept::default();
        let engine = language::engine(max_operations, &kept);
        match engine.compile(&script) {
            Ok(rule) => problems.or(|| Self { engine, rule, kept }),
            Err(error) => {
                problems.add("script", format!("{}: {}", place(error.position()), error.err_type()));
                Err(problems)
            }
        }
    }

    fn handle(&mut self, source: &str, message: Message) -> Result<Decision, Failure> {
        let mut scope = Scope::new();
        scope.push_constant("message", Incoming::new(source, message));
        let result = self.engine.eval_ast_with_scope::<Dynamic>(&mut scope, &self.rule);
        let decided = result.map_err(|error| told(&error)).and_then(decision);
        match decided {
            Ok(decided) => {
                self.kept.commit();
                decided
            }
            Err(why) => {
                self.kept.undo();
                Err(Failure::reject(why))
            }
        }
    }
}

/// What the last expression of the script says.
fn decision(value: Dynamic) -> Result<Result<Decision, Failure>, String> {
    if value.is::<Decided>() {
        return Ok(match value.cast::<Decided>() {
            Decided::Pass => Ok(Decision::pass()),
            Decided::Drop(reason) => Ok(Decision::drop(reason)),
            Decided::Reject(reason) => Err(Failure::reject(reason)),
            Decided::Retry(reason) => Err(Failure::retry(reason)),
        });
    }
    if value.is::<Output>() {
        return Ok(Ok(value.cast::<Output>().into()));
    }
    let found = kind(&value);
    let Some(list) = value.clone().try_cast::<Array>() else {
        return Err(format!(
            "the script ended with {found}: end it with `pass()`, `drop(\"why\")`, `onward()` or a list of outputs"
        ));
    };
    if list.is_empty() {
        return Err("the script ended with an empty list: say `drop(\"why\")`".to_owned());
    }
    let output = |item: Dynamic| {
        let found = kind(&item);
        item.try_cast::<Output>()
            .ok_or_else(|| format!("the script ended with a list that holds {found}, and may hold only outputs"))
    };
    let outputs: Result<Vec<Output>, String> = list.into_iter().map(output).collect();
    Ok(Ok(Decision::forward(outputs?)))
}

/// The error that is behind those of the functions that it came through, with its place.
fn told(error: &EvalAltResult) -> String {
    if let EvalAltResult::ErrorInFunctionCall(_, _, inner, _) = error {
        return told(inner);
    }
    let at = error.position();
    let mut bare = error.to_string();
    // Rhai says the place at the end, in its own words.
    if let Some(cut) = bare.rfind(" (line ") {
        bare.truncate(cut);
    }
    let why = bare.strip_prefix("Runtime error: ").unwrap_or(&bare);
    let mut line = format!("{}: {why}", place(at));
    if let Some((cut, _)) = line.char_indices().nth(MAX_TOLD) {
        line.truncate(cut);
        line.push_str("...");
    }
    line
}

fn place(at: Position) -> String {
    match (at.line(), at.position()) {
        (Some(line), Some(column)) => format!("line {line}, column {column}"),
        (Some(line), None) => format!("line {line}"),
        _ => "the script".to_owned(),
    }
}

tidegate_sdk::plugin!(Script);

#[cfg(test)]
mod tests;
