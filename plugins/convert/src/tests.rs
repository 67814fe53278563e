use super::*;
use proptest::prelude::*;
use serde_json::{Value, json};
use tidegate_sdk::testing;

fn convert(config: &str, payload: &str) -> String {
    let mut plugin: Convert = testing::plugin(config);
    match plugin.handle("home", Message::new("a", payload)) {
        Ok(Decision::Pass) => payload.to_owned(),
        Ok(Decision::Drop(reason)) => format!("drop: {reason}"),
        Ok(forward) => String::from_utf8(testing::only(forward).payload.unwrap()).unwrap(),
        Err(failure) => format!("{failure:?}"),
    }
}

const CELSIUS: &str = r#"{"field": "temp", "from": "fahrenheit", "to": "celsius", "round": 2}"#;

#[test]
fn a_unit_is_converted_in_place() {
    assert_eq!(convert(CELSIUS, r#"{ "id": 7, "temp" : 72.5, "x":[1] }"#), r#"{ "id": 7, "temp" : 22.5, "x":[1] }"#);
    assert_eq!(convert(CELSIUS, r#"{"temp":71.3}"#), r#"{"temp":21.83}"#);
    assert_eq!(convert(CELSIUS, r#"{"temp":3.2e1}"#), r#"{"temp":0}"#);
    assert_eq!(convert(CELSIUS, r#"{"temp":-40}"#), r#"{"temp":-40}"#);
}

#[test]
fn a_field_is_renamed_where_it_stands() {
    let config = r#"{"field": "a.b", "rename": "c\"", "scale": 2, "offset": -1}"#;
    assert_eq!(convert(config, r#"{"a":{"b":3}}"#), r#"{"a":{"c\"":5}}"#);
    assert_eq!(convert(r#"{"field": "a", "rename": "b"}"#, r#"{"a":[null]}"#), r#"{"b":[null]}"#);
    let taken = r#"{"a":1,"b":2}"#;
    assert_eq!(convert(r#"{"field": "a", "rename": "b"}"#, taken), taken);
    assert_eq!(convert(r#"{"field": "a", "rename": "b", "on_missing": "drop"}"#, taken), "drop: the new name is taken");
}

#[test]
fn several_rules_make_one_output() {
    let config = r#"{"rules": [
        {"field": "out.wind", "from": "metre-per-second", "to": "kilometre-per-hour", "rename": "wind_kmh"},
        {"field": "temp", "scale": 0.1, "round": 1},
        {"field": "readings.1", "offset": 1, "round": 0}
    ]}"#;
    let payload = r#"{"temp":215,"readings":[1,2,3],"out":{"wind":10,"x":"\"wind\":1"}}"#;
    let expected = r#"{"temp":21.5,"readings":[1,3,3],"out":{"wind_kmh":36,"x":"\"wind\":1"}}"#;
    assert_eq!(convert(config, payload), expected);
}

#[test]
fn what_does_not_fit_goes_where_it_is_told() {
    for (payload, reason) in [
        (r#"{"other":1}"#, "no such field"),
        (r#"{"temp":"72.5"}"#, "not a number"),
        (r#"{"temp":null}"#, "not a number"),
        (r#"{"temp":1e999}"#, "a number out of range"),
        (r#"{"temp":72.5"#, "not JSON: it ends at byte 12, too soon"),
        ("21.5 C", "not JSON: `C` at byte 5"),
        ("", "not JSON: an empty payload"),
        (r#"{"temp":NaN}"#, "not JSON: `NaN` at byte 8"),
        ("{\"temp\":1}\0", "not JSON: a NUL at byte 10"),
        ("\u{feff}{\"temp\":1}", "not JSON: a byte order mark at byte 0"),
        (r#"{'temp':1}"#, "not JSON: a single quote at byte 1"),
        (r#"{"temp":1,}"#, "not JSON: `}`, perhaps after a comma too many at byte 10"),
    ] {
        let word = reason.split(':').next().unwrap();
        let with =
            |on_missing: &str| convert(&CELSIUS.replace('}', &format!(r#", "on_missing": "{on_missing}"}}"#)), payload);
        assert_eq!(convert(CELSIUS, payload), payload);
        assert_eq!(with("drop"), format!("drop: {word}"), "a reason to count by has no place");
        assert_eq!(with("reject"), format!("Reject({reason:?})"));
    }
}

#[test]
fn of_two_fields_with_one_name_the_last_is_converted() {
    assert_eq!(convert(CELSIUS, r#"{"temp":32,"temp":212}"#), r#"{"temp":32,"temp":100}"#);
}

#[test]
fn a_wrong_configuration_is_refused_at_its_place() {
    for (config, at) in [
        ("{}", ""),
        (r#"{"field": "temp"}"#, "field"),
        (r#"{"from": "celsius"}"#, "field"),
        (r#"{"field": "temp", "from": "celsius"}"#, "to"),
        (r#"{"field": "temp", "from": "celsius", "to": "bar"}"#, "to"),
        (r#"{"field": "temp", "from": "celcius", "to": "kelvin"}"#, "from"),
        (r#"{"field": "temp", "round": 99}"#, "round"),
        (r#"{"field": "a..b", "round": 1}"#, "field"),
        (r#"{"field": "a", "round": 1, "rules": [{"field": "b", "round": 1}]}"#, "rules"),
        (r#"{"rules": [{"field": "a", "round": 1}, {"field": "a.b", "round": 1}]}"#, "rules[1].field"),
        (r#"{"rules": [{"field": "a", "rename": "c"}, {"field": "b", "rename": "c"}]}"#, "rules[1].rename"),
        (r#"{"rules": [{"field": "a", "round": 1}, {"field": "b", "scale": "2"}]}"#, "rules[1].scale"),
        (r#"{"field": "a", "scael": 2}"#, "scael"),
    ] {
        assert_eq!(testing::refused::<Convert>(config)[0].at, at, "{config}");
    }
}

/// What a rule makes of `{"t": <number>}`.
fn number(rule: &str, number: &str) -> String {
    let whole = convert(&format!(r#"{{"field": "t", {rule}}}"#), &format!(r#"{{"t": {number}}}"#));
    whole.trim_start_matches(r#"{"t": "#).trim_end_matches('}').to_owned()
}

#[test]
fn numbers_are_the_decimal_texts_they_are() {
    for (rule, given, right) in [
        (r#""round": 2"#, "21.0", "21"),
        (r#""round": 2"#, "-0.001", "0"),
        (r#""round": 2"#, "-0.05", "-0.05"),
        (r#""round": 0"#, "1234.5", "1235"),
        (r#""round": 15"#, "4.4", "4.4"),
        (r#""round": 12"#, "4096.1", "4096.1"),
        (r#""round": 2"#, "1.005", "1.01"),
        (r#""scale": 0.001, "round": 2"#, "1025", "1.03"),
        (r#""scale": 10"#, "21", "210"),
        (r#""round": 0"#, "9007199254740993", "9007199254740993"),
        (r#""round": 0"#, "1e16", "10000000000000000"),
        (r#""scale": 1"#, "12345678901234567890", "12345678901234567890"),
        (r#""from": "kelvin", "to": "celsius""#, "294.25", "21.1"),
        (r#""from": "fahrenheit", "to": "celsius""#, "71.3", "21.833333333333332"),
        (r#""from": "fahrenheit", "to": "celsius""#, "1e308", "5.555555555555556e+307"),
        (r#""from": "horsepower", "to": "watt""#, "1", "745.69987158227022"),
        (r#""round": 2"#, "1e300", "1e300"),
        // More digits than are held are still a number.
        (r#""scale": 2, "round": 3"#, "0.1234567890123456789012345678901234567890", "0.247"),
    ] {
        assert_eq!(number(rule, given), right, "{rule} of {given}");
    }
}

fn any_payload() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i32>().prop_map(Value::from),
        (-1e6..1e6).prop_map(Value::from),
        "[\"\\\\a-cé]{0,6}".prop_map(Value::from),
    ];
    leaf.prop_recursive(3, 24, 4, |inner| {
        let members = prop::collection::vec(("[a-c]|\"a|\\\\", inner.clone()), 0..4);
        prop_oneof![
            prop::collection::vec(inner, 0..4).prop_map(Value::from),
            members.prop_map(|members| Value::Object(members.into_iter().collect())),
        ]
    })
}

/// The same by a tree: what a plugin with serde_json would do.
fn by_tree(mut tree: Value, keys: &[&str]) -> Value {
    let mut at = Some(&mut tree);
    for key in keys {
        at = at.and_then(|value| value.as_object_mut()?.get_mut(*key));
    }
    if let Some(number) = at.as_ref().and_then(|value| value.as_f64()) {
        *at.unwrap() = json!(number * 2.0 + 1.0);
    }
    tree
}

fn same(a: &Value, b: &Value) -> bool {
    match (a, b) {
        (Value::Number(a), Value::Number(b)) => {
            let (a, b) = (a.as_f64().unwrap(), b.as_f64().unwrap());
            (a - b).abs() <= a.abs() * 1e-14 // serde_json reads floats a digit less exact
        }
        (Value::Array(a), Value::Array(b)) => a.len() == b.len() && a.iter().zip(b).all(|(a, b)| same(a, b)),
        (Value::Object(a), Value::Object(b)) => {
            a.len() == b.len() && a.iter().all(|(key, a)| b.get(key).is_some_and(|b| same(a, b)))
        }
        (a, b) => a == b,
    }
}

proptest! {
    #[test]
    fn a_splice_is_what_a_tree_would_do(tree in any_payload(), pretty in any::<bool>()) {
        let payload = if pretty { serde_json::to_string_pretty(&tree) } else { serde_json::to_string(&tree) }.unwrap();
        let config = r#"{"rules": [{"field": "a.b", "scale": 2, "offset": 1}, {"field": "c", "scale": 2, "offset": 1}]}"#;
        let spliced: Value = serde_json::from_str(&convert(config, &payload)).unwrap();
        let expected = by_tree(by_tree(tree, &["a", "b"]), &["c"]);
        prop_assert!(same(&spliced, &expected), "{spliced} against {expected}");
    }

    #[test]
    fn a_rounded_number_reads_back_rounded(given in -1e12..1e12_f64, decimals in 0..4_u32) {
        let text = number(&format!(r#""round": {decimals}"#), &format!("{given}"));
        let value: f64 = text.parse().unwrap();
        prop_assert!((value - given).abs() <= 0.5000001 * 10_f64.powi(-(decimals as i32)) + given.abs() * 1e-15, "{text}");
        prop_assert!(serde_json::from_str::<Value>(&text).is_ok());
        prop_assert!(text.split_once('.').is_none_or(|(_, fraction)| fraction.len() <= decimals as usize));
    }

    #[test]
    fn nothing_panics(payload in prop::collection::vec(any::<u8>(), 0..60)) {
        let mut plugin: Convert = testing::plugin(CELSIUS);
        let _ = plugin.handle("home", Message::new("a", payload));
    }
}
