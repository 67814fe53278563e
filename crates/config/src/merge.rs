//! The tables of included files, put to those of the file that includes them.

use crate::problem::Span;
use crate::sources::Sources;
use crate::syntax;
use crate::tree::Context;
use crate::values::shown;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

/// Tables with a section for each name, which may stand in several files.
const NAMED: [&str; 4] = ["brokers", "sources", "targets", "plugins"];

/// The tree of all texts; `None` if one of them is not TOML.
pub(crate) fn tree<'i>(context: &Context<'_>, sources: &'i Sources) -> Option<DeTable<'i>> {
    // Each is read, so that all problems are told at once.
    let trees: Vec<_> = sources.all().iter().map(|source| syntax::tree(context, source)).collect();
    let trees: Option<Vec<_>> = trees.into_iter().collect();
    let mut trees = trees?.into_iter().zip(sources.all());
    let (mut root, _) = trees.next()?;
    for (tree, source) in trees {
        join(context, &mut root, moved(tree, source.start));
    }
    for (at, what, hint) in &sources.refused {
        context.error(at, what, hint);
    }
    Some(root)
}

fn join<'i>(context: &Context<'_>, root: &mut DeTable<'i>, included: DeTable<'i>) {
    for (key, value) in included {
        let name = key.get_ref().to_string();
        if name == "include" {
            let hint = "name all files in the one that the gateway runs with";
            context.error(&key.span(), "a file that is included includes no others", hint);
            continue;
        }
        let Some(there) = root.iter_mut().find(|(known, _)| **known.get_ref() == name) else {
            root.insert(key, value);
            continue;
        };
        let (first, there) = (there.0.span(), there.1);
        match (there.get_mut(), value.into_inner()) {
            (DeValue::Array(there), DeValue::Array(more)) => more.into_iter().for_each(|element| there.push(element)),
            (DeValue::Table(there), DeValue::Table(more)) if NAMED.contains(&name.as_str()) => {
                for (section, value) in more {
                    let label = format!("[{name}.{}]", section.get_ref());
                    match there.iter().find(|(known, _)| known.get_ref() == section.get_ref()) {
                        Some((known, _)) => twice(context, &label, &section.span(), &known.span()),
                        None => _ = there.insert(section, value),
                    }
                }
            }
            (_, DeValue::Table(_)) => twice(context, &format!("[{name}]"), &key.span(), &first),
            _ => twice(context, &name, &key.span(), &first),
        }
    }
}

fn twice(context: &Context<'_>, what: &str, at: &Span, first: &Span) {
    let line = context.findings.line_of(first.start, at.start);
    context.error(at, format!("{} stands in {line} already", shown(what)), "keep one of the two");
}

/// The same with its places in the count of all texts.
fn moved(table: DeTable<'_>, start: usize) -> DeTable<'_> {
    let mut all = DeTable::new();
    for (key, value) in table {
        let (key_at, at) = (put(key.span(), start), put(value.span(), start));
        all.insert(Spanned::new(key_at, key.into_inner()), Spanned::new(at, moved_value(value.into_inner(), start)));
    }
    all
}

fn put(span: Span, start: usize) -> Span {
    span.start + start..span.end + start
}

fn moved_value(value: DeValue<'_>, start: usize) -> DeValue<'_> {
    match value {
        DeValue::Table(table) => DeValue::Table(moved(table, start)),
        DeValue::Array(mut list) => {
            for element in list.iter_mut() {
                let at = put(element.span(), start);
                let value = std::mem::replace(element.get_mut(), DeValue::Boolean(false));
                *element = Spanned::new(at, moved_value(value, start));
            }
            DeValue::Array(list)
        }
        other => other,
    }
}
