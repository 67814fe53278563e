//! Lists of names and of filters.

use crate::tree::{At, Context};
use crate::values::{self, why_and_hint};
use std::collections::HashSet;
use tidegate_message::TopicFilter;

/// What stands in a list, without where.
pub(crate) fn values_of<T: Clone>(list: &[At<T>]) -> Vec<T> {
    list.iter().map(|element| element.value.clone()).collect()
}

/// Names, each once.
pub(crate) fn names(context: &Context<'_>, key: &str, list: Vec<At<&str>>) -> Vec<At<String>> {
    let (mut names, mut seen) = (Vec::with_capacity(list.len()), HashSet::with_capacity(list.len()));
    for name in list {
        if !seen.insert(name.value) {
            let what = format!("`{key}` names {} twice", values::shown(name.value));
            context.error(&name.at, what, "leave out one of them");
        } else {
            names.push(At { value: name.value.to_owned(), at: name.at });
        }
    }
    names
}

/// Filters that can be. The others are reported and left out.
pub(crate) fn filters(context: &Context<'_>, list: Vec<At<&str>>) -> Vec<At<TopicFilter>> {
    let mut filters = Vec::with_capacity(list.len());
    for text in list {
        match TopicFilter::new(text.value.to_owned()) {
            Ok(value) => filters.push(At { value, at: text.at }),
            Err(error) => {
                let (why, hint) = why_and_hint(&error, "write levels separated by `/`, such as \"dev/+/temp\"");
                context.error(&text.at, format!("{} is not a topic filter: {why}", values::shown(text.value)), hint);
            }
        }
    }
    filters
}
