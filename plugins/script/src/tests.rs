use super::*;
use proptest::prelude::*;
use serde_json::{Value, json};
use tidegate_sdk::{Destination, testing};

fn script(rule: &str) -> Script {
    testing::plugin(&json!({ "script": rule }).to_string())
}

/// What becomes of a message, in words.
fn asked(plugin: &mut Script, message: Message) -> String {
    match plugin.handle("home", message) {
        Ok(Decision::Pass) => "pass".to_owned(),
        Ok(Decision::Drop(reason)) => format!("drop: {reason}"),
        Ok(Decision::Forward(outputs)) => outputs.iter().map(output).collect::<Vec<_>>().join("; "),
        Err(Failure::Reject(why)) => format!("reject: {why}"),
        Err(Failure::Retry(why)) => format!("retry: {why}"),
    }
}

fn output(output: &Output) -> String {
    let mut parts = Vec::new();
    if let Destination::Target(name) = &output.to {
        parts.push(format!("to {name}"));
    }
    parts.extend(output.topic.clone());
    parts.extend(output.payload.as_ref().map(|payload| String::from_utf8_lossy(payload).into_owned()));
    parts.extend(output.qos.map(|qos| format!("{qos:?}")));
    parts.extend(output.retain.map(|retain| format!("retain {retain}")));
    parts.extend(output.user.iter().map(|(name, value)| format!("{name}={value}")));
    parts.extend(output.key.as_ref().map(|key| format!("key {key}")));
    parts.join(" ")
}

fn told(rule: &str, payload: &str) -> String {
    asked(&mut script(rule), Message::new("dev/7/temp", payload).at(1_700_000_000_123))
}

