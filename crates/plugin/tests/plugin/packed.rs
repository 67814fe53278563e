//! The packed call decides as the typed one does: shipped components, once as they are and once with the export renamed.

use crate::{host, spec};
use tidegate_message::{Message, Properties, QoS, Topic};
use tidegate_plugin::{Host, Input, Instance, Outcome, Plugin, run_here};

const RETOPIC: &[u8] = include_bytes!("../../../../plugins/dist/retopic.wasm");
const CONVERT: &[u8] = include_bytes!("../../../../plugins/dist/convert.wasm");
const CHOOSE: &[u8] = include_bytes!("../../../../plugins/dist/route-by-field.wasm");

const NAME: &[u8] = b"tidegate:gateway/packed@1.0.0";
/// As long, and nobody's.
const OTHER: &[u8] = b"tidegate:gateway/pocket@1.0.0";

fn without_packed(component: &[u8]) -> Vec<u8> {
    let mut other = component.to_vec();
    let mut count = 0;
    for at in 0..other.len() - NAME.len() {
        if other[at..].starts_with(NAME) {
            other[at..at + NAME.len()].copy_from_slice(OTHER);
            count += 1;
        }
    }
    assert!(count > 0, "the component has no packed call");
    other
}

fn instance(host: &Host, component: &[u8], config_json: &str) -> Instance {
    let component = host.compile(component).unwrap();
    let mut spec = spec();
    spec.config_json = config_json.to_owned();
    Plugin::new(host, &component, spec).unwrap().instantiate().unwrap()
}

pub(crate) fn messages() -> Vec<Message> {
    let rich = Properties {
        content_type: Some("application/json".into()),
        response_topic: Some(Topic::new("answers").unwrap()),
        correlation_data: Some(vec![0, 255].into()),
        message_expiry_seconds: Some(60),
        payload_is_utf8: true,
        user: vec![("a".into(), "1".into()), ("a".into(), "".into())],
        key: None,
    };
    let topics = ["dev/1", "site/a", "dev/ä", "x"];
    let payloads: [&[u8]; 6] =
        [br#"{"temp": 212}"#, br#"{"temp": "warm"}"#, b"", b"\xff\x00", br#"{"kind": "alarm"}"#, br#"{"kind": 3}"#];
    let qos = [QoS::AtMostOnce, QoS::AtLeastOnce, QoS::ExactlyOnce];
    let one = |n: usize| {
        let mut message = Message::new(Topic::new(topics[n % 4]).unwrap(), payloads[n % 6].to_vec(), qos[n % 3]);
        message.retain = n.is_multiple_of(5);
        message.properties = n.is_multiple_of(7).then(|| Box::new(rich.clone())).filter(|_| n % 6 != 3);
        message
    };
    (0..420).map(one).collect()
}

pub(crate) fn decided(instance: &mut Instance, messages: &[Message]) -> Vec<Outcome> {
    let input = |(id, message)| Input { id, message, received_ms: 1_700_000_000_000, redelivered: id % 2 == 0 };
    let inputs: Vec<Input<'_>> = (1..).zip(messages).map(input).collect();
    let mut outcomes = Vec::new();
    run_here(instance.handle("home", &inputs, &mut outcomes));
    outcomes
}

#[test]
fn shipped_plugins_decide_the_same_by_both_calls() {
    let host = host();
    let cases = [
        (RETOPIC, r#"{"strip": "dev/", "prefix": "site/"}"#),
        (RETOPIC, r#"{"template": "site/{source}/{1}", "otherwise": "reject"}"#),
        (CONVERT, r#"{"field": "temp", "from": "fahrenheit", "to": "celsius"}"#),
        (CHOOSE, r#"{"by": {"field": "kind"}, "table": {"alarm": ["far", "onward"], "3": "drop"}}"#),
    ];
    let messages = messages();
    for (component, config) in cases {
        let packed = decided(&mut instance(&host, component, config), &messages);
        let typed = decided(&mut instance(&host, &without_packed(component), config), &messages);
        assert_eq!(packed.len(), messages.len());
        assert!(packed.iter().any(|one| !matches!(one, Outcome::Pass)), "{config}: it says something");
        for ((message, packed), typed) in messages.iter().zip(packed).zip(typed) {
            assert_eq!(packed, typed, "{config}: {message:?}");
        }
    }
}
