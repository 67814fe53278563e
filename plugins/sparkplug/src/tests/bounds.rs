//! What is bounded, and which configurations are wrong.

use super::*;

#[test]
fn nesting_is_bounded() {
    let mut inner = wire::Message::new();
    for _ in 0..12 {
        let mut outer = wire::Message::new();
        outer.message(2, metric(Some("x"), None, Some(19), |to| to.message(18, inner)));
        inner = outer;
    }
    let value = read(ALL, metric(Some("t"), None, Some(19), |to| to.message(18, inner)));
    assert!(value.to_string().contains("nesting of more than 8 levels"), "{value}");
}

#[test]
fn what_a_message_is_turned_into_is_bounded() {
    let empty = |count| payload(Some(1), (0..count).map(|_| wire::Message::new()));
    let refused = refusal(&mut sparkplug("{}"), at("spBv1.0/g/NDATA/e", empty(1001)));
    assert_eq!(refused, "reject: more than 1000 metrics: see `max_metrics`");
    let named = |count| payload(Some(1), (0..count).map(|_| metric(Some("t"), None, Some(11), |to| to.bool(14, true))));
    let refused = refusal(&mut sparkplug("{}"), at("spBv1.0/g/NDATA/e", named(65)));
    assert!(refused.starts_with("reject: 65 messages of one NDATA, more than 64"), "{refused}");
    for output in ["metric", "payload"] {
        let config = format!(r#"{{"output": "{output}", "max_output_bytes": 1500}}"#);
        let flags = [&60_000_u32.to_le_bytes()[..], &[0xff; 7500]].concat();
        for payload in [named(40), payload(Some(1), [metric(Some("t"), None, Some(32), |to| to.bytes(16, &flags))])] {
            let refused = refusal(&mut sparkplug(&config), at("spBv1.0/g/NDATA/e", payload));
            assert!(refused.starts_with("reject: more than 1500 bytes of JSON"), "{refused}");
        }
    }
    let long = payload(Some(1), [metric(Some(&"/".repeat(300)), None, Some(11), |to| to.bool(14, true))]);
    assert!(refusal(&mut sparkplug("{}"), at("spBv1.0/g/NDATA/e", long)).contains("200 levels"));
}

#[test]
fn births_are_bounded_and_the_longest_unheard_is_forgotten_first() {
    let mut plugin = sparkplug(r#"{"max_births_bytes": 1024}"#);
    let wide = |name: char| {
        payload(Some(0), [metric(Some(&name.to_string().repeat(300)), Some(1), Some(3), |to| to.u64(10, 1))])
    };
    for (edge, name) in [("a", 'a'), ("b", 'b'), ("c", 'c')] {
        let _ = outputs(&mut plugin, at(&format!("spBv1.0/g/NBIRTH/{edge}"), wide(name)));
    }
    let _ = outputs(&mut plugin, at("spBv1.0/g/NDATA/a", data(1)));
    let _ = outputs(&mut plugin, at("spBv1.0/g/NBIRTH/d", wide('d')));
    assert_eq!(state::keys(""), ["plant/g/a", "plant/g/c", "plant/g/d"]);
    let held: usize =
        state::keys("").iter().map(|key| key.len() + state::get(key).map_or(0, |value| value.len())).sum();
    assert!(held <= 1024, "{held}");
    // One that can never fit costs the others nothing, and what was known of it before is not true any more.
    let many = (0..8_u8).map(|at| metric(Some(&char::from(b'a' + at).to_string().repeat(200)), None, Some(3), |_| ()));
    let _ = outputs(&mut plugin, at("spBv1.0/g/NBIRTH/d", payload(Some(0), many)));
    assert_eq!(state::keys(""), ["plant/g/a", "plant/g/c"]);
}

#[test]
fn a_wrong_configuration_is_refused_at_its_place() {
    for (config, at) in [
        (r#"{"topc": "x"}"#, "topc"),
        (r#"{"topic": "a/{x}"}"#, "topic"),
        (r#"{"topic": "a/x{edge}"}"#, "topic"),
        (r#"{"topic": "a/+"}"#, "topic"),
        (r#"{"topic": ""}"#, "topic"),
        (r#"{"output": "payload", "topic": "a/{metric}"}"#, "topic"),
        (r#"{"output": "both"}"#, "output"),
        (r#"{"types": []}"#, "types"),
        (r#"{"types": ["NDATA", "DATA"]}"#, "types[1]"),
        (r#"{"unknown": "guess"}"#, "unknown"),
        (r#"{"rebirth_every": "1m"}"#, "rebirth_every"),
        (r#"{"rebirth_every": "0s", "unknown": "drop"}"#, "rebirth_every"),
        (r#"{"rebirth_to": "plant"}"#, "rebirth_to"),
        (r#"{"max_metrics": 0}"#, "max_metrics"),
        (r#"{"max_outputs": 1}"#, "max_outputs"),
        (r#"{"max_output_bytes": 1}"#, "max_output_bytes"),
        (r#"{"max_births_bytes": 1}"#, "max_births_bytes"),
        (r#"{"write": {}}"#, "write"),
        (r#"{"write": {"topics": []}}"#, "write.topics"),
        (r#"{"write": {"topics": ["a/{metric}/b"]}}"#, "write.topics[0]"),
        (r#"{"write": {"topics": ["{source}/b"]}}"#, "write.topics[0]"),
        (r#"{"write": {"topics": ["a"], "aliases": true}}"#, "write.aliases"),
        (r#"{"write": {"topics": ["a"], "qos": 3}}"#, "write.qos"),
        (r#"{"write": {"topics": ["a"], "dialect": "java"}}"#, "write.dialect"),
        (r#"{"write": {"topics": ["a"], "max_json_bytes": 0}}"#, "write.max_json_bytes"),
    ] {
        assert_eq!(testing::refused::<Sparkplug>(config)[0].at, at, "{config}");
    }
}

#[test]
fn json_is_not_held_beyond_its_bound() {
    let mut json = crate::json::Json::new(crate::json::Style::default(), 100);
    for _ in 0..1000 {
        json.text("0123456789");
        json.u64(u64::MAX);
        json.base64(b"0123456789");
    }
    assert!(json.is_full() && json.len() < 130, "{}", json.len());
}
