//! jq: an expression is compiled once and asked for each message.

use crate::{apply::Stop, read, write};
use jaq_core::{
    Compiler, Ctx, Error, Exn, Filter, RunPtr, Vars,
    box_iter::box_once,
    data::JustLut,
    load::{self, Arena, File, Loader, lex, parse::Def},
    native::{self, v},
};
use jaq_json::Val;
use tidegate_sdk::{Message, Qos};

type Data = JustLut<Val>;

/// What expressions see of the message beside its payload.
const VARIABLE: &str = "$message";

/// Of an error so much is told: it may quote values.
const MAX_TOLD: usize = 200;

/// Definitions of the standard library that stand for what a plugin has not: clocks, files, an environment, a log; and those whose
/// functions are not linked in: logarithms, regular expressions, dates.
const ABSENT: &[&str] = &[
    "stderr",
    "debug",
    "halt",
    "halt_error",
    "logb",
    "significand",
    "pow10",
    "drem",
    "nexttoward",
    "scalb",
    "gamma",
    "test",
    "scan_",
    "match",
    "capture",
    "splits",
    "sub",
    "gsub",
    "scan",
    "todate",
    "fromdate",
    "@sh",
    "@html",
    "@htmld",
    "@uri",
    "@urid",
    "@base64",
    "@base64d",
    "todateiso8601",
    "fromdateiso8601",
    "dateadd",
    "datesub",
    "date",
    "input_line_number",
];

pub(crate) struct Expression {
    filter: Filter<Data>,
    wants_message: bool,
}

impl Expression {
    /// The expression, or what is wrong with it and where.
    pub(crate) fn compile(code: &str) -> Result<Self, String> {
        let arena = Arena::default();
        let loaded = Loader::new(definitions()).load(&arena, File { code, path: () });
        let modules = loaded
            .map_err(|errors| errors.into_iter().next().map_or_else(String::new, |(_, error)| told(code, error)))?;
        let functions = jaq_core::funs().chain(jaq_std::base_funs()).chain(functions());
        let filter = Compiler::default().with_funs(functions).with_global_vars([VARIABLE]).compile(modules);
        let filter = filter.map_err(|errors| {
            let undefined = errors.into_iter().flat_map(|(_, errors)| errors).next();
            undefined.map_or_else(String::new, |(name, what)| {
                let kind = if what.as_str() == "filter" { "function" } else { what.as_str() };
                format!("no {kind} `{name}` is known here{}", place(code, name))
            })
        })?;
        Ok(Self { filter, wants_message: code.contains(VARIABLE) })
    }

    /// Whether it looks at [`message`].
    pub(crate) fn wants_message(&self) -> bool {
        self.wants_message
    }

    /// Its results for this value, one after the other.
    pub(crate) fn results(&self, value: Val, message: Val) -> impl Iterator<Item = Result<Val, String>> {
        let context = Ctx::<Data>::new(&self.filter.lut, Vars::new([message]));
        self.filter.id.run((context, value)).map(|result| result.map_err(failed))
    }
}

fn failed(exception: Exn<'_, Val>) -> String {
    let error = exception.get_err().map(Error::into_val);
    let mut why =
        error.map_or_else(|_| Ok("it stopped".to_owned()), |error| write::text(&error)).unwrap_or_else(|why| why);
    if let Some((cut, _)) = why.char_indices().nth(MAX_TOLD) {
        why.truncate(cut);
        why.push_str("...");
    }
    why
}

fn definitions() -> impl Iterator<Item = Def<&'static str>> {
    let all = jaq_core::defs().chain(jaq_std::defs()).chain(jaq_json::defs());
    // `split` of one argument is plain, that of two is of regular expressions.
    all.filter(|def| !ABSENT.contains(&def.name) && (def.name != "split" || def.args.len() == 1))
}

/// Those of JSON, but for reading it from a text: that has the bounds that a payload has.
fn functions() -> impl Iterator<Item = native::Fun<Data>> {
    let from_json: native::Filter<RunPtr<Data>> = ("fromjson", v(0), |cv| {
        let read = cv.1.try_as_utf8_bytes_owned().and_then(|text| {
            read::read(&text).map_err(|stop| match stop {
                Stop::NotJson(why) | Stop::Misfit(why) | Stop::Drop(why) => Error::str(why),
            })
        });
        box_once(read.map_err(Exn::from))
    });
    jaq_json::funs().filter(|(name, _, _)| *name != "fromjson").chain([native::run::<Data>(from_json)])
}

fn told(code: &str, error: load::Error<&str>) -> String {
    match error {
        load::Error::Io(_) => "modules cannot be imported here".to_owned(),
        load::Error::Lex(errors) => {
            errors.into_iter().next().map_or_else(String::new, |(expected, found)| match expected {
                lex::Expect::Delim(open) => format!("`{open}` is not closed{}", place(code, open)),
                other => format!("expected {}{}", other.as_str(), place(code, found)),
            })
        }
        load::Error::Parse(errors) => errors.into_iter().next().map_or_else(String::new, |(expected, found)| {
            format!("expected {}{}", expected.as_str(), place(code, found))
        }),
    }
}

/// Where a part of the code stands, counted from 1, if it is one.
fn place(code: &str, part: &str) -> String {
    let (start, end) = (code.as_ptr() as usize, code.as_ptr() as usize + code.len());
    let at = part.as_ptr() as usize;
    if !(start..=end).contains(&at) {
        return String::new();
    }
    match code.get(..at - start) {
        Some(before) if before.len() == code.len() => ", but the expression ends".to_owned(),
        Some(before) => {
            let found: String = code[before.len()..].chars().take_while(|c| !c.is_whitespace()).take(20).collect();
            format!(", at character {} `{found}`", before.chars().count() + 1)
        }
        None => String::new(),
    }
}

/// `$message`: what there is of a message beside its payload.
pub(crate) fn message(source: &str, message: &Message) -> Val {
    let text = |text: &str| Val::from(text.to_owned());
    let maybe = |value: &Option<String>| value.as_deref().map_or(Val::Null, text);
    let properties = &message.properties;
    // Of two user properties with one name the first counts: later ones are put in before.
    let user = properties.user.iter().rev().map(|(name, value)| (text(name), text(value)));
    let members = [
        ("topic", text(&message.topic)),
        ("levels", message.levels().map(text).collect()),
        ("source", text(source)),
        (
            "qos",
            Val::from(match message.qos {
                Qos::AtMostOnce => 0_isize,
                Qos::AtLeastOnce => 1,
                Qos::ExactlyOnce => 2,
            }),
        ),
        ("retain", Val::from(message.retain)),
        ("received_ms", Val::Num(jaq_json::Num::from_integral(i128::from(message.received_ms)))),
        ("content_type", maybe(&properties.content_type)),
        ("response_topic", maybe(&properties.response_topic)),
        ("user", Val::obj(user.collect())),
    ];
    Val::obj(members.into_iter().map(|(name, value)| (text(name), value)).collect())
}