#[test]
fn the_last_expression_is_the_decision() {
    for (rule, right) in [
        ("pass()", "pass"),
        ("drop(\"cold\")", "drop: cold"),
        ("reject(\"no\")", "reject: no"),
        ("retry(\"later\")", "retry: later"),
        ("if message.json.t > 30 { return drop(\"hot\") } pass()", "pass"),
        ("onward().topic(\"x\")", "x"),
        (
            "[target(\"a\").json(#{b: 1, a: [true, (), 'c', 1.50]}), onward().text(\"t\")]",
            r#"to a {"a":[true,null,"c",1.5],"b":1}; t"#,
        ),
        (
            "onward().qos(2).retain(true).user_property(\"n\", \"v\").user_properties(#{m: \"w\"}).key(\"k\")",
            "Qos::ExactlyOnce retain true n=v m=w key k",
        ),
        ("onward().bytes(message.bytes)", r#"{"t": 21}"#),
        ("let j = message.json; j.f = j.t * 1.8 + 32; onward().json(j)", r#"{"f":69.80000000000001,"t":21}"#),
        ("onward().text(to_json(parse_json(\"[1,2]\").map(|x| x * 2)))", "[2,4]"),
    ] {
        assert_eq!(told(rule, r#"{"t": 21}"#), right, "{rule}");
    }
}

#[test]
fn a_script_sees_the_whole_message() {
    let mut message = Message { retain: true, redelivered: true, ..Message::new("a/b", "é").at(1_700_000_000_123) };
    message.properties.user = vec![("site".into(), "x".into()), ("site".into(), "y".into())];
    message.properties.content_type = Some("text".into());
    let rule = "let m = message; onward().json([m.topic, m.levels, m.source, m.qos, m.retain, m.redelivered, m.received_ms, m.text, \
        m.bytes.len(), m.user, m.content_type, m.response_topic])";
    let right = r#"["a/b",["a","b"],"home",1,true,true,1700000000123,"é",2,{"site":"x"},"text",null]"#;
    assert_eq!(asked(&mut script(rule), message), right);
}

#[test]
fn what_is_wrong_is_told_with_line_and_column() {
    for (rule, why) in [
        ("\n  message.json.t.foo()", "line 2, column 18: Function not found: foo (i64)"),
        ("pass(1)", "line 1, column 1: Function not found: pass (i64)"),
        ("throw \"no\"", "line 1, column 1: no"),
        ("fn f(x) {\n  x / 0\n}\nf(1)", "line 2, column 5: Division by zero: 1 / 0"),
        ("onward().qos(3)", "line 1, column 10: QoS is 0, 1 or 2, not 3"),
        ("onward().json(message)", "line 1, column 10: JSON cannot say the message"),
        ("drop(\"\")", "line 1, column 1: a reason must say something"),
        ("onward().user_property(\"n\", 1)", "line 1, column 10: a user property is a text"),
        ("message.text = \"x\"; pass()", "line 1, column 9: No writable property"),
        ("1", "the script ended with i64: end it with `pass()`"),
        ("if false { pass() }", "the script ended with nothing: end it"),
        ("[]", "the script ended with an empty list"),
        ("[1]", "the script ended with a list that holds i64"),
        ("[pass()]", "the script ended with a list that holds a decision"),
    ] {
        let found = told(rule, r#"{"t": 21}"#);
        assert!(found.starts_with(&format!("reject: {why}")), "{rule}: {found}");
    }
    assert_eq!(told("message.json; pass()", "21 C"), "reject: line 1, column 9: not JSON: `C` at byte 3");
    let bytes = Message::new("a", vec![0xff]);
    assert!(asked(&mut script("message.text; pass()"), bytes).contains("it is not UTF-8"));
}

#[test]
fn what_a_script_takes_is_bounded() {
    for (rule, why) in [
        ("loop {}", "Too many operations"),
        ("fn f(x) { f(x + 1) } f(0)", "Stack overflow"),
        ("let s = \"x\"; loop { s += s; }", "Length of string too large"),
        ("let a = [1]; loop { a += a; }", "too large"),
        ("let a = []; for i in 0..100000 { a.push(\"x\".to_upper()); } pass()", "Too many operations"),
        ("for i in 0..20000 { keep(`k${i}`, i); } pass()", "keys would be kept"),
        ("let s = \"\"; s.pad(400000, 'x'); for i in 0..20 { keep(`k${i}`, s); } pass()", "bytes would be kept"),
        ("let a = 1; for i in 0..200 { a = [a]; } onward().json(a)", "deeper than 128"),
    ] {
        let found = told(rule, "{}");
        assert!(found.starts_with("reject: ") && found.contains(why), "{rule}: {found}");
    }
    assert!(told("message.json; pass()", &"[".repeat(5_000)).contains("perhaps deeper than 128 levels"));
    assert!(told("message.json; pass()", &format!("[{}1]", "{},".repeat(50_000))).contains("is too large"));
    assert_eq!(told("pass()", &"[".repeat(5_000)), "pass", "what nobody asks for is not read");
}

#[test]
fn numbers_a_script_does_not_compute_with_stay_what_they_are() {
    for number in [
        "9007199254740993",
        "-9223372036854775808",
        "123456789012345678901234567890",
        "0.12345678901234567890123",
        "1e400",
    ] {
        let payload = format!(r#"{{"a":{number},"b":[{number}]}}"#);
        assert_eq!(told("onward().json(message.json)", &payload), payload);
    }
    assert_eq!(told("onward().json(message.json + 1)", "9007199254740993"), "9007199254740994");
    assert!(told("message.json + 1; pass()", "1e400").contains("a number of too many digits"));
}

#[test]
fn what_is_kept_lasts_unless_the_evaluation_fails() {
    let mut plugin = script(
        "let n = kept(\"n\"); if n == () { n = 0; } keep(\"n\", n + 1); if message.text == \"bad\" { throw \"bad\" } onward().json(n)",
    );
    let mut ask = |payload: &str| asked(&mut plugin, Message::new("a", payload));
    assert_eq!(ask("x"), "0");
    assert_eq!(ask("x"), "1");
    assert!(ask("bad").contains("bad"));
    assert_eq!(ask("x"), "2", "what a message that failed has kept is forgotten");
    let mut plugin =
        script("keep(\"a\", [1, #{b: ()}]); let a = kept(\"a\"); forget(\"a\"); onward().json([a, kept(\"a\")])");
    assert_eq!(asked(&mut plugin, Message::new("a", "")), r#"[[1,{"b":null}],null]"#);
}

#[test]
fn time_is_told_in_utc_or_with_an_offset() {
    let rule = |call: &str| format!("let t = {call}; onward().json([t.iso, t.weekday, t.hour])");
    for (call, right) in [
        ("time(message.received_ms)", r#"["2023-11-14T22:13:20.123Z",2,22]"#),
        ("time(message.received_ms, 120)", r#"["2023-11-15T00:13:20.123+02:00",3,0]"#),
        ("time(0, -90)", r#"["1969-12-31T22:30:00.000-01:30",3,22]"#),
        ("time(951782400000)", r#"["2000-02-29T00:00:00.000Z",2,0]"#),
        ("time(1709251199999)", r#"["2024-02-29T23:59:59.999Z",4,23]"#),
        ("time(253402300799999)", r#"["9999-12-31T23:59:59.999Z",5,23]"#),
    ] {
        assert_eq!(told(&rule(call), "{}"), right, "{call}");
    }
    assert!(told("time(-1); pass()", "").contains("no time"));
}

#[test]
fn one_day_follows_the_other() {
    let mut today = clock::date(0);
    assert_eq!(today, (1970, 1, 1));
    for day_number in 1..50_000 {
        let (year, month, day) = today;
        let is_leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
        let length = match month {
            2 => 28 + i64::from(is_leap),
            4 | 6 | 9 | 11 => 30,
            _ => 31,
        };
        today = match (day < length, month < 12) {
            (true, _) => (year, month, day + 1),
            (false, true) => (year, month + 1, 1),
            (false, false) => (year + 1, 1, 1),
        };
        assert_eq!(clock::date(day_number), today);
    }
}

#[test]
fn a_wrong_configuration_is_refused_at_its_place() {
    for (config, at, why) in [
        (json!({}), "", "missing field `script`"),
        (json!({ "script": " \n" }), "script", "must say what becomes"),
        (json!({ "script": "let x = 1;\nif x > { pass() }" }), "script", "line 2, column 18: Expecting"),
        (json!({ "script": "eval(\"1\")" }), "script", "line 1, column 1: "),
        (json!({ "script": "import \"x\" as x;" }), "script", "line 1, column 1: "),
        (
            json!({ "script": format!("{}1{}", "(".repeat(100), ")".repeat(100)) }),
            "script",
            "line 1, column 24: Expression exceeds",
        ),
        (json!({ "script": " ".repeat(70_000) }), "script", "at most 65536 bytes"),
        (json!({ "script": "pass()", "max_operations": 0 }), "max_operations", "from 1"),
        (json!({ "script": "pass()", "max_ops": 1 }), "max_ops", "unknown field"),
    ] {
        let found = testing::refused::<Script>(&config.to_string());
        assert_eq!(found[0].at, at, "{config}: {}", found[0].message);
        assert!(found[0].message.contains(why), "{config}: {}", found[0].message);
    }
}

fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        "[\"\\\\a-cé\u{1}\u{10ffff}]{0,6}".prop_map(Value::from),
    ];
    leaf.prop_recursive(3, 24, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::btree_map("[a-c\"\\\\]{0,2}", inner, 0..4)
                .prop_map(|map| Value::Object(map.into_iter().collect())),
        ]
    })
}

proptest! {
    #[test]
    fn what_is_read_and_written_is_the_same(value in any_json(), pretty in any::<bool>()) {
        let text = if pretty { serde_json::to_string_pretty(&value) } else { serde_json::to_string(&value) }.unwrap();
        let written = json::written(&json::read(text.as_bytes()).unwrap()).unwrap();
        prop_assert_eq!(serde_json::from_slice::<Value>(&written).unwrap(), value);
    }

    #[test]
    fn nothing_panics(payload in prop::collection::vec(any::<u8>(), 0..60)) {
        let _ = json::read(&payload);
    }
}
