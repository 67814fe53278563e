//! From JSON to Sparkplug.

use super::golden::messages;
use super::*;

const WRITE: &str = r#"{"write": {"births_of": "plant", "topics": ["command/{group}/{edge}/{metric}"]}}"#;
const DEVICE: &str = r#"{"write": {"topics": ["command/{group}/{edge}/{device}/{metric}", "payload/{group}/{type}/{edge}/{device}", "payload/{group}/{type}/{edge}", "all"]}}"#;

fn written(config: &str, topic: &str, json: &str) -> Result<(String, Vec<u8>), String> {
    match sparkplug(config).handle("office", at(topic, json.as_bytes().to_vec())) {
        Ok(decision) => {
            let output = testing::only(decision);
            assert_eq!((output.qos, output.retain), (Some(tidegate_sdk::Qos::AtMostOnce), Some(false)));
            Ok((output.topic.unwrap(), output.payload.unwrap()))
        }
        Err(Failure::Reject(reason)) => Err(reason),
        Err(other) => panic!("{other:?}"),
    }
}

#[test]
fn a_value_alone_is_a_command_by_what_the_birth_has_said() {
    let _ = outputs(&mut sparkplug("{}"), at("spBv1.0/g/NBIRTH/e", birth(0)));
    let (topic, command) = written(WRITE, "command/g/e/t", "-300").unwrap();
    assert_eq!(topic, "spBv1.0/g/NCMD/e");
    let mut metric = metric(Some("t"), None, None, |to| {
        to.u64(3, NOW);
        to.u64(4, 2);
        to.u64(10, 65236);
    });
    assert_eq!(command, payload(None, [std::mem::replace(&mut metric, wire::Message::new())]));
    let by_alias = WRITE.replace(r#""topics""#, r#""aliases": true, "topics""#);
    let (_, command) = written(&by_alias, "command/g/e/t", r#"{"value": -300}"#).unwrap();
    let told = outputs(&mut sparkplug(ALL), at("spBv1.0/g/NCMD/e", command));
    assert_eq!((&told[0].1["name"], &told[0].1["value"]), (&json!("t"), &json!(-300)));
}

#[test]
fn what_cannot_be_written_is_refused_in_words() {
    let _ = outputs(&mut sparkplug("{}"), at("spBv1.0/g/NBIRTH/e", birth(0)));
    for (json, reason) in [
        ("40000", "metric `t`: 40000 is no Int16, which is from -32768 to 32767"),
        ("\"on\"", "metric `t`: the text \"on\" is no Int16"),
        ("1.5", "metric `t`: 1.5 is no Int16"),
        ("NaN", "not JSON: `NaN` at byte 0"),
        ("", "not JSON: an empty payload"),
        (r#"{"value": 1, "edge": "f"}"#, "`edge` is `e` by the topic, `f` by the JSON"),
        (r#"{"value": 1, "datatype": "Integer"}"#, "the text \"Integer\" is no datatype of Sparkplug"),
        (r#"{"value": 1, "name": "u"}"#, "the datatype of metric `u` is not known"),
        (r#"{"value": 1, "timestamp": "now"}"#, "`timestamp` is a whole number from 0"),
        (r#"{"value": 1, "type": "DCMD"}"#, "no `device`"),
        (r#"{"value": 1, "type": "DATA"}"#, "`type` is `DATA`, which Sparkplug has not"),
        (r#"{"metrics": [{"name": "t", "value": 1}]}"#, "the topic names one metric, and the JSON has `metrics`"),
        (r#"{"value": "AA", "datatype": "Bytes"}"#, "Bytes that is no base64"),
        (r#"{"value": {"columns": [], "types": [], "rows": [[1]]}, "datatype": "DataSet"}"#, "a row of 1 cells"),
        (r#"{"value": 1, "datatype": "PropertySet"}"#, "a value of datatype PropertySet cannot be written"),
        (r#"{"value": 1e39, "datatype": "Float"}"#, "1e+39 is no Float"),
        (r#"{"value": ["a\u0000"], "datatype": "StringArray"}"#, "a text with a NUL"),
    ] {
        let refused = written(WRITE, "command/g/e/t", json).unwrap_err();
        assert!(refused.contains(reason), "{json}: {refused}");
    }
    let no_level = written(DEVICE, "all", r#"{"group": "g", "edge": "a/b", "name": "x", "value": 1, "datatype": 3}"#);
    assert_eq!(no_level.unwrap_err(), "`edge` is \"a/b\", which is no level of a topic");
    let small = WRITE.replace(r#""topics""#, r#""max_json_bytes": 3, "topics""#);
    assert!(written(&small, "command/g/e/t", "1234").unwrap_err().starts_with("4 bytes of JSON, more than 3"));
    assert_eq!(sparkplug(WRITE).handle("office", at("other", b"1".to_vec())), Ok(Decision::Pass));
}

#[test]
fn data_is_numbered_for_each_edge_node() {
    let config = DEVICE.replace(r#""topics""#, r#""kind": "data", "topics""#);
    let mut plugin = sparkplug(&config);
    let mut seq = |edge: &str, json: &str| {
        let output = testing::only(plugin.handle("office", at(&format!("command/g/{edge}/d/x"), json.into())).unwrap());
        assert_eq!(output.topic.unwrap(), format!("spBv1.0/g/DDATA/{edge}/d"));
        crate::payload::Payload::parse(&output.payload.unwrap(), 1).unwrap().seq
    };
    let value = r#"{"value": 1, "datatype": "Int32"}"#;
    assert_eq!([seq("e", value), seq("e", value), seq("f", value)], [Some(0), Some(1), Some(0)]);
    assert_eq!(seq("e", r#"{"value": 1, "datatype": "Int32", "seq": 255}"#), Some(255));
    assert_eq!(seq("e", value), Some(0));
}

#[test]
fn properties_of_json_do_not_stay() {
    let properties =
        Properties { content_type: Some("application/json".into()), payload_is_utf8: true, ..Properties::none() };
    let json = br#"{"value": 1, "datatype": "Int32"}"#.to_vec();
    let message = Message { properties, ..at("command/g/e/d/x", json) };
    let output = testing::only(sparkplug(DEVICE).handle("office", message).unwrap());
    assert_eq!(output.properties, Some(Box::new(Properties::none())));
}

/// What it makes of Sparkplug it makes Sparkplug of again, to the byte but for what JSON has not.
#[test]
fn what_was_read_can_be_written_again() {
    let config = r#"{"output": "payload", "not_finite": "text", "topic": "payload/{group}/{type}/{edge}/{device}"}"#;
    let mut plugin = sparkplug(config);
    for (topic, payload) in messages(include_str!("../../tests/golden/pysparkplug.txt")) {
        let Ok(Decision::Forward(mut read)) = plugin.handle("plant", at(&topic, payload.clone())) else {
            panic!("{topic}")
        };
        let read = read.remove(0);
        let json = String::from_utf8(read.payload.unwrap()).unwrap();
        let (to, again) = written(DEVICE, &read.topic.unwrap(), &json).unwrap();
        assert_eq!(to, topic);
        let first: Value = serde_json::from_str(&json).unwrap();
        let Ok(Decision::Forward(mut read)) = plugin.handle("again", at(&topic, again.clone())) else {
            panic!("{topic}")
        };
        let mut second: Value = serde_json::from_slice(&read.remove(0).payload.unwrap()).unwrap();
        if let Some(second) = second.as_object_mut() {
            second.remove("seq_expected");
        }
        assert_eq!(first, second);
        if topic.contains("NBIRTH") {
            let without_aliases = again.len();
            assert!(without_aliases < payload.len());
        }
    }
}

/// `tests/peers.sh` shows these to four readers. To write them anew: `TIDEGATE_WRITE_GOLDEN=1 cargo test -p sparkplug`.
#[test]
fn what_the_readers_were_shown_is_what_is_written() {
    let cases: Vec<(String, Value)> = serde_json::from_str(include_str!("../../tests/peers/cases.json")).unwrap();
    for (dialect, file) in [
        ("python", include_str!("../../tests/golden/written-python.txt")),
        ("javascript", include_str!("../../tests/golden/written-javascript.txt")),
    ] {
        let config = DEVICE.replace(r#""topics""#, &format!(r#""dialect": "{dialect}", "topics""#));
        let mut lines = format!("# Written by this plugin, dialect {dialect}: see tests/peers.sh\n");
        for (datatype, value) in &cases {
            let name = format!("{datatype} {value}");
            let json =
                json!({"group": "plant", "edge": "tidegate", "name": name, "datatype": datatype, "value": value});
            let (topic, command) = written(&config, "all", &json.to_string()).unwrap();
            let hex: String = command.iter().map(|byte| format!("{byte:02x}")).collect();
            lines.push_str(&format!("{topic} {hex}\n"));
        }
        if std::env::var_os("TIDEGATE_WRITE_GOLDEN").is_some() {
            std::fs::write(format!("{}/tests/golden/written-{dialect}.txt", env!("CARGO_MANIFEST_DIR")), &lines)
                .unwrap();
        } else {
            assert_eq!(lines, file);
        }
    }
}

proptest! {
    #[test]
    fn whole_numbers_come_back_in_every_dialect(number in any::<i64>(), datatype in 1..9_u32, javascript in any::<bool>()) {
        let bits = [8, 16, 32, 64, 8, 16, 32, 64][datatype as usize - 1];
        let wanted = match (datatype <= 4, bits) {
            (true, 8) => json!(number as i8),
            (true, 16) => json!(number as i16),
            (true, 32) => json!(number as i32),
            (true, _) => json!(number),
            (false, 8) => json!(number as u8),
            (false, 16) => json!(number as u16),
            (false, 32) => json!(number as u32),
            (false, _) => json!(number as u64),
        };
        let dialect = if javascript { "javascript" } else { "python" };
        let config = DEVICE.replace(r#""topics""#, &format!(r#""dialect": "{dialect}", "topics""#));
        let json = json!({"value": wanted, "datatype": datatype});
        let (topic, payload) = written(&config, "command/g/e/d/x", &json.to_string()).unwrap();
        let told = outputs(&mut sparkplug(ALL), at(&topic, payload));
        prop_assert_eq!(&told[0].1["value"], &wanted);
    }

    #[test]
    fn no_json_panics(json in "[\\[{\"a-e:,0-9.}\\]]{0,40}", datatype in 0..36_u32) {
        let _ = written(DEVICE, "command/g/e/d/x", &json);
        let _ = written(DEVICE, "command/g/e/d/x", &format!(r#"{{"value": {json}, "datatype": {datatype}}}"#));
    }
}
