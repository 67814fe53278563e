//! `convert` changes numbers and names of fields in JSON: units, a scale and an offset, rounding, another name.
//!
//! It finds the fields in one walk over the payload (`tidegate_sdk::json`) and puts the new text in their place; every
//! other byte stays as it is, white space, order and numbers of any size included.
//!
//! Start reading at [`Convert::handle`]; `units.rs` holds the units.

mod number;
mod units;

use number::Number;
use serde::Deserialize;
use std::ops::Range;
use tidegate_sdk::{
    Decision, Failure, Message, Output, Plugin, Problems,
    decimal::Decimal,
    json::{self, Field, NotJson, Path},
    log,
    missing::OnMissing,
};
use units::Unit;

/// Each rule may look for two paths: its field, and the name that it gives it, which must be free.
const MAX_RULES: usize = json::MAX_PATHS / 2;

/// More decimals than this no `f64` near 1 has.
const MAX_ROUND: u32 = 15;

/// The plugin's `config` table: one rule, or several under `rules`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    field: Option<Path>,
    from: Option<String>,
    to: Option<String>,
    scale: Option<f64>,
    offset: Option<f64>,
    round: Option<u32>,
    rename: Option<String>,
    #[serde(default)]
    rules: Vec<RuleConfig>,
    /// What becomes of a message that a rule does not fit: no such field, no number, or no JSON at all. With `pass` the rule is
    /// skipped; the others apply.
    #[serde(default)]
    on_missing: OnMissing,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RuleConfig {
    field: Path,
    from: Option<String>,
    to: Option<String>,
    scale: Option<f64>,
    offset: Option<f64>,
    round: Option<u32>,
    rename: Option<String>,
}

/// The plugin.
pub struct Convert {
    rules: Vec<Rule>,
    /// The rules' fields, then the names that must be free, in the order of `rules`.
    paths: Vec<Path>,
    on_missing: OnMissing,
    // Kept from message to message for their memory alone.
    found: Vec<Option<Field>>,
    /// In the order of the payload.
    edits: Vec<Edit>,
    text: Vec<u8>,
    /// Messages that went onward although a rule did not fit.
    misfits: u64,
}

struct Rule {
    change: Change,
    /// The new key, with its quotes, and which of the paths must not exist.
    rename: Option<(Vec<u8>, usize)>,
}

enum Change {
    /// The value stays, whatever it is.
    Nothing,
    Number(Number),
}

/// Bytes of the payload to replace by bytes of `text`.
struct Edit {
    old: Range<usize>,
    new: Range<usize>,
}

impl Plugin for Convert {
    type Config = Config;

    fn configure(config: Config) -> Result<Self, Problems> {
        let Config { field, from, to, scale, offset, round, rename, rules, on_missing } = config;
        let mut problems = Problems::none();
        let single_has_keys = [&from, &to, &rename].iter().any(|key| key.is_some())
            || [scale, offset].iter().any(Option::is_some)
            || round.is_some();
        let (at, rules) = match field {
            Some(_) if !rules.is_empty() => {
                return Err(Problems::one(
                    "rules",
                    "either `field` and its keys, or `rules`: move the first into the list",
                ));
            }
            Some(field) => ("", vec![RuleConfig { field, from, to, scale, offset, round, rename }]),
            None if single_has_keys => return Err(Problems::one("field", "which? write `field = \"temp\"`")),
            None if rules.is_empty() => {
                return Err(Problems::one(
                    "",
                    "nothing to do: write `field = \"temp\"` and what to do with it, or `rules = [...]`",
                ));
            }
            None => ("rules", rules),
        };
        if rules.len() > MAX_RULES {
            problems.add("rules", format!("at most {MAX_RULES} rules"));
            return Err(problems);
        }
        check_overlaps(&rules, &mut problems);
        let mut paths: Vec<Path> = rules.iter().map(|rule| rule.field.clone()).collect();
        let mut checked = Vec::with_capacity(rules.len());
        for (i, rule) in rules.into_iter().enumerate() {
            let place = |key: &str| if at.is_empty() { key.to_owned() } else { format!("{at}[{i}].{key}") };
            checked.extend(check(rule, place, &mut paths, &mut problems));
        }
        let found = vec![None; paths.len()];
        problems.or(|| Self {
            rules: checked,
            paths,
            on_missing,
            found,
            edits: Vec::new(),
            text: Vec::new(),
            misfits: 0,
        })
    }

