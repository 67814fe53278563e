//! Reading. `bounds.rs` is about limits and wrong configurations, `golden.rs` reads what real encoders wrote, `writing.rs` is
//! about the way back.

mod bounds;
mod golden;
mod writing;

use super::*;
use crate::wire;
use proptest::prelude::*;
use serde_json::{Value, json};
use tidegate_sdk::{Output, state, testing};

const NOW: u64 = 1_700_000_000_000;

fn sparkplug(config: &str) -> Sparkplug {
    testing::plugin(config)
}

/// A metric: its name, alias and datatype where there are any, and its value by a function.
fn metric(
    name: Option<&str>,
    alias: Option<u64>,
    datatype: Option<u32>,
    value: impl FnOnce(&mut wire::Message),
) -> wire::Message {
    let mut metric = wire::Message::new();
    if let Some(name) = name {
        metric.text(1, name);
    }
    if let Some(alias) = alias {
        metric.u64(2, alias);
    }
    if let Some(datatype) = datatype {
        metric.u64(4, u64::from(datatype));
    }
    value(&mut metric);
    metric
}

fn payload(seq: Option<u64>, metrics: impl IntoIterator<Item = wire::Message>) -> Vec<u8> {
    let mut payload = wire::Message::new();
    payload.u64(1, NOW);
    metrics.into_iter().for_each(|metric| payload.message(2, metric));
    if let Some(seq) = seq {
        payload.u64(3, seq);
    }
    payload.into_bytes()
}

/// The birth of an edge node: `t` is an Int16 of alias 1.
fn birth(bd_seq: u64) -> Vec<u8> {
    let bd_seq = metric(Some("bdSeq"), None, Some(4), |to| to.u64(11, bd_seq));
    payload(Some(0), [bd_seq, metric(Some("t"), Some(1), Some(2), |to| to.u64(10, 20))])
}

/// Alias 1, and nothing that says what it is.
fn data(seq: u64) -> Vec<u8> {
    payload(Some(seq), [metric(None, Some(1), None, |to| to.u64(10, 65236))])
}

fn at(topic: &str, payload: Vec<u8>) -> Message {
    Message::new(topic, payload).at(NOW)
}

fn outputs(plugin: &mut Sparkplug, message: Message) -> Vec<(String, Value)> {
    match plugin.handle("plant", message) {
        Ok(Decision::Forward(outputs)) => outputs.into_iter().map(shown).collect(),
        other => panic!("not forwarded: {other:?}"),
    }
}

fn shown(output: Output) -> (String, Value) {
    (output.topic.unwrap(), serde_json::from_slice(&output.payload.unwrap()).unwrap())
}

fn refusal(plugin: &mut Sparkplug, message: Message) -> String {
    match plugin.handle("plant", message) {
        Ok(Decision::Drop(reason)) => format!("drop: {reason}"),
        Err(Failure::Reject(reason)) => format!("reject: {reason}"),
        other => panic!("neither dropped nor rejected: {other:?}"),
    }
}

/// What one metric of a message is read as.
fn read(config: &str, metric: wire::Message) -> Value {
    let message = at("spBv1.0/g/NCMD/e", payload(None, [metric]));
    outputs(&mut sparkplug(config), message).remove(0).1
}

const ALL: &str = r#"{"types": ["NBIRTH", "NDATA", "NDEATH", "NCMD", "DBIRTH", "DDATA", "DDEATH", "DCMD"]}"#;

#[test]
fn a_birth_is_an_event_and_its_metrics_and_names_the_data_behind_it() {
    let mut plugin = sparkplug("{}");
    let born = outputs(&mut plugin, at("spBv1.0/g/NBIRTH/e", birth(7)));
    let head =
        json!({"group": "g", "edge": "e", "type": "NBIRTH", "timestamp": NOW, "seq": 0, "online": true, "bd_seq": 7});
    assert_eq!(born[0], ("sparkplug/g/e".to_owned(), head));
    assert_eq!((born[1].0.as_str(), &born[1].1["value"]), ("sparkplug/g/e/bdSeq", &json!(7)));
    assert_eq!((born[2].0.as_str(), &born[2].1["value"]), ("sparkplug/g/e/t", &json!(20)));
    let told = outputs(&mut plugin, at("spBv1.0/g/NDATA/e", data(1)));
    let value = json!({
        "group": "g", "edge": "e", "type": "NDATA", "timestamp": NOW, "seq": 1, "name": "t", "datatype": "Int16", "value": -300
    });
    assert_eq!(told, [("sparkplug/g/e/t".to_owned(), value)]);
}

