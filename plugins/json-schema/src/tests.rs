use super::*;
use serde_json::json;
use tidegate_sdk::testing;

/// What becomes of a payload, in words.
fn told(schema: Value, payload: &str) -> String {
    decided(json!({ "schema": schema }), payload)
}

fn decided(config: Value, payload: &str) -> String {
    let mut plugin: JsonSchema = testing::plugin(&config.to_string());
    match plugin.handle("home", Message::new("a", payload)) {
        Ok(Decision::Pass) => "pass".to_owned(),
        Ok(Decision::Drop(reason)) => format!("drop: {reason}"),
        Ok(Decision::Forward(outputs)) => format!("{:?} {:?}", outputs[0].to, outputs[0].user),
        Err(failure) => format!("{failure:?}").replace("Reject(\"", "").replace("\")", ""),
    }
}

fn reading() -> Value {
    json!({
        "type": "object",
        "required": ["temp"],
        "additionalProperties": false,
        "properties": {
            "temp": { "type": "number", "minimum": -50, "exclusiveMaximum": 100, "multipleOf": 0.01 },
            "id": { "type": "string", "pattern": "^[a-z]+[0-9]*$", "maxLength": 8 },
            "unit": { "enum": ["C", "F"] },
            "at": { "type": "string", "format": "date-time" },
            "list": { "type": "array", "items": { "type": "integer" }, "uniqueItems": true }
        }
    })
}

