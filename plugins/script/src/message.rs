//! `message`: what a script sees of the message that came in.

use crate::{
    json,
    language::{Outcome, wrong},
};
use rhai::{Array, Blob, Dynamic, Engine, INT, Map};
use std::{cell::OnceCell, rc::Rc};
use tidegate_sdk::Message;

/// The message, and its payload as JSON once somebody has asked for it.
#[derive(Clone)]
pub(crate) struct Incoming(Rc<Parts>);

struct Parts {
    source: String,
    message: Message,
    json: OnceCell<Dynamic>,
}

impl Incoming {
    pub(crate) fn new(source: &str, message: Message) -> Self {
        Self(Rc::new(Parts { source: source.to_owned(), message, json: OnceCell::new() }))
    }

    fn message(&self) -> &Message {
        &self.0.message
    }

    fn json(&self) -> Outcome<Dynamic> {
        if let Some(value) = self.0.json.get() {
            return Ok(value.clone());
        }
        let value = json::read(&self.message().payload).map_err(wrong)?;
        Ok(self.0.json.get_or_init(|| value).clone())
    }
}

pub(crate) fn register(engine: &mut Engine) {
    engine.register_type_with_name::<Incoming>("the message");
    engine.register_get("topic", |m: &mut Incoming| m.message().topic.clone());
    engine.register_get("levels", |m: &mut Incoming| {
        m.message().levels().map(|level| level.to_owned().into()).collect::<Array>()
    });
    engine.register_get("source", |m: &mut Incoming| m.0.source.clone());
    engine.register_get("json", |m: &mut Incoming| m.json());
    engine.register_get("text", |m: &mut Incoming| {
        m.message().text().map(str::to_owned).ok_or_else(|| wrong("the payload is no text: it is not UTF-8"))
    });
    engine.register_get("bytes", |m: &mut Incoming| -> Blob { m.message().payload.clone() });
    engine.register_get("qos", |m: &mut Incoming| m.message().qos as INT);
    engine.register_get("retain", |m: &mut Incoming| m.message().retain);
    engine.register_get("redelivered", |m: &mut Incoming| m.message().redelivered);
    engine.register_get("received_ms", |m: &mut Incoming| m.message().received_ms.cast_signed());
    engine.register_get("content_type", |m: &mut Incoming| maybe(m.message().properties.content_type.as_ref()));
    engine.register_get("response_topic", |m: &mut Incoming| maybe(m.message().properties.response_topic.as_ref()));
    engine.register_get("user", |m: &mut Incoming| {
        // Of two user properties with one name the first counts: later ones are put in before.
        let all = m.message().properties.user.iter().rev();
        all.map(|(name, value)| (name.as_str().into(), value.into())).collect::<Map>()
    });
}

/// A text, or `()`.
fn maybe(text: Option<&String>) -> Dynamic {
    text.map_or(Dynamic::UNIT, |text| text.clone().into())
}
