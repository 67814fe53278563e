//! From what a guest returned to an [`Outcome`]: nothing leaves here that MQTT cannot carry or that was not granted.

use crate::contract::tidegate::gateway::types as wit;
use crate::granted_topics::GrantedTopics;
use crate::outcome::{Destination, Fault, Outcome, Output, Outputs};
use crate::spec::Spec;
use bytes::Bytes;
use bytestring::ByteString;
use tidegate_message::{Message, Properties, QoS, Topic, text};

/// The longest reason a plugin can give, in bytes; the rest is cut off.
const MAX_REASON_BYTES: usize = 256;
/// The longest string or binary property (MQTT 5.0 sections 1.5.4 and 1.5.6).
const MAX_PROPERTY_BYTES: usize = 65_535;

/// Checks the decision on one message. What is wrong with it is the fault of this message alone.
pub(crate) fn outcome(
    spec: &Spec,
    known: &mut GrantedTopics,
    input: &Message,
    result: Result<wit::Decision, wit::Failure>,
) -> Outcome {
    match result {
        Ok(wit::Decision::Pass) => Outcome::Pass,
        Ok(wit::Decision::Drop(reason)) => Outcome::Drop(ByteString::from(shorten(reason))),
        Ok(wit::Decision::Forward(list)) if list.is_empty() => Outcome::Fault(Fault::EmptyForward),
        Ok(wit::Decision::Forward(list)) => match outputs(spec, known, Some(input), list) {
            Ok(outputs) => Outcome::Forward(outputs),
            Err(fault) => Outcome::Fault(fault),
        },
        Err(wit::Failure::Reject(reason)) => Outcome::Reject(shorten(reason)),
        Err(wit::Failure::Retry(reason)) => Outcome::Retry(shorten(reason)),
    }
}

/// Checks the outputs for one message, or for a tick when there is no input: all are good, or none goes out.
pub(crate) fn outputs(
    spec: &Spec,
    known: &mut GrantedTopics,
    input: Option<&Message>,
    list: Vec<wit::Output>,
) -> Result<Outputs, Fault> {
    let limits = &spec.limits;
    if list.len() > limits.outputs as usize {
        return Err(Fault::TooManyOutputs { got: list.len(), limit: limits.outputs });
    }
    let mut left = limits.output_bytes;
    let mut outputs = Outputs::with_capacity(list.len());
    for output in list {
        left = weight(&output)
            .and_then(|bytes| left.checked_sub(bytes))
            .ok_or(Fault::TooLarge { limit_bytes: limits.output_bytes })?;
        outputs.push(checked(spec, known, input, output)?);
    }
    Ok(outputs)
}

fn checked(
    spec: &Spec,
    known: &mut GrantedTopics,
    input: Option<&Message>,
    output: wit::Output,
) -> Result<Output, Fault> {
    let to = match output.to {
        wit::Destination::Onward => Destination::Onward,
        wit::Destination::Target(name) => {
            let place = spec.grants.targets.iter().position(|granted| *granted == name);
            match place.and_then(|place| u16::try_from(place).ok()) {
                Some(place) => Destination::Target(place),
                None => return Err(Fault::ForeignTarget(shorten(name))),
            }
        }
    };
    let topic = match (output.topic, input) {
        (None, Some(_)) => None,
        (None, None) => return Err(Fault::NoTopic),
        (Some(text), Some(input)) if text == input.topic.as_str() => None,
        (Some(text), _) => Some(known.get(text, |text| granted_topic(spec, text))?),
    };
    let payload = output.payload.map(Bytes::from);
    let properties = output.properties.map(properties).transpose()?;
    if let Some(own) = &properties {
        let came = input.and_then(|input| input.properties.as_deref());
        check_portable_properties(spec, own, came)?;
        // Not a number, in a JavaScript engine, is 0 here: a message that nobody would ever see must not vanish without a word.
        if own.message_expiry_seconds == Some(0) && came.and_then(|came| came.message_expiry_seconds) != Some(0) {
            let problem = "is 0: the message would be gone before anybody has it; say `drop` to drop it";
            return Err(Fault::BadProperty { name: "message-expiry-seconds", problem });
        }
    }
    let says_utf8 = match (&properties, input) {
        (Some(own), _) => own.payload_is_utf8,
        (None, Some(input)) => input.properties.as_ref().is_some_and(|p| p.payload_is_utf8),
        (None, None) => false,
    };
    if says_utf8 {
        let bytes = payload.as_ref().or(input.map(|input| &input.payload));
        if bytes.is_some_and(|bytes| std::str::from_utf8(bytes).is_err()) {
            return Err(Fault::BadProperty {
                name: "payload-is-utf8",
                problem: "is set, but the payload is not UTF-8",
            });
        }
    }
    Ok(Output { to, topic, payload, qos: output.qos.map(qos), retain: output.retain, properties })
}

