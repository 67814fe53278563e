//! Steps, applied to a tree.

use crate::{
    expression::{self, Expression},
    flat,
    path::{Path, kind},
    step::{Action, Step},
};
use jaq_json::{Map, Val};
use std::rc::Rc;
use tidegate_sdk::{Message, json::MAX_DEPTH};

/// So many characters are told of what is no topic.
const MAX_TOPIC_TOLD: usize = 100;

/// Why nothing comes of a message.
pub(crate) enum Stop {
    Drop(String),
    NotJson(String),
    Misfit(String),
}

/// A message in the making.
pub(crate) struct Work {
    pub(crate) value: Val,
    pub(crate) is_changed: bool,
    pub(crate) topic: Option<String>,
}

impl Work {
    pub(crate) fn new(value: Val) -> Self {
        Self { value, is_changed: false, topic: None }
    }

    pub(crate) fn is_untouched(&self) -> bool {
        !self.is_changed && self.topic.is_none()
    }
}

/// The steps' way through one message that came in.
pub(crate) struct Run<'m> {
    source: &'m str,
    message: &'m Message,
    /// `$message`, made when an expression wants it.
    variable: Option<Val>,
    max_outputs: usize,
    done: Vec<Work>,
    dropped: Option<String>,
}

impl<'m> Run<'m> {
    pub(crate) fn new(source: &'m str, message: &'m Message, max_outputs: usize) -> Self {
        Self { source, message, variable: None, max_outputs, done: Vec::new(), dropped: None }
    }

    /// What was made, and why something was dropped.
    pub(crate) fn done(self) -> (Vec<Work>, String) {
        (self.done, self.dropped.unwrap_or_else(|| "no result".to_owned()))
    }

    /// The steps from this one on. One that has several results is followed by the others for each of them.
    pub(crate) fn steps(&mut self, steps: &[Step], from: usize, mut work: Work) -> Result<(), Stop> {
        for (at, step) in steps.iter().enumerate().skip(from) {
            let misfit = |why: String| Stop::Misfit(format!("{}: {why}", step.place));
            match &step.action {
                Action::Jq(expression) => {
                    let message = self.variable(expression.wants_message());
                    for result in expression.results(work.value, message) {
                        let value = result.map_err(misfit)?;
                        self.steps(steps, at + 1, Work { value, is_changed: true, topic: work.topic.clone() })?;
                    }
                    return Ok(());
                }
                Action::Drop { when, is, reason } => {
                    let value = self.first(when, &work.value).map_err(misfit)?;
                    if value.as_ref().is_some_and(is_true) == *is {
                        self.dropped.get_or_insert_with(|| reason.clone());
                        return Ok(());
                    }
                }
                Action::Topic(expression) => {
                    let topic = self.first(expression, &work.value).map_err(misfit)?.unwrap_or_default();
                    work.topic = Some(checked_topic(&topic).map_err(misfit)?);
                }
                action => self.change(action, &mut work).map_err(misfit)?,
            }
        }
        if self.done.len() == self.max_outputs {
            return Err(Stop::Misfit(format!("more than {} messages of one (`max_outputs`)", self.max_outputs)));
        }
        self.done.push(work);
        Ok(())
    }

    fn change(&mut self, action: &Action, work: &mut Work) -> Result<(), String> {
        let value = &mut work.value;
        let is_changed = match action {
            Action::Pick(paths) => {
                *value = pick(paths, value)?;
                true
            }
            Action::Remove(paths) => paths.iter().fold(false, |any, path| path.take(value).is_some() | any),
            Action::Rename(names) => rename(names, value)?,
            Action::Set(constants) => {
                constants.iter().try_for_each(|(path, constant)| path.put(value, constant.clone()))?;
                true
            }
            Action::Default(constants) => {
                let mut any = false;
                for (path, constant) in constants {
                    if path.get(value).is_none() {
                        path.put(value, constant.clone())?;
                        any = true;
                    }
                }
                any
            }
            Action::Merge(object) => {
                is_object(value)?;
                merge(value, object, 0)?;
                true
            }
            Action::Flatten(separator) => {
                *value = flat::flatten(value, separator)?;
                true
            }
            Action::Unflatten(separator) => {
                *value = flat::unflatten(value, separator)?;
                true
            }
            Action::Template(template) => {
                let message = self.variable(template.wants_message());
                *value = template.filled(value, &message)?;
                true
            }
            Action::Compute(expressions) => self.compute(expressions, value)?,
            Action::Jq(_) | Action::Drop { .. } | Action::Topic(_) => false,
        };
        work.is_changed |= is_changed;
        Ok(())
    }

