//! What four encoders wrote (`tests/golden`) is read as what it was meant to be: a metric's name is its datatype and its
//! value as JSON.

use super::*;

const FILES: [(&str, &str); 4] = [
    ("pysparkplug", include_str!("../../tests/golden/pysparkplug.txt")),
    ("mqtt-spb-wrapper", include_str!("../../tests/golden/mqtt-spb-wrapper.txt")),
    ("tahutils", include_str!("../../tests/golden/tahutils.txt")),
    ("sparkplug-payload", include_str!("../../tests/golden/sparkplug-payload.txt")),
];

pub(super) fn bytes(hex: &str) -> Vec<u8> {
    (0..hex.len()).step_by(2).map(|at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap()).collect()
}

/// The messages of a file.
pub(super) fn messages(file: &str) -> impl Iterator<Item = (String, Vec<u8>)> {
    let lines = file.lines().filter(|line| !line.starts_with('#'));
    lines.map(|line| line.split_once(' ').unwrap()).map(|(topic, hex)| (topic.to_owned(), bytes(hex)))
}

/// The value that a metric of this datatype and value must be read as.
fn is_right(encoder: &str, metric: &Value) -> bool {
    let (datatype, value) = metric["name"].as_str().unwrap().split_once(' ').unwrap();
    let wanted: Value = serde_json::from_str(value).unwrap();
    match (encoder, datatype) {
        // It knows no arrays: it writes datatype 0, and no value.
        ("sparkplug-payload", _) if datatype.ends_with("Array") => {
            metric["datatype"] == "Unknown" && metric.get("value").is_none()
        }
        // Its members have the time of sending.
        (_, "Template") => {
            let mut template = metric["value"].clone();
            template["metrics"][0]["timestamp"] = json!(NOW);
            template == wanted
        }
        _ if wanted.is_null() => metric["is_null"] == true && metric["value"].is_null(),
        // -0.0 is equal to 0, and an integer to no float.
        _ => metric["datatype"] == datatype && format!("{:?}", metric["value"]) == format!("{wanted:?}"),
    }
}

#[test]
fn four_encoders_are_read_rightly() {
    for (encoder, file) in FILES {
        let mut plugin = sparkplug(r#"{"output": "payload", "not_finite": "text"}"#);
        let (mut checked, mut kinds) = (0, Vec::new());
        for (topic, payload) in messages(file) {
            let (_, told) = outputs(&mut plugin, at(&topic, payload)).remove(0);
            for metric in told["metrics"].as_array().unwrap() {
                if metric["name"] == "bdSeq" {
                    continue;
                }
                assert!(is_right(encoder, metric), "{encoder}, {topic}: {metric}");
                checked += 1;
            }
            kinds.push(told["type"].as_str().unwrap().to_owned());
        }
        assert!(checked >= 50, "{encoder}: {checked} metrics");
        assert_eq!(kinds.first().map(String::as_str), Some("NBIRTH"));
        assert_eq!(kinds.last().map(String::as_str), Some("NDEATH"));
    }
}

/// Its birth has the number after that of its will, so that a death is taken for one of another session.
#[test]
fn a_death_by_mqtt_spb_wrapper_is_marked_and_not_lost() {
    let mut plugin = sparkplug("{}");
    let mut told = Value::Null;
    for (topic, payload) in messages(FILES[1].1) {
        told = outputs(&mut plugin, at(&topic, payload)).remove(0).1;
    }
    assert_eq!((&told["online"], &told["bd_seq"], &told["bd_seq_of_birth"]), (&json!(false), &json!(0), &json!(1)));
}
