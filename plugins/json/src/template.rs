//! A value with holes: `${.temp}` in a text stands for what the expression says.

use crate::{expression::Expression, step::constant, write};
use jaq_json::Val;
use serde_json::Value;

/// Deeper templates are no configuration that somebody can read; the gateway's own reader stops there too.
const MAX_DEPTH: usize = tidegate_sdk::json::MAX_DEPTH;

pub(crate) enum Template {
    Constant(Val),
    /// A text that is one hole: the value with its type.
    Hole(Expression),
    Text(Vec<Part>),
    Array(Vec<Template>),
    Object(Vec<(Val, Template)>),
}

pub(crate) enum Part {
    Text(String),
    Hole(Expression),
}

impl Template {
    /// The template, or which text of it is wrong.
    pub(crate) fn new(value: &Value) -> Result<Self, String> {
        Self::nested(value, 0)
    }

    fn nested(value: &Value, depth: usize) -> Result<Self, String> {
        if depth > MAX_DEPTH {
            return Err(format!("deeper than {MAX_DEPTH} levels"));
        }
        Ok(match value {
            Value::String(text) => Self::text(text)?,
            Value::Array(elements) => {
                Self::Array(elements.iter().map(|element| Self::nested(element, depth + 1)).collect::<Result<_, _>>()?)
            }
            Value::Object(members) => {
                let member =
                    |(key, value): (&String, &Value)| Ok((Val::from(key.clone()), Self::nested(value, depth + 1)?));
                Self::Object(members.iter().map(member).collect::<Result<_, String>>()?)
            }
            other => Self::Constant(constant(other)),
        })
    }

    fn text(text: &str) -> Result<Self, String> {
        let mut parts = Vec::new();
        let mut literal = String::new();
        let mut rest = text;
        while let Some(at) = rest.find("${") {
            let (before, hole) = rest.split_at(at);
            if let Some(before) = before.strip_suffix('$') {
                literal.push_str(before); // `$${` is a text.
                literal.push_str("${");
                rest = &hole[2..];
                continue;
            }
            literal.push_str(before);
            if !literal.is_empty() {
                parts.push(Part::Text(std::mem::take(&mut literal)));
            }
            let (expression, after) = hole_of(&hole[2..])?;
            parts.push(Part::Hole(expression));
            rest = after;
        }
        literal.push_str(rest);
        if !literal.is_empty() || parts.is_empty() {
            parts.push(Part::Text(literal));
        }
        Ok(match <[Part; 1]>::try_from(parts) {
            Ok([Part::Text(text)]) => Self::Constant(Val::from(text)),
            Ok([Part::Hole(expression)]) => Self::Hole(expression),
            Err(parts) => Self::Text(parts),
        })
    }

    /// Whether a hole of it looks at the message.
    pub(crate) fn wants_message(&self) -> bool {
        match self {
            Self::Constant(_) => false,
            Self::Hole(expression) => expression.wants_message(),
            Self::Text(parts) => parts.iter().any(|part| matches!(part, Part::Hole(hole) if hole.wants_message())),
            Self::Array(elements) => elements.iter().any(Self::wants_message),
            Self::Object(members) => members.iter().any(|(_, member)| member.wants_message()),
        }
    }

    /// The value, with the holes filled.
    pub(crate) fn filled(&self, value: &Val, message: &Val) -> Result<Val, String> {
        Ok(match self {
            Self::Constant(constant) => constant.clone(),
            Self::Hole(expression) => first(expression, value, message)?,
            Self::Text(parts) => {
                let mut text = String::new();
                for part in parts {
                    match part {
                        Part::Text(literal) => text.push_str(literal),
                        Part::Hole(expression) => text.push_str(&write::text(&first(expression, value, message)?)?),
                    }
                }
                Val::from(text)
            }
            Self::Array(elements) => {
                elements.iter().map(|element| element.filled(value, message)).collect::<Result<_, _>>()?
            }
            Self::Object(members) => {
                let filled = |(key, member): &(Val, Self)| Ok((key.clone(), member.filled(value, message)?));
                Val::obj(members.iter().map(filled).collect::<Result<_, String>>()?)
            }
        })
    }
}

fn first(expression: &Expression, value: &Val, message: &Val) -> Result<Val, String> {
    expression.results(value.clone(), message.clone()).next().unwrap_or(Ok(Val::Null))
}

/// The expression up to a bracket that closes the hole, and what follows. A bracket may be part of an expression: the first one
/// counts at which there is a whole expression.
fn hole_of(text: &str) -> Result<(Expression, &str), String> {
    let mut problem = None;
    for (at, _) in text.match_indices('}') {
        match Expression::compile(&text[..at]) {
            Ok(expression) => return Ok((expression, &text[at + 1..])),
            Err(why) => problem = problem.or(Some(format!("`${{{}}}`: {why}", &text[..at]))),
        }
    }
    Err(problem.unwrap_or_else(|| format!("`${{{text}` is not closed; a text with it is written `$${{`")))
}
