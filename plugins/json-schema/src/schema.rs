//! A schema of the configuration, compiled.

use crate::{
    errors::{self, Failing},
    number::{self, Bounds},
};
use boon::{CompileError, Compiler, Draft, SchemaIndex, Schemas, UrlLoader, ValidationError};
use serde_json::Value;
use std::{error::Error, rc::Rc};
use tidegate_sdk::Problems;

/// Where references within the schema are counted from.
const BASE: &str = "tidegate:///schema";

pub(crate) struct Schema {
    schemas: Schemas,
    index: SchemaIndex,
    bounds: Rc<[Bounds]>,
}

/// Nothing is fetched.
struct NoLoader;

impl UrlLoader for NoLoader {
    fn load(&self, _url: &str) -> Result<Value, Box<dyn Error>> {
        Err("nothing is fetched".into())
    }
}

impl Schema {
    /// The schema, or what is wrong with it and where.
    pub(crate) fn new(schema: Value, draft: Draft) -> Result<Self, Problems> {
        let mut schema = match schema {
            Value::String(text) => {
                serde_json::from_str(&text).map_err(|error| Problems::one("schema", format!("not JSON: {error}")))?
            }
            other => other,
        };
        if !matches!(schema, Value::Object(_) | Value::Bool(_)) {
            return Err(Problems::one("schema", "must be a table, or a text with a JSON object in it"));
        }
        // As it is written first: for what is wrong with it, and then with the bounds of numbers taken out.
        compile(schema.clone(), draft).map_err(|error| told(&schema, &error))?;
        let mut bounds = Vec::new();
        if !number::replace(&mut schema, &mut bounds) {
            let most = number::FORMATS.len();
            return Err(Problems::one("schema", format!("at most {most} different bounds of numbers")));
        }
        let (schemas, index) = compile(schema.clone(), draft).map_err(|error| told(&schema, &error))?;
        Ok(Self { schemas, index, bounds: bounds.into() })
    }

    /// What is wrong with a value, at no more places than this; nothing if it is allowed.
    pub(crate) fn errors(&self, value: &Value, max: usize) -> Option<Failing> {
        number::ask(&self.bounds);
        self.schemas.validate(value, self.index).err().map(|error| Failing::of(&error, max))
    }
}

fn compile(schema: Value, draft: Draft) -> Result<(Schemas, SchemaIndex), Box<CompileError>> {
    let mut compiler = Compiler::new();
    compiler.set_default_draft(draft);
    compiler.enable_format_assertions();
    compiler.use_loader(Box::new(NoLoader));
    number::FORMATS.iter().for_each(|format| compiler.register_format(*format));
    compiler.add_resource(BASE, schema)?;
    let mut schemas = Schemas::new();
    let index = compiler.compile(BASE, &mut schemas)?;
    Ok((schemas, index))
}

/// What is wrong with the schema, at its path in the configuration.
fn told(schema: &Value, error: &CompileError) -> Problems {
    match error {
        CompileError::LoadUrlError { url, .. } | CompileError::UnsupportedUrlScheme { url } => {
            let at = reference(schema, url, "schema").unwrap_or_else(|| "schema".to_owned());
            let name = url.strip_prefix("tidegate:///").unwrap_or(url);
            Problems::one(
                at,
                format!("`{name}` is not in the schema, and nothing is fetched: put it under `$defs`, with its `$id`"),
            )
        }
        CompileError::ValidationError { src, .. } => {
            let first = first_leaf(src);
            Problems::one(path(&first.instance_location.to_string()), without_place(&errors::line(first)))
        }
        CompileError::InvalidRegex { url, regex, src } => {
            let why = src.to_string();
            let why = why.lines().last().unwrap_or_default().trim_start_matches("error: ");
            Problems::one(path(fragment(url)), format!("`{regex}` is no pattern that can be used: {why}"))
        }
        CompileError::JsonPointerNotFound(url) | CompileError::InvalidJsonPointer(url) => {
            let at = reference(schema, fragment(url), "schema").unwrap_or_else(|| "schema".to_owned());
            Problems::one(at, format!("`#{}` is not in the schema", fragment(url)))
        }
        CompileError::AnchorNotFound { reference: text, .. } => {
            let at = reference(schema, fragment(text), "schema").unwrap_or_else(|| "schema".to_owned());
            Problems::one(at, format!("`#{}` is not in the schema", fragment(text)))
        }
        other => Problems::one("schema", other.to_string().replace(BASE, "the schema")),
    }
}

fn first_leaf<'a, 's, 'v>(error: &'a ValidationError<'s, 'v>) -> &'a ValidationError<'s, 'v> {
    error.causes.first().map_or(error, first_leaf)
}

fn fragment(url: &str) -> &str {
    url.split_once('#').map_or("", |(_, fragment)| fragment)
}

fn without_place(line: &str) -> String {
    line.split_once(": ").map_or(line, |(_, what)| what).to_owned()
}

/// `/properties/a~1b` as a path into the configuration.
fn path(pointer: &str) -> String {
    let key = |key: &str| key.replace("~1", "/").replace("~0", "~");
    pointer.split('/').skip(1).fold("schema".to_owned(), |path, text| match text.parse::<usize>() {
        Ok(index) => format!("{path}[{index}]"),
        Err(_) => format!("{path}.{}", key(text)),
    })
}

/// Where the reference to this stands.
fn reference(value: &Value, to: &str, at: &str) -> Option<String> {
    match value {
        Value::Object(members) => members.iter().find_map(|(key, member)| {
            let place = format!("{at}.{key}");
            match member {
                Value::String(text) if matches!(key.as_str(), "$ref" | "$dynamicRef" | "$recursiveRef" | "$schema") => {
                    let document = text.split('#').next().unwrap_or_default();
                    let is_it = to.ends_with(document) && !document.is_empty()
                        || text.strip_prefix('#') == Some(to)
                        || text == to;
                    is_it.then_some(place)
                }
                other => reference(other, to, &place),
            }
        }),
        Value::Array(elements) => {
            elements.iter().enumerate().find_map(|(i, element)| reference(element, to, &format!("{at}[{i}]")))
        }
        _ => None,
    }
}
