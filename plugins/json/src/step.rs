//! Steps, checked.

use crate::{
    config::{Condition, StepConfig},
    expression::Expression,
    path::Path,
    template::Template,
};
use jaq_json::{Val, read::parse_single};
use serde_json::Value;
use tidegate_sdk::Problems;

/// More steps than this are no configuration that somebody can read.
pub(crate) const MAX_STEPS: usize = 64;

/// As the gateway's own limit of a reason.
const MAX_REASON_BYTES: usize = 256;

pub(crate) struct Step {
    /// Where it stands in the configuration, for what is told of it.
    pub(crate) place: String,
    pub(crate) action: Action,
}

pub(crate) enum Action {
    Pick(Vec<Path>),
    Remove(Vec<Path>),
    Rename(Vec<(Path, Path)>),
    Set(Vec<(Path, Val)>),
    /// As `Set`, where there is nothing yet.
    Default(Vec<(Path, Val)>),
    Merge(Val),
    Flatten(String),
    Unflatten(String),
    Template(Template),
    Jq(Expression),
    Compute(Vec<(Path, Expression)>),
    /// Dropped for this reason when the expression is this.
    Drop {
        when: Expression,
        is: bool,
        reason: String,
    },
    Topic(Expression),
}

/// The step, or its problems.
pub(crate) fn check(step: StepConfig, i: usize, problems: &mut Problems) -> Option<Step> {
    let name = name(&step);
    let place = format!("steps[{i}].{name}");
    let at = |problem: String| (place.clone(), problem);
    let action = match step {
        StepConfig::Pick(paths) => some(paths).map(Action::Pick).map_err(at),
        StepConfig::Remove(paths) => some(paths).map(Action::Remove).map_err(at),
        StepConfig::Rename(names) => rename(names.into_iter().collect()).map(Action::Rename).map_err(at),
        StepConfig::Set(values) => some(constants(values)).map(Action::Set).map_err(at),
        StepConfig::Default(values) => some(constants(values)).map(Action::Default).map_err(at),
        StepConfig::Merge(object) => Ok(Action::Merge(constant(&Value::Object(object)))),
        StepConfig::Flatten(separator) => separated(separator).map(Action::Flatten).map_err(at),
        StepConfig::Unflatten(separator) => separated(separator).map(Action::Unflatten).map_err(at),
        StepConfig::Template(value) => Template::new(&value).map(Action::Template).map_err(at),
        StepConfig::Jq(code) => Expression::compile(&code).map(Action::Jq).map_err(at),
        StepConfig::Compute(codes) => {
            let compiled = codes.into_iter().map(|(path, code)| match Expression::compile(&code) {
                Ok(expression) => Ok((path, expression)),
                Err(problem) => Err((format!("{place}.{path}"), problem)),
            });
            let compiled: Result<Vec<_>, _> = compiled.collect();
            compiled.and_then(|compiled| some(compiled).map(Action::Compute).map_err(at))
        }
        StepConfig::DropIf(condition) => drop_when(condition, true, &place),
        StepConfig::DropUnless(condition) => drop_when(condition, false, &place),
        StepConfig::Topic(code) => Expression::compile(&code).map(Action::Topic).map_err(at),
    };
    match action {
        Ok(action) => Some(Step { place, action }),
        Err((place, problem)) => {
            problems.add(place, problem);
            None
        }
    }
}

fn name(step: &StepConfig) -> &'static str {
    match step {
        StepConfig::Pick(_) => "pick",
        StepConfig::Remove(_) => "remove",
        StepConfig::Rename(_) => "rename",
        StepConfig::Set(_) => "set",
        StepConfig::Default(_) => "default",
        StepConfig::Merge(_) => "merge",
        StepConfig::Flatten(_) => "flatten",
        StepConfig::Unflatten(_) => "unflatten",
        StepConfig::Template(_) => "template",
        StepConfig::Jq(_) => "jq",
        StepConfig::Compute(_) => "compute",
        StepConfig::DropIf(_) => "drop_if",
        StepConfig::DropUnless(_) => "drop_unless",
        StepConfig::Topic(_) => "topic",
    }
}

fn some<T>(list: Vec<T>) -> Result<Vec<T>, String> {
    if list.is_empty() { Err("names no field".to_owned()) } else { Ok(list) }
}

/// What is renamed is taken out first, all of it, and put in then: neither may hold another.
fn rename(names: Vec<(Path, Path)>) -> Result<Vec<(Path, Path)>, String> {
    for (i, (old, new)) in names.iter().enumerate() {
        for (earlier_old, earlier_new) in &names[..i] {
            if old.overlaps(earlier_old) {
                return Err(format!("`{old}` and `{earlier_old}` are about the same field"));
            }
            if new.overlaps(earlier_new) {
                return Err(format!("`{new}` and `{earlier_new}` name the same place"));
            }
        }
    }
    some(names)
}

fn separated(separator: String) -> Result<String, String> {
    if separator.is_empty() { Err("wants the text between keys, such as \".\"".to_owned()) } else { Ok(separator) }
}

fn drop_when(condition: Condition, is: bool, place: &str) -> Result<Action, (String, String)> {
    let Condition { when, reason } = condition;
    let at = if reason.is_some() { format!("{place}.when") } else { place.to_owned() };
    let when = Expression::compile(&when).map_err(|problem| (at, problem))?;
    let reason = reason.unwrap_or_else(|| if is { "by drop_if" } else { "by drop_unless" }.to_owned());
    if reason.is_empty() || reason.len() > MAX_REASON_BYTES {
        return Err((format!("{place}.reason"), format!("must have 1 to {MAX_REASON_BYTES} bytes")));
    }
    Ok(Action::Drop { when, is, reason })
}

fn constants(values: impl IntoIterator<Item = (Path, Value)>) -> Vec<(Path, Val)> {
    values.into_iter().map(|(path, value)| (path, constant(&value))).collect()
}

/// A value of the configuration.
pub(crate) fn constant(value: &Value) -> Val {
    parse_single(value.to_string().as_bytes()).expect("a configuration's value is JSON")
}