fn granted_topic(spec: &Spec, text: String) -> Result<Topic, Fault> {
    let topic = Topic::new(text)?;
    if !spec.grants.topics.iter().any(|granted| granted.matches(&topic)) {
        return Err(Fault::ForeignTopic(topic));
    }
    if text::has_too_many_levels(topic.as_str()) {
        return Err(Fault::TooDeep);
    }
    check_portable(spec, Fault::TOPIC, topic.as_str(), || false)?;
    Ok(topic)
}

fn properties(from: wit::PropertiesResult) -> Result<Box<Properties>, Fault> {
    let response_topic = from.response_topic.map(Topic::new).transpose();
    let user = from.user.into_iter().map(|(name, value)| Ok((string("user", name)?, string("user", value)?)));
    Ok(Box::new(Properties {
        content_type: from.content_type.map(|text| string("content-type", text)).transpose()?,
        response_topic: response_topic
            .map_err(|_| Fault::BadProperty { name: "response-topic", problem: "is not a topic to publish to" })?,
        correlation_data: match from.correlation_data {
            Some(data) if data.len() > MAX_PROPERTY_BYTES => {
                return Err(Fault::BadProperty { name: "correlation-data", problem: "is longer than 65535 bytes" });
            }
            data => data.map(Bytes::from),
        },
        message_expiry_seconds: from.message_expiry_seconds,
        payload_is_utf8: from.payload_is_utf8,
        user: user.collect::<Result<_, Fault>>()?,
    }))
}

/// Refuses what another broker would hang up on, unless it came like this: a plugin that sets one property has to say
/// the others again.
fn check_portable_properties(spec: &Spec, own: &Properties, input: Option<&Properties>) -> Result<(), Fault> {
    if let Some(text) = &own.content_type {
        check_portable(spec, "content-type", text, || {
            input.is_some_and(|came| came.content_type.as_ref() == Some(text))
        })?;
    }
    if let Some(topic) = &own.response_topic {
        let came = || input.is_some_and(|came| came.response_topic.as_ref() == Some(topic));
        check_portable(spec, "response-topic", topic.as_str(), came)?;
    }
    for pair in &own.user {
        let came = || input.is_some_and(|came| came.user.contains(pair));
        check_portable(spec, "user", &pair.0, came)?;
        check_portable(spec, "user", &pair.1, came)?;
    }
    Ok(())
}

/// `came` is asked only where it matters: whether the message came with this text.
fn check_portable(spec: &Spec, name: &'static str, text: &str, came: impl FnOnce() -> bool) -> Result<(), Fault> {
    match text::unportable(text) {
        Some(character) if !spec.allow_control_characters && !came() => Err(Fault::Unportable { name, character }),
        _ => Ok(()),
    }
}

/// A UTF-8 string as MQTT has them (MQTT 5.0 section 1.5.4).
fn string(name: &'static str, text: String) -> Result<ByteString, Fault> {
    if text.len() > MAX_PROPERTY_BYTES {
        return Err(Fault::BadProperty { name, problem: "is longer than 65535 bytes" });
    }
    if text.as_bytes().contains(&0) {
        return Err(Fault::BadProperty { name, problem: "contains the null character" });
    }
    Ok(ByteString::from(text))
}