#[test]
fn a_payload_may_be_one_message() {
    let mut plugin = sparkplug(r#"{"output": "payload"}"#);
    let born = outputs(
        &mut plugin,
        at("spBv1.0/g/DBIRTH/e/d", payload(Some(1), [metric(Some("t"), Some(1), Some(9), |to| to.f32(12, 21.3))])),
    );
    let value = json!({
        "group": "g", "edge": "e", "device": "d", "type": "DBIRTH", "timestamp": NOW, "seq": 1, "online": true,
        "metrics": [{"name": "t", "datatype": "Float", "value": 21.3}]
    });
    assert_eq!(born, [("sparkplug/g/DBIRTH/e/d".to_owned(), value)]);
}

#[test]
fn births_outlive_the_plugin() {
    let _ = outputs(&mut sparkplug("{}"), at("spBv1.0/g/NBIRTH/e", birth(0)));
    assert_eq!(state::keys(""), ["plant/g/e"]);
    let told = outputs(&mut sparkplug("{}"), at("spBv1.0/g/NDATA/e", data(1)));
    assert_eq!(told[0].1["name"], "t");
    let other = sparkplug("{}").handle("other-plant", at("spBv1.0/g/NDATA/e", data(1)));
    assert!(other.is_err(), "edge nodes of two brokers may be called the same");
}

#[test]
fn a_birth_of_an_edge_node_ends_those_of_its_devices_unless_it_is_the_same_again() {
    let mut plugin = sparkplug("{}");
    let _ = outputs(&mut plugin, at("spBv1.0/g/NBIRTH/e", birth(0)));
    let _ = outputs(&mut plugin, at("spBv1.0/g/DBIRTH/e/d", birth(0)));
    let _ = outputs(&mut plugin, at("spBv1.0/g/NBIRTH/e", birth(0)));
    let told = outputs(&mut plugin, at("spBv1.0/g/DDATA/e/d", data(1)));
    assert_eq!(told[0].0, "sparkplug/g/e/d/t");
    let _ = outputs(&mut plugin, at("spBv1.0/g/NBIRTH/e", birth(1)));
    assert!(plugin.handle("plant", at("spBv1.0/g/DDATA/e/d", data(2))).is_err());
}

#[test]
fn data_before_a_birth_goes_where_it_is_told() {
    let early = || at("spBv1.0/g/NDATA/e", data(1));
    let reason = refusal(&mut sparkplug("{}"), early());
    assert!(reason.starts_with("reject: no birth of plant/g/e names alias 1: see `unknown`"), "{reason}");
    assert_eq!(refusal(&mut sparkplug(r#"{"unknown": "drop"}"#), early()), "drop: no birth seen");
    let passed = outputs(&mut sparkplug(r#"{"unknown": "pass"}"#), early());
    assert_eq!(passed[0].0, "sparkplug/g/e/alias-1");
    assert_eq!((&passed[0].1["alias"], &passed[0].1["value"]), (&json!(1), &json!(65236)));
    assert_eq!(passed[0].1.get("datatype"), None);
    let nameless = at("spBv1.0/g/NDATA/e", payload(Some(1), [metric(Some("t"), None, None, |to| to.u64(10, 1))]));
    let reason = refusal(&mut sparkplug("{}"), nameless);
    assert!(reason.contains("no birth of plant/g/e says the datatype of `t`"), "{reason}");
}

#[test]
fn a_birth_that_was_missed_is_asked_for_and_not_too_often() {
    let mut plugin = sparkplug(r#"{"unknown": "drop", "rebirth_every": "1m"}"#);
    let early = |edge: u32, ms| Message::new(format!("spBv1.0/g/NDATA/e{edge}"), data(1)).at(NOW + ms);
    let asked = testing::only(plugin.handle("plant", early(0, 0)).unwrap());
    assert_eq!(asked.to, tidegate_sdk::Destination::Target("plant".to_owned()));
    assert_eq!(asked.topic.as_deref(), Some("spBv1.0/g/NCMD/e0"));
    let command = outputs(&mut sparkplug(ALL), at("spBv1.0/g/NCMD/e0", asked.payload.unwrap()));
    assert_eq!((&command[0].1["name"], &command[0].1["value"]), (&json!("Node Control/Rebirth"), &json!(true)));
    assert_eq!(refusal(&mut plugin, early(0, 59_999)), "drop: no birth seen");
    assert!(matches!(plugin.handle("plant", early(0, 60_000)), Ok(Decision::Forward(_))));
    let asked =
        (1..100).filter(|edge| matches!(plugin.handle("plant", early(*edge, 61_000)), Ok(Decision::Forward(_))));
    assert_eq!(asked.count(), 10, "in one second");
}

#[test]
fn a_number_that_was_not_due_is_noted_and_nothing_else() {
    let mut plugin = sparkplug("{}");
    let _ = outputs(&mut plugin, at("spBv1.0/g/NBIRTH/e", birth(0)));
    let expected = |plugin: &mut Sparkplug, seq, redelivered| {
        let message = Message { redelivered, ..at("spBv1.0/g/NDATA/e", data(seq)) };
        outputs(plugin, message)[0].1.get("seq_expected").cloned()
    };
    assert_eq!(expected(&mut plugin, 1, false), None);
    assert_eq!(expected(&mut plugin, 3, false), Some(json!(2)));
    assert_eq!(expected(&mut plugin, 3, true), None);
    assert_eq!(expected(&mut plugin, 4, false), None);
    assert_eq!(expected(&mut plugin, 255, false), Some(json!(5)));
    assert_eq!(expected(&mut plugin, 0, false), None);
}

#[test]
fn a_death_is_an_event_and_one_of_another_session_is_marked() {
    let death = |bd_seq: u64| {
        let bd_seq = metric(Some("bdSeq"), None, Some(4), |to| to.u64(11, bd_seq));
        at("spBv1.0/g/NDEATH/e", payload(None, [bd_seq]))
    };
    let mut plugin = sparkplug("{}");
    let _ = outputs(&mut plugin, at("spBv1.0/g/NBIRTH/e", birth(7)));
    let value = json!({"group": "g", "edge": "e", "type": "NDEATH", "timestamp": NOW, "online": false, "bd_seq": 7});
    assert_eq!(outputs(&mut plugin, death(7)), [("sparkplug/g/e".to_owned(), value)]);
    assert_eq!(outputs(&mut plugin, death(6))[0].1["bd_seq_of_birth"], 7);
    let mut strict = sparkplug(r#"{"stale_deaths": "drop"}"#);
    assert_eq!(refusal(&mut strict, death(6)), "drop: death of another session");
    assert_eq!(outputs(&mut strict, death(7))[0].1["online"], false);
}

#[test]
fn types_that_are_not_wanted_are_learnt_of_all_the_same() {
    let mut plugin = sparkplug(r#"{"types": ["NDATA"]}"#);
    assert_eq!(refusal(&mut plugin, at("spBv1.0/g/NBIRTH/e", birth(0))), "drop: type not wanted");
    assert_eq!(outputs(&mut plugin, at("spBv1.0/g/NDATA/e", data(1)))[0].1["value"], -300);
    assert_eq!(refusal(&mut plugin, at("spBv1.0/g/NDATA/e", payload(Some(2), []))), "drop: no metrics");
}

#[test]
fn what_is_no_sparkplug_passes_or_is_refused_in_words() {
    let mut plugin = sparkplug("{}");
    for topic in ["dev/1", "spBv1.0/STATE/host", "STATE/host"] {
        assert_eq!(plugin.handle("plant", at(topic, b"{}".to_vec())), Ok(Decision::Pass), "{topic}");
    }
    for (topic, reason) in [
        ("spBv1.0/g/NFOO/e", "`NFOO` is none of its message types"),
        ("spBv1.0/g", "`` is none"),
        ("spBv1.0/g/NDATA", "NDATA is spBv1.0/GROUP/NDATA/EDGE"),
        ("spBv1.0/g/NDATA/e/d", "NDATA is spBv1.0/GROUP/NDATA/EDGE"),
        ("spBv1.0/g/DDATA/e", "DDATA is spBv1.0/GROUP/DDATA/EDGE/DEVICE"),
        ("spBv1.0/g/DDATA/e/d/x", "DDATA is"),
    ] {
        let refused = refusal(&mut plugin, at(topic, data(0)));
        assert!(refused.contains(reason), "{topic}: {refused}");
    }
}

#[test]
fn malformed_protobuf_is_refused_with_its_place() {
    for (bytes, reason) in [
        (&b"\x08"[..], "a field that the payload is too short for at byte 0"),
        (b"\x08\x01\x12\x05\x0a\x01", "a field that the payload is too short for at byte 2"),
        (b"\x08\x01\x12\x03\x0a\x01\xff", "a text that is no UTF-8 at byte 6"),
        (b"\x08\x01\x12\x02\x08\x01", "something else where a text, bytes or a message is due at byte 4"),
        (b"\x0d\x00\x00\x00\x00", "something else where a whole number is due at byte 0"),
        (b"\x00\x00", "a field of number 0 at byte 0"),
        (b"\x0b\x0c", "a group, which Sparkplug has not at byte 0"),
        (b"\x0f", "a field of no known wire type at byte 0"),
        (b"\x08\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01", "a varint of more than 10 bytes at byte 0"),
        (b"{\"value\": 1}", "malformed protobuf: "),
    ] {
        let refused = refusal(&mut sparkplug(ALL), at("spBv1.0/g/NDATA/e", bytes.to_vec()));
        assert!(refused.starts_with("reject: malformed protobuf: ") && refused.contains(reason), "{refused}");
    }
}

#[test]
fn what_a_float_may_be_and_json_may_not_is_told_apart() {
    let nan = || metric(Some("t"), None, Some(9), |to| to.f32(12, f32::NAN));
    let value = read(ALL, nan());
    assert_eq!((&value["value"], &value["not_finite"]), (&Value::Null, &json!("NaN")));
    let text = ALL.replace('{', r#"{"not_finite": "text", "#);
    assert_eq!(read(&text, nan())["value"], "NaN");
    assert_eq!(
        read(&text, metric(Some("t"), None, Some(10), |to| to.f64(13, f64::NEG_INFINITY)))["value"],
        "-Infinity"
    );
    let null = read(ALL, metric(Some("t"), None, Some(9), |to| to.bool(7, true)));
    assert_eq!((&null["value"], &null["is_null"]), (&Value::Null, &json!(true)));
    let absent = read(ALL, metric(Some("t"), None, Some(9), |_| ()));
    assert_eq!((absent.get("value"), absent.get("is_null")), (None, None));
}

#[test]
fn large_integers_are_digits_or_text() {
    let large = || metric(Some("t"), None, Some(8), |to| to.u64(11, (1 << 63) + 1));
    assert_eq!(read(ALL, large())["value"], json!(9_223_372_036_854_775_809_u64));
    let text = ALL.replace('{', r#"{"large_integers": "text", "#);
    assert_eq!(read(&text, large())["value"], "9223372036854775809");
    assert_eq!(read(&text, metric(Some("t"), None, Some(4), |to| to.u64(11, u64::MAX)))["value"], -1);
}

#[test]
fn a_metric_that_is_not_of_its_datatype_costs_itself_alone() {
    let wrong = metric(Some("t"), None, Some(3), |to| to.text(15, "21"));
    let right = metric(Some("u"), None, Some(3), |to| to.u64(10, 21));
    let message = at("spBv1.0/g/NCMD/e", payload(None, [wrong, right]));
    let told = outputs(&mut sparkplug(ALL), message);
    assert_eq!((told[0].1.get("value"), &told[0].1["error"]), (None, &json!("Int32 with a string_value")));
    assert_eq!(told[1].1["value"], 21);
    for (datatype, bytes) in [(24, &b"123"[..]), (32, b"\x09\0\0\0\xff"), (32, b"\x01"), (33, b"abc"), (33, b"\xff\0")]
    {
        let value = read(ALL, metric(Some("t"), None, Some(datatype), |to| to.bytes(16, bytes)));
        assert!(value.get("value").is_none() && value["error"].is_string(), "{value}");
    }
}

#[test]
fn properties_and_metadata_are_told() {
    let value = read(
        ALL,
        metric(Some("t"), None, Some(3), |to| {
            let mut quality = wire::Message::new();
            quality.u64(1, 3);
            quality.u64(3, 192);
            let mut null = wire::Message::new();
            null.u64(1, 12);
            null.bool(2, true);
            let mut set = wire::Message::new();
            set.text(1, "Quality");
            set.text(1, "unit");
            set.message(2, quality);
            set.message(2, null);
            let mut metadata = wire::Message::new();
            metadata.u64(3, 5);
            metadata.text(8, "oil");
            to.bool(5, true);
            to.message(8, metadata);
            to.message(9, set);
            to.u64(10, 1);
        }),
    );
    assert_eq!(value["properties"], json!({"Quality": 192, "unit": null}));
    assert_eq!(value["metadata"], json!({"size": 5, "description": "oil"}));
    assert_eq!(value["is_historical"], true);
    let mut odd = wire::Message::new();
    odd.text(1, "Quality");
    let value = read(ALL, metric(Some("t"), None, Some(3), |to| to.message(9, odd)));
    assert_eq!(value["properties_error"], "PropertySet with more keys than values, or fewer");
}

#[test]
fn letters_that_no_topic_holds_are_replaced() {
    let name = "a+b#c\u{7}/d\u{ffff}";
    let message = at("spBv1.0/g/NCMD/e", payload(None, [metric(Some(name), None, Some(11), |to| to.bool(14, true))]));
    let told = outputs(&mut sparkplug(ALL), message);
    assert_eq!(told[0].0, "sparkplug/g/e/a_b_c_/d_");
    assert_eq!(told[0].1["name"], name);
}

#[test]
fn properties_of_the_message_stay_true() {
    let properties = Properties { content_type: Some("application/x-protobuf".to_owned()), ..Properties::none() };
    let message = Message { properties, ..at("spBv1.0/g/NBIRTH/e", birth(0)) };
    let Ok(Decision::Forward(outputs)) = sparkplug("{}").handle("plant", message) else { panic!("not forwarded") };
    let properties = outputs[0].properties.as_ref().unwrap();
    assert_eq!((properties.content_type.as_deref(), properties.payload_is_utf8), (Some("application/json"), true));
}

/// Bytes that look like protobuf more often than chance would have it.
fn protobuf_like() -> impl Strategy<Value = Vec<u8>> {
    let field =
        (1..20_u32, prop::collection::vec(any::<u8>(), 0..12), any::<u64>()).prop_map(|(number, bytes, value)| {
            let mut field = wire::Message::new();
            match value % 4 {
                0 => field.bytes(number, &bytes),
                1 => field.f32(number, value as f32),
                2 => field.f64(number, value as f64),
                _ => field.u64(number, value),
            }
            field.into_bytes()
        });
    let message = prop::collection::vec(field, 0..6).prop_map(|fields| fields.concat());
    message.prop_recursive(4, 40, 5, |inner| {
        prop::collection::vec((1..20_u32, inner), 0..5).prop_map(|members| {
            let mut message = wire::Message::new();
            members.iter().for_each(|(number, bytes)| message.bytes(*number, bytes));
            message.into_bytes()
        })
    })
}

proptest! {
    #[test]
    fn whatever_comes_is_json_or_a_reason(
        bytes in prop_oneof![protobuf_like(), prop::collection::vec(any::<u8>(), 0..80)],
        datatype in 0..40_u32,
        kind in prop::sample::select(vec!["NBIRTH", "NDATA", "NDEATH", "NCMD"]),
        output in prop::sample::select(vec!["metric", "payload"]),
    ) {
        let config = ALL.replace('{', &format!(r#"{{"unknown": "pass", "output": "{output}", "#));
        let mut plugin = sparkplug(&config);
        let topic = format!("spBv1.0/g/{kind}/e");
        let of = |number| payload(None, [metric(Some("t"), None, Some(datatype), |to| to.bytes(number, &bytes))]);
        for payload in [bytes.clone(), of(9), of(16), of(17), of(18)] {
            if let Ok(Decision::Forward(outputs)) = plugin.handle("plant", at(&topic, payload)) {
                outputs.into_iter().for_each(|output| drop(shown(output)));
            }
        }
    }

    #[test]
    fn a_float_is_its_shortest_text(bits in any::<u32>()) {
        let number = f32::from_bits(bits);
        let message = at("spBv1.0/g/NCMD/e", payload(None, [metric(Some("t"), None, Some(9), |to| to.f32(12, number))]));
        let text = testing::only(sparkplug(ALL).handle("plant", message).unwrap()).payload.unwrap();
        let text = String::from_utf8(text).unwrap();
        let value = text.split("\"value\":").nth(1).unwrap().split([',', '}']).next().unwrap();
        if number.is_finite() {
            prop_assert_eq!(value.parse::<f32>().unwrap().to_bits(), bits);
            prop_assert!(value.len() <= 24, "{}", value);
        } else {
            prop_assert_eq!(value, "null");
        }
    }
}