#[test]
fn a_payload_is_told_its_first_place_and_keyword() {
    for (payload, right) in [
        (r#"{"temp": 21.07, "id": "a7", "unit": "C", "at": "2026-01-31T10:00:00Z", "list": [1, 2]}"#, "pass"),
        ("[1]", "the payload: type: want object, but got array"),
        ("{}", "the payload: required: missing properties 'temp'"),
        (r#"{"temp": "21"}"#, "/temp: type: want number, but got string"),
        (r#"{"temp": -51}"#, "/temp: minimum -50, but it is -51"),
        (r#"{"temp": 100}"#, "/temp: exclusiveMaximum 100, but it is 100"),
        (r#"{"temp": 0.075}"#, "/temp: multipleOf 0.01, but it is 0.075"),
        (r#"{"temp": 1, "id": "A"}"#, "/id: pattern: 'A' does not match pattern"),
        (r#"{"temp": 1, "id": "aaaaaaaaa"}"#, "/id: maxLength: length must be <=8, but got 9"),
        (r#"{"temp": 1, "unit": "K"}"#, "/unit: enum: value must be one of"),
        (r#"{"temp": 1, "at": "today"}"#, "/at: format:"),
        (r#"{"temp": 1, "list": [1, 2.5]}"#, "/list/1: type: want integer"),
        (r#"{"temp": 1, "list": [1, 1.0]}"#, "/list: uniqueItems: items at 0 and 1 are equal"),
        (r#"{"temp": 1, "x": 1}"#, "the payload: additionalProperties: additionalProperties 'x' not allowed"),
        (r#"{"temp": 1,}"#, "not JSON: `}`, perhaps after a comma too many at byte 11"),
    ] {
        let found = told(reading(), payload);
        assert!(found.starts_with(right), "{payload}: {found}");
    }
}

#[test]
fn numbers_are_compared_as_they_are_written() {
    for (schema, good, bad) in [
        (json!({ "multipleOf": 0.01 }), "0.07", "0.075"),
        (json!({ "multipleOf": 0.1 }), "1e3", "0.25"),
        (json!({ "multipleOf": 3 }), "9007199254740993", "9007199254740994"),
        (json!({ "maximum": 9_007_199_254_740_992_u64 }), "9007199254740992", "9007199254740993"),
        (json!({ "exclusiveMaximum": 9_007_199_254_740_993_u64 }), "9007199254740992", "9007199254740993"),
        (json!({ "exclusiveMinimum": 0.3 }), "0.30000000000000004", "0.3"),
        (json!({ "minimum": u64::MAX }), "18446744073709551615", "18446744073709551614"),
        (json!({ "const": 9_007_199_254_740_993_u64 }), "9007199254740993", "9007199254740992"),
        (json!({ "type": "integer" }), "123456789012345678901234567890", "1.5"),
        (json!({ "type": "integer", "minimum": 1 }), "1.0", "0"),
    ] {
        assert_eq!(told(schema.clone(), good), "pass", "{schema}");
        assert_ne!(told(schema.clone(), bad), "pass", "{schema} of {bad}");
    }
}

#[test]
fn bounds_hold_wherever_a_schema_may_stand() {
    let five = json!({ "maximum": 5 });
    for (schema, payload) in [
        (json!({ "properties": { "a": five } }), r#"{"a": 6}"#),
        (json!({ "items": five }), "[6]"),
        (json!({ "prefixItems": [true, five] }), "[1, 6]"),
        (json!({ "additionalProperties": five }), r#"{"x": 6}"#),
        (json!({ "patternProperties": { "^x": five } }), r#"{"x": 6}"#),
        (json!({ "allOf": [five], "maximum": 9 }), "6"),
        (json!({ "anyOf": [five, { "type": "string" }] }), "6"),
        (json!({ "not": { "minimum": 6 } }), "6"),
        (json!({ "if": true, "then": five }), "6"),
        (json!({ "$defs": { "f": five }, "$ref": "#/$defs/f" }), "6"),
        (
            json!({ "$schema": "http://json-schema.org/draft-07/schema#", "definitions": { "f": five }, "$ref": "#/definitions/f" }),
            "6",
        ),
        (json!({ "dependentSchemas": { "a": { "properties": { "b": five } } } }), r#"{"a": 1, "b": 6}"#),
        // Where no keyword leads there it is a schema all the same, when something refers to it.
        (json!({ "x": { "f": five }, "$ref": "#/x/f" }), "6"),
    ] {
        assert_ne!(told(schema.clone(), payload), "pass", "{schema}");
        assert_eq!(told(schema.clone(), &payload.replace('6', "5")), "pass", "{schema}");
    }
    // A constant that looks like a schema is none.
    assert_eq!(told(json!({ "const": { "maximum": 5 } }), r#"{"maximum": 5}"#), "pass");
    // And a property of that name is one.
    assert_eq!(told(json!({ "properties": { "maximum": { "type": "string" } } }), r#"{"maximum": "x"}"#), "pass");
}

#[test]
fn drafts_differ_where_they_do() {
    let tuple = json!({ "items": [{ "type": "string" }, { "type": "number" }] });
    let config = json!({ "schema": tuple, "draft": "7" });
    assert_eq!(decided(config.clone(), r#"["a", 1]"#), "pass");
    assert!(decided(config, r#"["a", "b"]"#).starts_with("/1: type"));
    let found = testing::refused::<JsonSchema>(&json!({ "schema": tuple }).to_string());
    assert_eq!(found[0].at, "schema.items", "a list of items is of drafts before 2020-12");
}

#[test]
fn what_is_invalid_goes_where_it_is_told() {
    let with = |policy: Value, payload: &str| decided(json!({ "schema": reading(), "on_invalid": policy }), payload);
    assert_eq!(with(json!("drop"), r#"{"temp": 200}"#), "drop: not what the schema allows");
    assert_eq!(with(json!("drop"), "x"), "drop: not JSON");
    assert_eq!(with(json!("drop"), &format!("[{}1]", "{},".repeat(50_000))), "drop: too large");
    let target = json!({ "target": "bad" });
    assert_eq!(
        with(target.clone(), r#"{"temp": 200, "unit": "K\u0000"}"#),
        r#"Target("bad") [("schema-error", "/temp: exclusiveMaximum 100, but it is 200"), ("schema-error", "/unit: enum: value must be one of 'C', 'F'")]"#
    );
    let control = with(target.clone(), r#"{"temp": 1, "id": "\n\uffff"}"#);
    assert!(!control.contains(['\n', '\u{ffff}']), "{control}");
    let texts = json!({ "additionalProperties": { "type": "string" } });
    let config = json!({ "schema": texts, "on_invalid": target });
    let mut plugin: JsonSchema = testing::plugin(&config.to_string());
    let Ok(Decision::Forward(outputs)) = plugin.handle("home", Message::new("a", r#"{"a\nb\uffff": 1}"#)) else {
        panic!("not forwarded")
    };
    assert_eq!(outputs[0].user[0].1, "/a?b?: type: want string, but got number");
    assert!(with(target, "x").starts_with(r#"Target("bad") [("schema-error", "not JSON"#));
    let many = json!({ "items": { "type": "string" } });
    let Ok(Decision::Forward(outputs)) =
        testing::plugin::<JsonSchema>(&json!({ "schema": many, "on_invalid": { "target": "bad" } }).to_string())
            .handle("home", Message::new("a", format!("[{}1]", "1,".repeat(1000))))
    else {
        panic!("not forwarded")
    };
    assert_eq!(outputs[0].user.len(), MAX_TOLD);
}

#[test]
fn deep_payloads_are_rejected() {
    assert!(told(json!(true), &"[".repeat(5_000)).contains("perhaps deeper than 128 levels"));
    assert!(told(json!(true), &format!("{}1{}", r#"{"a":"#.repeat(5_000), "}".repeat(5_000))).contains("deeper"));
    assert!(told(json!(true), "1e400").contains("number out of range"));
}

#[test]
fn patterns_take_time_that_grows_with_the_text() {
    let started = std::time::Instant::now();
    let payload = format!(r#""{}!""#, "a".repeat(20_000));
    assert!(told(json!({ "pattern": "^(a+)+$" }), &payload).contains("pattern"));
    assert!(started.elapsed().as_secs() < 5);
}

#[test]
fn a_wrong_configuration_is_refused_at_its_place() {
    for (config, at, why) in [
        (json!({}), "", "missing field `schema`"),
        (json!({ "schema": 5 }), "schema", "must be a table"),
        (json!({ "schema": "{" }), "schema", "not JSON: EOF"),
        (json!({ "schema": { "type": "nubmer" } }), "schema.type", "enum"),
        (
            json!({ "schema": { "properties": { "a": { "minimum": "5" } } } }),
            "schema.properties.a.minimum",
            "type: want number",
        ),
        (
            json!({ "schema": { "properties": { "a/b": { "pattern": "(?=x)" } } } }),
            "schema.properties.a/b.pattern",
            "format: no regex: look-around",
        ),
        (json!({ "schema": { "pattern": "(" } }), "schema.pattern", ""),
        (
            json!({ "schema": { "items": { "$ref": "https://example.com/a.json#/b" } } }),
            "schema.items.$ref",
            "`https://example.com/a.json` is not in the schema, and nothing is fetched",
        ),
        (
            json!({ "schema": { "allOf": [{ "$ref": "other.json" }] } }),
            "schema.allOf[0].$ref",
            "`other.json` is not in the schema",
        ),
        (json!({ "schema": { "$ref": "#/$defs/none" } }), "schema.$ref", "`#/$defs/none` is not in the schema"),
        (json!({ "schema": { "$ref": "#none" } }), "schema.$ref", "is not in the schema"),
        (json!({ "schema": { "$schema": "https://example.com/mine" } }), "schema.$schema", "nothing is fetched"),
        (json!({ "schema": true, "draft": "5" }), "draft", "unknown variant"),
        (json!({ "schema": true, "on_invalid": { "target": "" } }), "on_invalid.target", "name of a target"),
        (json!({ "schema": true, "on_error": "drop" }), "on_error", "unknown field"),
    ] {
        let found = testing::refused::<JsonSchema>(&config.to_string());
        assert_eq!(found[0].at, at, "{config}: {}", found[0].message);
        assert!(found[0].message.contains(why), "{config}: {}", found[0].message);
    }
    let bounds: Vec<Value> = (0..200).map(|i| json!({ "maximum": i })).collect();
    assert!(
        testing::refused::<JsonSchema>(&json!({ "schema": { "anyOf": bounds } }).to_string())[0]
            .message
            .contains("at most 128")
    );
    let same: Vec<Value> = (0..200).map(|i| json!({ "maximum": i % 5 })).collect();
    assert_eq!(decided(json!({ "schema": { "anyOf": same } }), "3"), "pass");
}

#[test]
fn a_schema_may_be_a_text() {
    let text = reading().to_string();
    assert_eq!(decided(json!({ "schema": text }), r#"{"temp": 21}"#), "pass");
}
