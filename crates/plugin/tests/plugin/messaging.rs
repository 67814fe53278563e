//! A handler of `wasi:messaging` runs as a plugin: what it sends is what becomes of the message.
//!
//! `wasi-messaging/` has the source of the component, built with wit-bindgen.

use crate::{host, spec, word};
use std::time::Duration;
use tidegate_message::{Message, Properties, QoS, Topic};
use tidegate_plugin::{
    Destination, Error, Fault, Input, Instance, Outcome, Output, Plugin, Spec, StateGrant, run_here,
};

const MESSENGER: &[u8] = include_bytes!("wasi-messaging/messenger.wasm");

fn with_state() -> Spec {
    let mut spec = spec();
    spec.grants.state = StateGrant::Granted;
    spec
}

fn plugin(component: &[u8], spec: Spec) -> Result<Plugin, Error> {
    let host = host();
    Plugin::new(&host, &host.compile(component)?, spec)
}

fn instance(spec: Spec) -> Instance {
    plugin(MESSENGER, spec).unwrap().instantiate().unwrap()
}

/// The same component with another name, which is as long, in place of this one.
fn with(name: &str, other: &str) -> Vec<u8> {
    let (name, other) = (name.as_bytes(), other.as_bytes());
    assert_eq!(name.len(), other.len());
    let mut component = MESSENGER.to_vec();
    for at in 0..component.len() - name.len() {
        if component[at..].starts_with(name) {
            component[at..at + name.len()].copy_from_slice(other);
        }
    }
    assert_ne!(component, MESSENGER);
    component
}

fn message(says: &str) -> Message {
    let mut message = Message::new(Topic::new("dev/1").unwrap(), says.to_owned(), QoS::AtLeastOnce);
    message.retain = true;
    message.properties = Some(Box::new(Properties {
        content_type: Some("application/json".into()),
        response_topic: Some(Topic::new("answers").unwrap()),
        payload_is_utf8: true,
        user: vec![("unit".into(), "F".into()), ("unit".into(), "R".into()), ("x".into(), "".into())],
        ..Properties::default()
    }));
    message
}

fn decide(instance: &mut Instance, messages: &[Message]) -> Vec<Outcome> {
    let input = |(id, message)| Input { id, message, received_ms: 1_700_000_000_000, redelivered: false };
    let inputs: Vec<Input<'_>> = (1..).zip(messages).map(input).collect();
    let mut outcomes = Vec::new();
    run_here(instance.handle("home", &inputs, &mut outcomes));
    assert_eq!(outcomes.len(), messages.len());
    outcomes
}

fn words(instance: &mut Instance, says: &[&str]) -> Vec<String> {
    let messages: Vec<Message> = says.iter().map(|says| message(says)).collect();
    decide(instance, &messages).iter().map(word).collect()
}

/// The messages that go out, and where to.
fn sent(outcome: &Outcome, came: &Message) -> Vec<(Destination, Message)> {
    let Outcome::Forward(outputs) = outcome else { panic!("{outcome:?}") };
    outputs.iter().map(|output: &Output| (output.to, output.clone().applied_to(came))).collect()
}

#[test]
fn what_a_handler_sends_goes_out() {
    let mut instance = instance(with_state());
    let came = message("two");
    let outcomes = decide(&mut instance, std::slice::from_ref(&came));
    let sent = sent(&outcomes[0], &came);
    let [(first_to, first), (then_to, then)] = &sent[..] else { panic!("{sent:?}") };
    // `far` is the second of the grants.
    assert_eq!(
        (*first_to, first.topic.as_str(), &first.payload[..]),
        (Destination::Target(1), "site/a", &b"first"[..])
    );
    assert_eq!((*then_to, then), (Destination::Onward, &came), "the message that came goes on as it was");
}