    fn handle(&mut self, _source: &str, message: Message) -> Result<Decision, Failure> {
        if let Err(problem) = self.plan(&message.payload) {
            match self.on_missing {
                OnMissing::Pass => self.misfit(problem, &message),
                other => return other.decide(problem.reason(), || problem.told(&message.payload)),
            }
        }
        if self.edits.is_empty() {
            return Ok(Decision::pass());
        }
        Ok(Output::onward().payload(self.carry_out(&message.payload)).into())
    }
}

/// Why a rule does not fit a message.
#[derive(Clone, Copy)]
enum Problem {
    NotJson(NotJson),
    NoField,
    NoNumber,
    OutOfRange,
    NameTaken,
    NoName,
}

impl Problem {
    fn reason(self) -> &'static str {
        match self {
            Self::NotJson(_) => "not JSON",
            Self::NoField => "no such field",
            Self::NoNumber => "not a number",
            Self::OutOfRange => "a number out of range",
            Self::NameTaken => "the new name is taken",
            Self::NoName => "an element of an array has no name",
        }
    }

    /// With its place, for who looks at the message; a reason to count by has none.
    fn told(self, payload: &[u8]) -> String {
        match self {
            Self::NotJson(at) => at.told(payload),
            other => other.reason().to_owned(),
        }
    }
}

impl Convert {
    /// Fills `edits` and `text`, and says which rule did not fit, if there is one. Stops there, unless such rules are skipped.
    fn plan(&mut self, payload: &[u8]) -> Result<(), Problem> {
        self.edits.clear();
        self.text.clear();
        json::find_each(payload, &self.paths, &mut self.found).map_err(Problem::NotJson)?;
        let mut outcome = Ok(());
        for i in 0..self.rules.len() {
            let planned = self.plan_rule(i, payload);
            if planned.is_err() && !matches!(self.on_missing, OnMissing::Pass) {
                return planned;
            }
            outcome = outcome.and(planned);
        }
        outcome
    }

    /// Onward all the same: a message for each power of ten of them, and one that is only seen by who looks closely.
    fn misfit(&mut self, problem: Problem, message: &Message) {
        self.misfits += 1;
        let why = problem.told(&message.payload);
        if self.misfits.ilog10() != (self.misfits - 1).checked_ilog10().unwrap_or(u32::MAX) {
            let (count, topic) = (self.misfits, &message.topic);
            log::warn!(
                "{count} went onward with a field unconverted (`on_missing = \"pass\"`), the last on {topic}: {why}"
            );
        } else {
            log::debug!("a field goes onward unconverted: {why}");
        }
    }

    fn plan_rule(&mut self, i: usize, payload: &[u8]) -> Result<(), Problem> {
        let Rule { change, rename } = &self.rules[i];
        let field = self.found[i].as_ref().ok_or(Problem::NoField)?;
        if let Some((_, free)) = rename {
            if self.found[*free].is_some() {
                return Err(Problem::NameTaken);
            }
            if field.key.is_empty() {
                return Err(Problem::NoName);
            }
        }
        let start = self.text.len();
        if change.write(field, payload, &mut self.text)? {
            insert(&mut self.edits, Edit { old: field.value.clone(), new: start..self.text.len() });
        }
        if let Some((name, _)) = rename {
            let start = self.text.len();
            self.text.extend_from_slice(name);
            insert(&mut self.edits, Edit { old: field.key.clone(), new: start..self.text.len() });
        }
        Ok(())
    }

    fn carry_out(&self, payload: &[u8]) -> Vec<u8> {
        let mut new = Vec::with_capacity(payload.len() + self.text.len());
        let mut done = 0;
        for edit in &self.edits {
            new.extend_from_slice(&payload[done..edit.old.start]);
            new.extend_from_slice(&self.text[edit.new.clone()]);
            done = edit.old.end;
        }
        new.extend_from_slice(&payload[done..]);
        new
    }
}

/// Edits are few, and kept in the order of the payload.
fn insert(edits: &mut Vec<Edit>, edit: Edit) {
    let after = edits.iter().rposition(|earlier| earlier.old.start < edit.old.start).map_or(0, |earlier| earlier + 1);
    edits.insert(after, edit);
}

