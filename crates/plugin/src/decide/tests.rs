use super::*;
use crate::contract::v0::tidegate::gateway::types as wit; // it becomes what contract 1 becomes
use crate::contract::v1::tidegate::gateway::types as new;
use tidegate_config::Limits;
use tidegate_message::{QoS, TopicFilter};

fn outcome(spec: &Spec, input: &Message, result: Result<wit::Decision, wit::Failure>) -> Outcome {
    super::outcome(spec, &mut GrantedTopics::default(), input, result.into())
}

fn outputs(spec: &Spec, input: Option<&Message>, list: Vec<wit::Output>) -> Result<Outputs, Fault> {
    super::outputs(spec, &mut GrantedTopics::default(), input, list.into_iter().map(Into::into).collect())
}

/// What becomes of a message with these changes, in contract 1.
fn changed(input: &Message, changes: impl Into<Vec<new::Change>>) -> Result<Message, &'static str> {
    let output = new::Output { to: new::Destination::Onward, changes: changes.into() };
    let decision = new::Decision::Forward(vec![output]);
    match super::outcome(&spec(), &mut GrantedTopics::default(), input, decision.into()) {
        Outcome::Forward(mut outputs) => Ok(outputs.remove(0).applied_to(input)),
        Outcome::Fault(fault) => Err(fault.kind()),
        other => panic!("{other:?}"),
    }
}

fn user(name: &str, value: &str) -> new::Change {
    new::Change::UserProperty((name.into(), value.into()))
}

#[test]
fn changes_are_made_in_their_order_to_what_came() {
    let mut came = input();
    let user_came = vec![("a".into(), "1".into())];
    let rich = Properties { content_type: Some("c".into()), user: user_came.clone(), ..Properties::default() };
    came.properties = Some(Box::new(rich.clone()));
    let properties = |changes: &[new::Change]| *changed(&came, changes).unwrap().properties.unwrap();
    assert_eq!(changed(&came, []).unwrap(), came);
    let user_now = vec![user_came[0].clone(), ("b".into(), "2".into())];
    assert_eq!(properties(&[user("b", "2")]), Properties { user: user_now, ..rich.clone() });
    let only = vec![("b".into(), "2".into())];
    let without = [new::Change::Remove(new::Property::User), user("b", "2")];
    assert_eq!(properties(&without), Properties { user: only.clone(), ..rich.clone() });
    let every = [user("x", ""), new::Change::Remove(new::Property::Every), user("b", "2")];
    assert_eq!(properties(&every), Properties { user: only, ..Properties::default() });
    for (property, left) in [
        (new::Property::ContentType, Properties { content_type: None, ..rich.clone() }),
        (new::Property::PayloadIsUtf8, rich.clone()),
    ] {
        assert_eq!(
            properties(&[new::Change::PayloadIsUtf8(true), new::Change::Remove(property)]).content_type,
            left.content_type
        );
    }
    let twice = changed(&came, [new::Change::Topic("site/a".into()), new::Change::Topic("site/b".into())]).unwrap();
    assert_eq!(twice.topic.as_str(), "site/b", "the later one holds");
    // Of a message that came without any.
    assert_eq!(changed(&input(), [user("b", "2")]).unwrap().properties.unwrap().user.len(), 1);
}

#[test]
fn a_key_goes_with_the_message_until_another_is_said() {
    let keyed = changed(&input(), [new::Change::Key("k1".into())]).unwrap();
    assert_eq!(keyed.key(), "k1");
    assert_eq!(changed(&keyed, [new::Change::Payload(vec![])]).unwrap().key(), "k1");
    assert_eq!(changed(&keyed, [new::Change::Remove(new::Property::Every)]).unwrap().key(), "k1");
    assert_eq!(changed(&keyed, [new::Change::Key("k2".into())]).unwrap().key(), "k2");
    assert_eq!(changed(&input(), [user("b", "2")]).unwrap().key(), "dev/1");
}

#[test]
fn an_expiry_is_a_whole_number_of_seconds() {
    let with = |seconds| {
        let message = changed(&input(), [new::Change::MessageExpirySeconds(seconds)])?;
        Ok(message.properties.and_then(|properties| properties.message_expiry_seconds))
    };
    for (seconds, right) in [(1.0, 1), (3_000_000_000.0, 3_000_000_000), (4_294_967_295.0, u32::MAX)] {
        assert_eq!(with(seconds), Ok(Some(right)));
    }
    for bad in [0.0, -0.0, -1.0, 3.7, f64::NAN, f64::INFINITY, 4_294_967_296.0] {
        assert_eq!(with(bad), Err("bad_property"), "{bad}");
    }
}

#[test]
fn a_value_that_nobody_filled_in_is_no_decision() {
    let spec = spec();
    let decided =
        |decision: new::Decision| match super::outcome(&spec, &mut GrantedTopics::default(), &input(), decision.into())
        {
            Outcome::Fault(fault) => fault.kind(),
            other => panic!("{other:?}"),
        };
    for empty in [new::Decision::Drop, new::Decision::Reject, new::Decision::Retry] {
        assert_eq!(decided(empty(String::new())), "no_reason");
    }
    let zeroed = new::Output { to: new::Destination::Target(String::new()), changes: vec![] };
    assert_eq!(decided(new::Decision::Forward(vec![zeroed])), "foreign_target");
    assert_eq!(decided(new::Decision::Forward(vec![])), "empty_forward");
    assert_eq!(changed(&input(), [new::Change::Topic(String::new())]), Err("bad_topic"));
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
            wit::PropertiesResult { user: vec![("a".into(), "b".into()), ("a".into(), bad.into())], ..no_properties() },
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