    /// All of them see the payload as it was before the step.
    fn compute(&mut self, expressions: &[(Path, Expression)], value: &mut Val) -> Result<bool, String> {
        let mut results = Vec::with_capacity(expressions.len());
        for (path, expression) in expressions {
            let result = self.first(expression, value).map_err(|why| format!("`{path}`: {why}"))?;
            results.extend(result.map(|result| (path, result)));
        }
        let any = !results.is_empty();
        results.into_iter().try_for_each(|(path, result)| path.put(value, result))?;
        Ok(any)
    }

    fn first(&mut self, expression: &Expression, value: &Val) -> Result<Option<Val>, String> {
        let message = self.variable(expression.wants_message());
        expression.results(value.clone(), message).next().transpose()
    }

    fn variable(&mut self, is_wanted: bool) -> Val {
        if !is_wanted {
            return Val::Null;
        }
        self.variable.get_or_insert_with(|| expression::message(self.source, self.message)).clone()
    }
}

/// As in jq: all but `false` and `null`.
fn is_true(value: &Val) -> bool {
    !matches!(value, Val::Bool(false) | Val::Null)
}

fn is_object(value: &Val) -> Result<(), String> {
    if matches!(value, Val::Obj(_)) { Ok(()) } else { Err(format!("the payload is {}, no object", kind(value))) }
}

fn pick(paths: &[Path], value: &Val) -> Result<Val, String> {
    is_object(value)?;
    let mut picked = Val::obj(Map::default());
    for path in paths {
        if let Some(field) = path.get(value) {
            path.put(&mut picked, field.clone())?;
        }
    }
    Ok(picked)
}

fn rename(names: &[(Path, Path)], value: &mut Val) -> Result<bool, String> {
    let taken: Vec<(&Path, Val)> = names.iter().filter_map(|(old, new)| Some((new, old.take(value)?))).collect();
    let any = !taken.is_empty();
    taken.into_iter().try_for_each(|(new, field)| new.put(value, field))?;
    Ok(any)
}

/// Objects are merged, member by member; anything else takes the place of what was there.
fn merge(value: &mut Val, other: &Val, depth: usize) -> Result<(), String> {
    match (value, other) {
        (Val::Obj(object), Val::Obj(other)) => {
            if depth > MAX_DEPTH {
                return Err(format!("deeper than {MAX_DEPTH} levels"));
            }
            let object = Rc::make_mut(object);
            for (key, member) in other.iter() {
                match object.get_mut(key) {
                    Some(there) => merge(there, member, depth + 1)?,
                    None => {
                        object.insert(key.clone(), member.clone());
                    }
                }
            }
        }
        (value, other) => *value = other.clone(),
    }
    Ok(())
}

fn checked_topic(value: &Val) -> Result<String, String> {
    let Val::TStr(bytes) = value else {
        return Err(format!("a topic is a text, not {}", kind(value)));
    };
    let topic = String::from_utf8_lossy(bytes).into_owned();
    if topic.is_empty() || topic.contains(['+', '#', '\0']) {
        let start: String = topic.chars().take(MAX_TOPIC_TOLD).collect();
        return Err(format!("`{start}` is no topic"));
    }
    Ok(topic)
}
