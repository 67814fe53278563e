//! What a script can say.

use crate::{clock, json, kept::Kept, message};
use rhai::{Blob, Dynamic, Engine, EvalAltResult, INT, ImmutableString, Map};
use tidegate_sdk::{Output, Qos, log};

/// Bounds of what a script builds; the plugin's memory is 16 MiB by default.
const MAX_TEXT_BYTES: usize = 512 << 10;
const MAX_ELEMENTS: usize = 50_000;
const MAX_VARIABLES: usize = 256;

/// Bounds of how a script is nested; the stack is 1 MiB.
const MAX_CALLS: usize = 24;
const MAX_DEPTH: usize = 48;

pub(crate) type Outcome<T> = Result<T, Box<EvalAltResult>>;

/// A decision that sends nothing.
#[derive(Clone)]
pub(crate) enum Decided {
    Pass,
    Drop(String),
    Reject(String),
    Retry(String),
}

/// What a value is, in words.
pub(crate) fn kind(value: &Dynamic) -> &'static str {
    match value.type_name() {
        "()" => "nothing",
        _ if value.is::<Decided>() => "a decision",
        _ if value.is::<Output>() => "an output",
        _ if value.is::<message::Incoming>() => "the message",
        name => name,
    }
}

/// The language, with the functions of this plugin.
pub(crate) fn engine(max_operations: u64, kept: &Kept) -> Engine {
    let mut engine = Engine::new();
    engine.set_max_operations(max_operations);
    engine.set_max_call_levels(MAX_CALLS).set_max_expr_depths(MAX_DEPTH, MAX_DEPTH).set_max_variables(MAX_VARIABLES);
    engine.set_max_string_size(MAX_TEXT_BYTES).set_max_array_size(MAX_ELEMENTS).set_max_map_size(MAX_ELEMENTS);
    engine.disable_symbol("eval");
    engine.on_print(|text| log::info!("{text}"));
    engine.on_debug(|text, _, _| log::debug!("{text}"));
    decisions(&mut engine);
    outputs(&mut engine);
    message::register(&mut engine);
    clock::register(&mut engine);
    kept.register(&mut engine);
    engine.register_type_with_name::<json::Number>("a number of too many digits");
    engine.register_fn("to_json", |value: Dynamic| json::written(&value).map(text).map_err(wrong));
    engine.register_fn("parse_json", |text: ImmutableString| json::read(text.as_bytes()).map_err(wrong));
    engine
}

fn text(bytes: Vec<u8>) -> String {
    String::from_utf8_lossy(&bytes).into_owned()
}

/// An error of a function, which Rhai tells with the place of the call.
pub(crate) fn wrong(why: impl Into<Dynamic>) -> Box<EvalAltResult> {
    EvalAltResult::ErrorRuntime(why.into(), rhai::Position::NONE).into()
}

fn decisions(engine: &mut Engine) {
    engine.register_type_with_name::<Decided>("a decision");
    engine.register_fn("pass", || Decided::Pass);
    engine.register_fn("drop", |why: ImmutableString| said(&why).map(Decided::Drop));
    engine.register_fn("reject", |why: ImmutableString| said(&why).map(Decided::Reject));
    engine.register_fn("retry", |why: ImmutableString| said(&why).map(Decided::Retry));
}

/// A reason, which must say something.
fn said(why: &str) -> Outcome<String> {
    if why.is_empty() { Err(wrong("a reason must say something")) } else { Ok(why.to_owned()) }
}

fn outputs(engine: &mut Engine) {
    engine.register_type_with_name::<Output>("an output");
    engine.register_fn("onward", Output::onward);
    engine.register_fn("target", |name: ImmutableString| match name.is_empty() {
        true => Err(wrong("a target has a name")),
        false => Ok(Output::target(name.as_str())),
    });
    engine.register_fn("topic", |output: Output, topic: ImmutableString| output.topic(topic.as_str()));
    engine.register_fn("text", |output: Output, text: ImmutableString| output.payload(text.as_bytes()));
    engine.register_fn("bytes", |output: Output, bytes: Blob| output.payload(bytes));
    engine.register_fn("json", |output: Output, value: Dynamic| {
        json::written(&value).map(|payload| output.payload(payload)).map_err(wrong)
    });
    engine.register_fn("qos", |output: Output, qos: INT| match qos {
        0 => Ok(output.qos(Qos::AtMostOnce)),
        1 => Ok(output.qos(Qos::AtLeastOnce)),
        2 => Ok(output.qos(Qos::ExactlyOnce)),
        other => Err(wrong(format!("QoS is 0, 1 or 2, not {other}"))),
    });
    engine.register_fn("retain", |output: Output, retain: bool| output.retain(retain));
    engine.register_fn("user_property", |output: Output, name: ImmutableString, value: Dynamic| {
        let value = match value.into_immutable_string() {
            Ok(value) => value.to_string(),
            Err(_) => return Err(wrong("a user property is a text: write it as `${value}` between backticks")),
        };
        Ok(output.user_property(name.as_str(), value))
    });
    engine.register_fn("user_properties", |output: Output, all: Map| {
        all.into_iter().try_fold(output, |output, (name, value)| match value.into_immutable_string() {
            Ok(value) => Ok(output.user_property(name.as_str(), value.as_str())),
            Err(kind) => Err(wrong(format!("the user property `{name}` is a text, not {kind}"))),
        })
    });
    engine.register_fn("key", |output: Output, key: ImmutableString| output.key(key.as_str()));
}