#[test]
fn content_type_and_metadata_are_content_type_and_user_properties() {
    let mut instance = instance(with_state());
    let came = message("what");
    let (_, told) = sent(&decide(&mut instance, std::slice::from_ref(&came))[0], &came).remove(0);
    let text = r#"Some("dev/1") Some("application/json") Some([("unit", "F"), ("unit", "R"), ("x", "")])"#;
    assert_eq!(std::str::from_utf8(&told.payload).unwrap(), text);

    let mut bare = message("what");
    bare.properties = None;
    let (_, told) = sent(&decide(&mut instance, std::slice::from_ref(&bare))[0], &bare).remove(0);
    assert_eq!(std::str::from_utf8(&told.payload).unwrap(), r#"Some("dev/1") None None"#);
}

#[test]
fn a_message_that_was_changed_keeps_the_rest_and_a_new_one_has_only_its_own() {
    let mut instance = instance(with_state());
    let came = message("edit");
    let (_, edited) = sent(&decide(&mut instance, std::slice::from_ref(&came))[0], &came).remove(0);
    let own = edited.properties.as_deref().unwrap();
    assert_eq!((own.content_type.as_deref(), &edited.payload[..]), (Some("text/plain"), &b"\xff"[..]));
    assert_eq!(own.user, [("unit".into(), "K".into()), ("x".into(), "".into())]);
    assert_eq!(own.response_topic.as_ref().map(Topic::as_str), Some("answers"));
    assert!(!own.payload_is_utf8, "nobody has said that of the other payload");

    let came = message("new");
    let (_, new) = sent(&decide(&mut instance, std::slice::from_ref(&came))[0], &came).remove(0);
    let own = new.properties.as_deref().unwrap();
    assert_eq!((own.content_type.as_deref(), own.response_topic.as_ref()), (Some("text/plain"), None));
    assert_eq!(own.user, [("a".into(), "4".into())]);
    assert_eq!((new.qos, new.retain, new.topic.as_str()), (QoS::AtLeastOnce, true, "site/new"));
}

#[test]
fn a_handler_that_sends_nothing_drops_and_one_that_returns_an_error_rejects() {
    let mut instance = instance(with_state());
    let said = words(&mut instance, &["quiet", "refuse", "timeout", "wordless", "pass"]);
    let expected =
        ["drop not_published", "reject too cold", "reject timeout", "reject an error without words", "forward 1"];
    assert_eq!(said, expected);
    assert_eq!(instance.stats().calls, 1, "a batch is one call");
}

#[test]
fn it_may_send_only_where_it_was_granted() {
    let mut instance = instance(with_state());
    let said = words(&mut instance, &["foreign-topic", "foreign-target", "pass"]);
    let denied = "reject permission denied: `nowhere` is not among the grants `targets`, and not `onward`";
    assert_eq!(said, ["foreign_topic", denied, "forward 1"]);
}

#[test]
fn a_call_that_traps_sends_nothing_and_costs_its_own_message() {
    let mut instance = instance(with_state());
    let outcomes = decide(&mut instance, &["pass", "trap", "pass"].map(message));
    assert!(matches!(outcomes[1], Outcome::Fault(Fault::Trap(_))), "{:?}", outcomes[1]);
    assert!(outcomes.iter().step_by(2).all(|outcome| matches!(outcome, Outcome::Forward(_))));
}

#[test]
fn time_memory_and_outputs_are_bounded() {
    let mut spec = with_state();
    spec.limits.deadline = Duration::from_millis(200);
    let mut instance = instance(spec);
    assert_eq!(words(&mut instance, &["loop"]), ["deadline"]);
    let said = words(&mut instance, &["pass", "flood", "memory", "pass"]);
    assert_eq!(said, ["forward 1", "too_many_outputs", "memory", "forward 1"]);
    let said = words(&mut instance, &["hoard", "pass"]);
    assert_eq!(said, ["too_large", "forward 1"], "what stands in the host is bounded too");
}

#[test]
fn a_message_is_gone_when_the_call_has_returned() {
    let mut instance = instance(with_state());
    assert_eq!(words(&mut instance, &["keep"]), ["drop not_published"]);
    // It is its own to answer for, and a fresh instance has kept none.
    assert_eq!(words(&mut instance, &["kept"]), ["forward 1"]);
    let [Fault::Trap(text)] = &instance.take_lost_guests()[..] else { panic!("one") };
    assert!(text.contains("a message of an earlier call"), "{text}");
}

#[test]
fn an_instance_keeps_what_it_holds_and_writes_state_with_its_decisions() {
    let spec = with_state();
    let state = spec.state.clone();
    let mut instance = instance(spec);
    for _ in 0..3 {
        assert_eq!(words(&mut instance, &["count"]), ["forward 1"]);
    }
    assert_eq!(state.get("count"), Some(vec![3, 0, 0, 0]));
}

#[test]
fn what_is_not_served_is_refused_before_it_runs() {
    let refused = |component: &[u8], spec: Spec| plugin(component, spec).unwrap_err().to_string();
    let text = refused(MESSENGER, spec());
    assert!(text.contains("`tidegate:gateway/state@1.0.0`") && text.contains("state = true"), "{text}");
    let later = with("wasi:messaging/incoming-handler@0.2.0-draft", "wasi:messaging/incoming-handler@0.3.0-draft");
    let text = refused(&later, with_state());
    let words = "it was built for wasi:messaging@0.3.0-draft; this gateway serves wasi:messaging@0.2.0-draft";
    assert!(text.contains(words), "{text}");
    let asks = r#"(component
        (import "wasi:messaging/request-reply@0.2.0-draft" (instance (export "request" (func))))
        (core module $m (func (export "f")))
        (core instance $i (instantiate $m))
        (func $f (canon lift (core func $i "f")))
        (instance $h (export "handle" (func $f)))
        (export "wasi:messaging/incoming-handler@0.2.0-draft" (instance $h)))"#;
    let asks = wat::parse_str(asks).unwrap();
    let text = refused(&asks, with_state());
    assert!(text.contains("`wasi:messaging/request-reply@0.2.0-draft`") && text.contains("cannot wait"), "{text}");

    let mut configured = with_state();
    configured.config_json = r#"{"above": 3}"#.to_owned();
    let error = plugin(MESSENGER, configured).unwrap().instantiate().unwrap_err();
    assert!(error.to_string().contains("takes no configuration"), "{error}");
}

#[test]
fn it_says_what_it_was_built_for() {
    let plugin = plugin(MESSENGER, with_state()).unwrap();
    assert_eq!((plugin.contract(), plugin.has_timer()), ("wasi:messaging@0.2.0-draft", false));
}