/// What an output brings of its own, in bytes; `None` if that is more than can be counted.
fn weight(output: &wit::Output) -> Option<usize> {
    let mut bytes = output.topic.as_ref().map_or(0, String::len);
    bytes = bytes.checked_add(output.payload.as_ref().map_or(0, Vec::len))?;
    if let Some(p) = &output.properties {
        bytes = bytes.checked_add(p.content_type.as_ref().map_or(0, String::len))?;
        bytes = bytes.checked_add(p.response_topic.as_ref().map_or(0, String::len))?;
        bytes = bytes.checked_add(p.correlation_data.as_ref().map_or(0, Vec::len))?;
        for (name, value) in &p.user {
            bytes = bytes.checked_add(name.len())?.checked_add(value.len())?;
        }
    }
    Some(bytes)
}

fn qos(from: wit::Qos) -> QoS {
    match from {
        wit::Qos::AtMostOnce => QoS::AtMostOnce,
        wit::Qos::AtLeastOnce => QoS::AtLeastOnce,
        wit::Qos::ExactlyOnce => QoS::ExactlyOnce,
    }
}

/// Keeps what a plugin says within bounds before it becomes a label, a log line or a diagnostic.
pub(crate) fn shorten(mut text: String) -> String {
    if text.len() > MAX_REASON_BYTES {
        text.truncate(text.floor_char_boundary(MAX_REASON_BYTES));
        text.shrink_to_fit();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use tidegate_config::Limits;
    use tidegate_message::TopicFilter;

    fn outcome(spec: &Spec, input: &Message, result: Result<wit::Decision, wit::Failure>) -> Outcome {
        super::outcome(spec, &mut GrantedTopics::default(), input, result)
    }

    fn outputs(spec: &Spec, input: Option<&Message>, list: Vec<wit::Output>) -> Result<Outputs, Fault> {
        super::outputs(spec, &mut GrantedTopics::default(), input, list)
    }

    fn spec() -> Spec {
        let mut spec = Spec::new("p");
        spec.grants.targets = vec!["near".into(), "far".into()];
        spec.grants.topics = vec![TopicFilter::new("site/#").unwrap()];
        spec.limits.outputs = 2;
        spec.limits.output_bytes = 100;
        spec
    }

    fn input() -> Message {
        Message::new(Topic::new("dev/1").unwrap(), "21".as_bytes(), QoS::AtLeastOnce)
    }

    fn onward() -> wit::Output {
        let to = wit::Destination::Onward;
        wit::Output { to, topic: None, payload: None, qos: None, retain: None, properties: None }
    }

    fn no_properties() -> wit::PropertiesResult {
        wit::PropertiesResult {
            content_type: None,
            response_topic: None,
            correlation_data: None,
            message_expiry_seconds: None,
            payload_is_utf8: false,
            user: vec![],
        }
    }

    fn kind(spec: &Spec, list: Vec<wit::Output>) -> &'static str {
        match outcome(spec, &input(), Ok(wit::Decision::Forward(list))) {
            Outcome::Forward(_) => "forward",
            Outcome::Fault(fault) => fault.kind(),
            other => panic!("{other:?}"),
        }
    }

    fn to_topic(topic: &str) -> wit::Output {
        wit::Output { topic: Some(topic.into()), ..onward() }
    }

    fn to_target(target: &str) -> wit::Output {
        wit::Output { to: wit::Destination::Target(target.into()), ..onward() }
    }

    #[test]
    fn without_grants_a_plugin_can_only_say_onward() {
        let bare = Spec::new("p");
        let payload = wit::Output { payload: Some(b"new".to_vec()), qos: Some(wit::Qos::AtMostOnce), ..onward() };
        assert_eq!(kind(&bare, vec![payload]), "forward");
        assert_eq!(kind(&bare, vec![to_topic("dev/1")]), "forward", "the same topic again is no choice");
        assert_eq!(kind(&bare, vec![to_topic("dev/2")]), "foreign_topic");
        assert_eq!(kind(&bare, vec![to_target("near")]), "foreign_target");
    }

    #[test]
    fn grants_name_targets_and_cover_topics() {
        let spec = spec();
        assert_eq!(kind(&spec, vec![to_topic("site/a")]), "forward");
        assert_eq!(kind(&spec, vec![to_topic("$SYS/a")]), "foreign_topic");
        assert_eq!(kind(&spec, vec![to_target("far")]), "forward");
        assert_eq!(kind(&spec, vec![to_target("fa")]), "foreign_target");
        assert_eq!(kind(&spec, vec![wit::Output { topic: Some("cmd/a".into()), ..to_target("far") }]), "foreign_topic");
        let Outcome::Forward(outputs) =
            outcome(&spec, &input(), Ok(wit::Decision::Forward(vec![onward(), to_target("far")])))
        else {
            panic!("forward")
        };
        assert_eq!((outputs[0].to, outputs[1].to), (Destination::Onward, Destination::Target(1)));
        assert_eq!(outputs[0].topic, None);
    }

    #[test]
    fn an_expiry_of_nothing_is_only_what_came_so() {
        let spec = spec();
        let now = |seconds| {
            let properties = wit::PropertiesResult { message_expiry_seconds: Some(seconds), ..no_properties() };
            wit::Output { properties: Some(properties), ..onward() }
        };
        assert_eq!((kind(&spec, vec![now(0)]), kind(&spec, vec![now(1)])), ("bad_property", "forward"));
        let mut came = input();
        came.properties = Some(Box::new(Properties { message_expiry_seconds: Some(0), ..Properties::default() }));
        let same = outcome(&spec, &came, Ok(wit::Decision::Forward(vec![now(0)])));
        assert!(matches!(same, Outcome::Forward(_)), "{same:?}");
    }

    #[test]
    fn what_mqtt_cannot_carry_is_refused() {
        let spec = spec();
        for bad in ["", "site/+", "site/#", "site/\0"] {
            assert_eq!(kind(&spec, vec![to_topic(bad)]), "bad_topic", "{bad:?}");
        }
        let with = |properties| wit::Output { properties: Some(properties), ..onward() };
        assert_eq!(kind(&spec, vec![with(no_properties())]), "forward");
        let bad = wit::PropertiesResult { response_topic: Some("a/#".into()), ..no_properties() };
        assert_eq!(kind(&spec, vec![with(bad)]), "bad_property");
        let bad = wit::PropertiesResult { user: vec![("a".into(), "\0".into())], ..no_properties() };
        assert_eq!(kind(&spec, vec![with(bad)]), "bad_property");
        let text = wit::PropertiesResult { payload_is_utf8: true, ..no_properties() };
        assert_eq!(kind(&spec, vec![with(text.clone())]), "forward");
        assert_eq!(kind(&spec, vec![wit::Output { payload: Some(vec![0xff]), ..with(text) }]), "bad_property");
    }

    #[test]
    fn what_other_brokers_hang_up_on_is_the_plugins_fault_unless_it_is_allowed() {
        let spec = spec();
        let allowing = Spec { allow_control_characters: true, ..spec.clone() };
        for bad in ["\u{1}", "\t", "\r", "\u{7f}", "\u{85}", "\u{fdd0}", "\u{fffe}", "\u{1fffe}"] {
            let topic = || vec![to_topic(&format!("site/{bad}"))];
            assert_eq!((kind(&spec, topic()), kind(&allowing, topic())), ("bad_topic", "forward"), "{bad:?}");
            let text = || Some(bad.to_owned());
            for properties in [
                wit::PropertiesResult { content_type: text(), ..no_properties() },
                wit::PropertiesResult { response_topic: text(), ..no_properties() },
                wit::PropertiesResult { user: vec![(bad.into(), "b".into())], ..no_properties() },
                wit::PropertiesResult {
                    user: vec![("a".into(), "b".into()), ("a".into(), bad.into())],
                    ..no_properties()
                },
            ] {
                let output = || vec![wit::Output { properties: Some(properties.clone()), ..onward() }];
                let words = format!("{properties:?}");
                assert_eq!((kind(&spec, output()), kind(&allowing, output())), ("bad_property", "forward"), "{words}");
            }
            assert_eq!(outputs(&spec, None, topic()).unwrap_err().kind(), "bad_topic", "a tick");
        }
        let fault = outputs(&spec, None, vec![to_topic("site/\r")]).unwrap_err().to_string();
        assert!(fault.starts_with("topic has U+000D, which"), "{fault}");
        let deep = vec!["site"; text::PORTABLE_LEVELS_MAX].join("/");
        let spec = Spec { limits: Limits { output_bytes: 10_000, ..spec.limits.clone() }, ..spec };
        assert_eq!(kind(&spec, vec![to_topic(&deep)]), "forward");
        assert_eq!(kind(&spec, vec![to_topic(&format!("{deep}/"))]), "bad_topic");
    }

    /// A source may take what is not portable; that is not the plugin's doing.
    #[test]
    fn what_the_message_came_with_is_not_judged() {
        let bad = || "a\r".to_owned();
        let mut input = input();
        input.topic = Topic::new("dev/\r").unwrap();
        input.properties = Some(Box::new(Properties {
            content_type: Some(bad().into()),
            response_topic: Some(Topic::new(bad()).unwrap()),
            user: vec![(bad().into(), bad().into())],
            ..Properties::default()
        }));
        let same = wit::PropertiesResult {
            content_type: Some(bad()),
            response_topic: Some(bad()),
            user: vec![("new".into(), "good".into()), (bad(), bad())],
            ..no_properties()
        };
        let judge = |properties| {
            let output = wit::Output { topic: Some("dev/\r".into()), properties: Some(properties), ..onward() };
            outcome(&spec(), &input, Ok(wit::Decision::Forward(vec![output])))
        };
        assert!(matches!(judge(same.clone()), Outcome::Forward(_)));
        let other = wit::PropertiesResult { user: vec![("new".into(), bad())], ..same };
        assert_eq!(judge(other), Outcome::Fault(Fault::Unportable { name: "user", character: '\r' }));
        assert_eq!(outcome(&spec(), &input, Ok(wit::Decision::Pass)), Outcome::Pass);
    }

    #[test]
    fn outputs_are_bounded_in_number_and_bytes() {
        let spec = spec();
        assert_eq!(kind(&spec, vec![]), "empty_forward");
        assert_eq!(kind(&spec, vec![onward(), onward()]), "forward");
        assert_eq!(kind(&spec, vec![onward(), onward(), onward()]), "too_many_outputs");
        let sized = |n| wit::Output { payload: Some(vec![b'x'; n]), ..onward() };
        assert_eq!(kind(&spec, vec![sized(50), sized(50)]), "forward");
        assert_eq!(kind(&spec, vec![sized(50), sized(51)]), "too_large");
    }

    #[test]
    fn a_tick_must_name_its_topics() {
        let spec = spec();
        assert_eq!(outputs(&spec, None, vec![onward()]), Err(Fault::NoTopic));
        assert_eq!(outputs(&spec, None, vec![to_topic("dev/1")]).unwrap_err().kind(), "foreign_topic");
        let outputs = outputs(&spec, None, vec![to_topic("site/1")]).unwrap();
        assert_eq!(outputs[0].topic.as_ref().map(Topic::as_str), Some("site/1"));
    }

    #[test]
    fn reasons_are_cut_at_a_character() {
        let Outcome::Drop(reason) = outcome(&spec(), &input(), Ok(wit::Decision::Drop("ä".repeat(200)))) else {
            panic!("drop")
        };
        assert_eq!(reason.len(), 256);
    }
}
