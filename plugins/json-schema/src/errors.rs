//! What is wrong with a payload, in few words.

use boon::{ErrorKind, ValidationError};

/// So much is told of an error: it quotes the payload.
const MAX_BYTES: usize = 200;

/// Why a payload is not let through.
pub(crate) struct Failing {
    /// To count by.
    pub(crate) reason: &'static str,
    /// Each place that is wrong.
    pub(crate) told: Vec<String>,
}

impl Failing {
    pub(crate) fn one(reason: &'static str, told: String) -> Self {
        Self { reason, told: vec![told] }
    }

    /// What a schema says of a payload: the first errors that have no others behind them.
    pub(crate) fn of(error: &ValidationError, max: usize) -> Self {
        let mut told = Vec::new();
        leaves(error, max, &mut told);
        Self { reason: "not what the schema allows", told }
    }
}

fn leaves(error: &ValidationError, max: usize, told: &mut Vec<String>) {
    if told.len() >= max {
        return;
    }
    // Of alternatives none of which fits, the one that was meant is not known: the choice itself is told.
    let is_choice = matches!(error.kind, ErrorKind::AnyOf | ErrorKind::OneOf(_));
    if error.causes.is_empty() || is_choice {
        told.push(line(error));
    } else {
        error.causes.iter().for_each(|cause| leaves(cause, max, told));
    }
}

/// `/temp: maximum 100, but it is 101`.
pub(crate) fn line(error: &ValidationError) -> String {
    let at = error.instance_location.to_string();
    let at = if at.is_empty() { "the payload" } else { &at };
    let what = match &error.kind {
        // The bounds of numbers, whose words are `number.rs`'s own.
        ErrorKind::Format { want, err, .. } if want.starts_with("tidegate-number-") => err.to_string(),
        // A parser's words have lines that point at the text, and what is wrong in the last.
        ErrorKind::Format { want, err, .. } => {
            let why = err.to_string();
            format!("format: no {want}: {}", why.lines().last().unwrap_or_default().trim_start_matches("error: "))
        }
        kind => match keyword(kind) {
            "" => kind.to_string(),
            keyword => format!("{keyword}: {kind}"),
        },
    };
    let mut line: String = format!("{at}: {what}").chars().map(plain).collect();
    if line.len() > MAX_BYTES {
        let cut = (0..=MAX_BYTES).rev().find(|at| line.is_char_boundary(*at)).unwrap_or(0);
        line.truncate(cut);
        line.push_str("...");
    }
    line
}

/// Brokers hang up on control characters and noncharacters in a user property.
fn plain(c: char) -> char {
    let is_noncharacter = matches!(u32::from(c), 0xfdd0..=0xfdef) || u32::from(c) & 0xfffe == 0xfffe;
    if c.is_control() || is_noncharacter { '?' } else { c }
}

fn keyword(kind: &ErrorKind) -> &'static str {
    match kind {
        ErrorKind::Type { .. } => "type",
        ErrorKind::Enum { .. } => "enum",
        ErrorKind::Const { .. } => "const",
        ErrorKind::Format { .. } => "format",
        ErrorKind::MinProperties { .. } => "minProperties",
        ErrorKind::MaxProperties { .. } => "maxProperties",
        ErrorKind::AdditionalProperties { .. } => "additionalProperties",
        ErrorKind::Required { .. } => "required",
        ErrorKind::Dependency { .. } => "dependencies",
        ErrorKind::DependentRequired { .. } => "dependentRequired",
        ErrorKind::MinItems { .. } => "minItems",
        ErrorKind::MaxItems { .. } => "maxItems",
        ErrorKind::Contains => "contains",
        ErrorKind::MinContains { .. } => "minContains",
        ErrorKind::MaxContains { .. } => "maxContains",
        ErrorKind::UniqueItems { .. } => "uniqueItems",
        ErrorKind::AdditionalItems { .. } => "additionalItems",
        ErrorKind::MinLength { .. } => "minLength",
        ErrorKind::MaxLength { .. } => "maxLength",
        ErrorKind::Pattern { .. } => "pattern",
        ErrorKind::PropertyName { .. } => "propertyNames",
        ErrorKind::Minimum { .. } => "minimum",
        ErrorKind::Maximum { .. } => "maximum",
        ErrorKind::ExclusiveMinimum { .. } => "exclusiveMinimum",
        ErrorKind::ExclusiveMaximum { .. } => "exclusiveMaximum",
        ErrorKind::MultipleOf { .. } => "multipleOf",
        ErrorKind::Not => "not",
        ErrorKind::AnyOf => "anyOf",
        ErrorKind::OneOf(_) => "oneOf",
        _ => "",
    }
}
