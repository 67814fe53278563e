//! A table as JSON, for plugins.

use super::context::Context;
use crate::problem::Span;
use toml::Spanned;
use toml::de::DeValue;

/// A value as JSON. Notes where each key and element of it is under `place`, such as `plugins.p.config.list[2].max`: a
/// plugin names them so when it refuses them.
///
/// Depth is bounded by the TOML parser's own limit.
pub(super) fn to_json(context: &Context<'_>, at: &Span, value: &DeValue<'_>, place: &str) -> Option<serde_json::Value> {
    let inner = |place: String, at: &Span, value: &Spanned<DeValue<'_>>| {
        let json = to_json(context, &value.span(), value.get_ref(), &place);
        context.place(place, at);
        json
    };
    match value {
        DeValue::String(text) => Some(text.to_string().into()),
        DeValue::Boolean(flag) => Some((*flag).into()),
        DeValue::Datetime(datetime) => Some(datetime.to_string().into()),
        DeValue::Integer(number) => {
            let parsed = i64::from_str_radix(number.as_str(), number.radix()).ok();
            if parsed.is_none() {
                context.error(at, format!("{number} does not fit into 64 bits"), "write it as a string");
            }
            parsed.map(Into::into)
        }
        DeValue::Float(number) => {
            let parsed = number.as_str().parse().ok().and_then(serde_json::Number::from_f64);
            if parsed.is_none() {
                context.error(at, format!("{number} has no place in JSON"), "write a finite number, or a string");
            }
            parsed.map(Into::into)
        }
        DeValue::Array(list) => {
            let elements = list.iter().enumerate();
            let elements = elements.map(|(at, value)| inner(format!("{place}[{at}]"), &value.span(), value));
            elements.collect::<Option<Vec<_>>>().map(Into::into)
        }
        DeValue::Table(table) => {
            let entries = table.iter().map(|(key, value)| {
                let name = key.get_ref();
                Some((name.to_string(), inner(format!("{place}.{name}"), &key.span(), value)?))
            });
            entries.collect::<Option<serde_json::Map<_, _>>>().map(Into::into)
        }
    }
}