impl Change {
    /// Writes the new number; false if the value stays.
    fn write(&self, field: &Field, payload: &[u8], to: &mut Vec<u8>) -> Result<bool, Problem> {
        let Self::Number(number) = self else {
            return Ok(false);
        };
        let is_written = match field.decimal(payload) {
            // Most numbers are held whole, and no `f64` is made of them.
            Some(exact) => number.write(Some(exact), || exact.to_f64(), to),
            None => {
                let near = field.number(payload).ok_or_else(|| wrong_number(field, payload))?;
                number.write(None, || near, to)
            }
        };
        if is_written { Ok(true) } else { Err(Problem::OutOfRange) }
    }
}

/// A value that is no number is another mistake than one that is too large.
fn wrong_number(field: &Field, payload: &[u8]) -> Problem {
    if field.number_text(payload).is_some() { Problem::OutOfRange } else { Problem::NoNumber }
}

/// Two rules for one field, or one within the other, would undo each other.
fn check_overlaps(rules: &[RuleConfig], problems: &mut Problems) {
    for (i, rule) in rules.iter().enumerate() {
        let after = |other: &RuleConfig| other.rename.as_ref().map(|name| other.field.sibling(name));
        for (j, earlier) in rules[..i].iter().enumerate() {
            if rule.field.overlaps(&earlier.field) {
                problems.add(
                    format!("rules[{i}].field"),
                    format!("rules[{j}] is about this field too: make one rule of them"),
                );
            }
            if after(rule).is_some() && after(rule) == after(earlier) {
                problems.add(format!("rules[{i}].rename"), format!("rules[{j}] gives this name too"));
            }
        }
    }
}

fn check(
    rule: RuleConfig,
    place: impl Fn(&str) -> String,
    paths: &mut Vec<Path>,
    problems: &mut Problems,
) -> Option<Rule> {
    let RuleConfig { field, from, to, scale, offset, round, rename } = rule;
    let units = check_units(from.as_deref(), to.as_deref(), &place, problems);
    for (key, value) in [("scale", scale), ("offset", offset)] {
        if value.is_some_and(|value| !value.is_finite()) {
            problems.add(place(key), "must be a finite number");
        }
    }
    if round.is_some_and(|round| round > MAX_ROUND) {
        problems.add(place("round"), format!("at most {MAX_ROUND} decimals"));
    }
    let changes = from.is_some() || to.is_some() || scale.is_some() || offset.is_some() || round.is_some();
    if !changes && rename.is_none() {
        problems
            .add(place("field"), "and what to do with it? Add `from` and `to`, `scale`, `offset`, `round` or `rename`");
        return None;
    }
    let rename = rename.map(|name| {
        let mut written = Vec::new();
        json::write_string(&name, &mut written);
        paths.push(field.sibling(&name));
        (written, paths.len() - 1)
    });
    let change = match changes {
        true => {
            let written =
                |number: Option<f64>, default| Decimal::of_f64(number.unwrap_or(default)).unwrap_or(Decimal::ZERO);
            Change::Number(Number::new(units, written(scale, 1.0), written(offset, 0.0), round))
        }
        false => Change::Nothing,
    };
    Some(Rule { change, rename })
}

fn check_units(
    from: Option<&str>,
    to: Option<&str>,
    place: &impl Fn(&str) -> String,
    problems: &mut Problems,
) -> Option<(Unit, Unit)> {
    let mut named = |key: &str, name: &str| Unit::named(name).map_err(|problem| problems.add(place(key), problem)).ok();
    match (from, to) {
        (None, None) => None,
        (Some(from), Some(to)) => {
            let (from, to) = (named("from", from), named("to", to));
            let units = from.zip(to)?;
            units.0.converts_to(units.1).map_err(|problem| problems.add(place("to"), problem)).ok()?;
            Some(units)
        }
        (Some(_), None) => {
            problems.add(place("to"), "`from` wants a `to`");
            None
        }
        (None, Some(_)) => {
            problems.add(place("from"), "`to` wants a `from`");
            None
        }
    }
}

tidegate_sdk::plugin!(Convert);

#[cfg(test)]
mod tests;
