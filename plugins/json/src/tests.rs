use super::*;
use proptest::prelude::*;
use serde_json::{Value, json};
use tidegate_sdk::{Qos, testing};

/// What becomes of a payload, in words: its new text, or what was decided.
fn told(steps: &str, payload: &str) -> String {
    decided(&format!(r#"{{"steps": [{steps}]}}"#), Message::new("dev/7/temp", payload))
}

fn decided(config: &str, message: Message) -> String {
    let mut plugin: Json = testing::plugin(config);
    match plugin.handle("home", message) {
        Ok(Decision::Pass) => "pass".to_owned(),
        Ok(Decision::Drop(reason)) => format!("drop: {reason}"),
        Ok(Decision::Forward(outputs)) => {
            let text = |output: Output| {
                let topic = output.topic.map_or_else(String::new, |topic| format!("{topic} "));
                topic
                    + &output
                        .payload
                        .map_or_else(|| "as it came".to_owned(), |payload| String::from_utf8(payload).unwrap())
            };
            outputs.into_iter().map(text).collect::<Vec<_>>().join("; ")
        }
        Err(Failure::Reject(why)) => format!("reject: {why}"),
        Err(Failure::Retry(why)) => format!("retry: {why}"),
    }
}

#[test]
fn each_step_does_what_it_says() {
    for (step, payload, right) in [
        (r#"{"pick": ["b.c", "a"]}"#, r#"{"a":1,"b":{"c":2,"d":3},"e":4}"#, r#"{"b":{"c":2},"a":1}"#),
        (r#"{"pick": ["none"]}"#, r#"{"a":1}"#, "{}"),
        (r#"{"remove": ["a", "b.1"]}"#, r#"{"a":1,"b":[1,2,3]}"#, r#"{"b":[1,3]}"#),
        (r#"{"remove": [["a.b"]]}"#, r#"{"a.b":1,"a":{"b":2}}"#, r#"{"a":{"b":2}}"#),
        (r#"{"remove": ["x"]}"#, r#"{"a": 1}"#, "pass"),
        (r#"{"rename": {"a": "b", "b": "a"}}"#, r#"{"a":1,"b":2}"#, r#"{"b":1,"a":2}"#),
        (r#"{"rename": {"a": "x.y"}}"#, r#"{"a":1}"#, r#"{"x":{"y":1}}"#),
        (r#"{"set": {"site": "north", "p.x": 1}}"#, r#"{"p":{"y":2}}"#, r#"{"p":{"y":2,"x":1},"site":"north"}"#),
        (r#"{"default": {"unit": "C"}}"#, r#"{"t":1}"#, r#"{"t":1,"unit":"C"}"#),
        (r#"{"default": {"unit": "C"}}"#, r#"{"unit":null}"#, "pass"),
        (r#"{"merge": {"a": {"x": 1}, "b": [1]}}"#, r#"{"a":{"y":2},"b":{}}"#, r#"{"a":{"y":2,"x":1},"b":[1]}"#),
        (
            r#"{"flatten": "."}"#,
            r#"{"a":{"b":1,"c":[2,{"d":3}]},"e":{},"f":[]}"#,
            r#"{"a.b":1,"a.c.0":2,"a.c.1.d":3,"e":{},"f":[]}"#,
        ),
        (r#"{"unflatten": "_"}"#, r#"{"a_b":1,"a_c_0":2,"a_c_1":3}"#, r#"{"a":{"b":1,"c":[2,3]}}"#),
        (r#"{"compute": {"t": ".t * 1.8 + 32", "old": ".t"}}"#, r#"{"t":20}"#, r#"{"t":68,"old":20}"#),
        (r#"{"compute": {"t": "empty"}}"#, r#"{"t":20}"#, "pass"),
        (
            r#"{"template": {"id": "${.d.id}", "say": "T=${.t} ${ {a: .t} } $${x}", "n": [1, true]}}"#,
            r#"{"d":{"id":7},"t":2.50}"#,
            r#"{"id":7,"n":[1,true],"say":"T=2.50 {\"a\":2.50} ${x}"}"#,
        ),
        (r#"{"jq": ".readings[] | {v: .}"}"#, r#"{"readings":[1,2]}"#, r#"{"v":1}; {"v":2}"#),
        (r#"{"jq": "empty"}"#, "{}", "drop: no result"),
        (r#"{"drop_if": ".t > 30"}"#, r#"{"t":31}"#, "drop: by drop_if"),
        (r#"{"drop_if": ".t > 30"}"#, r#"{"t": 3}"#, "pass"),
        (r#"{"drop_unless": {"when": ".ok", "reason": "not ok"}}"#, r#"{"ok":null}"#, "drop: not ok"),
        (r#"{"topic": "\"x/\" + .id"}"#, r#"{"id": "a"}"#, "x/a as it came"),
        (r#"{"topic": "[\"out\"] + $message.levels[1:] | join(\"/\")"}"#, "1", "out/7/temp as it came"),
    ] {
        assert_eq!(told(step, payload), right, "{step} of {payload}");
    }
}

#[test]
fn steps_run_in_the_order_they_are_written() {
    let steps = r#"{"rename": {"temp": "t"}}, {"compute": {"f": ".t * 1.8 + 32"}}, {"drop_unless": ".f > 50"}, {"pick": ["f"]}"#;
    assert_eq!(told(steps, r#"{"temp": 20}"#), r#"{"f":68}"#);
    assert_eq!(told(steps, r#"{"temp": 2}"#), "drop: by drop_unless");
    // Those after one with several results are done for each, and what is dropped of them is only dropped of them.
    let steps = r#"{"jq": ".[]"}, {"drop_if": ". == 2"}, {"topic": "\"n/\\(.)\""}"#;
    assert_eq!(told(steps, "[1,2,3]"), "n/1 1; n/3 3");
    assert_eq!(told(steps, "[2]"), "drop: by drop_if");
}

#[test]
fn numbers_that_are_not_calculated_with_stay_as_they_are_written() {
    for number in [
        "9007199254740993",
        "123456789012345678901234567890",
        "1.10",
        "1e400",
        "-0.0",
        "0.1234567890123456789",
        "2E+3",
        "4294967296",
        "-2147483649",
    ] {
        let payload = format!(r#"{{"a":{number},"b":[{number}]}}"#);
        for step in [
            r#"{"set": {"c": 1}}, {"remove": ["c"]}"#,
            r#"{"jq": "{a, b}"}"#,
            r#"{"jq": "."}"#,
            r#"{"flatten": "/"}, {"unflatten": "/"}"#,
            r#"{"template": {"a": "${.a}", "b": "${.b}"}}"#,
        ] {
            assert_eq!(told(step, &payload), payload, "{step}");
        }
    }
    assert_eq!(told(r#"{"jq": ". + 1"}"#, "9007199254740993"), "9007199254740994");
    assert_eq!(told(r#"{"jq": ".n > 9007199254740992"}"#, r#"{"n":9007199254740993}"#), "true");
    assert_eq!(told(r#"{"set": {"n": 9007199254740993}}"#, "{}"), r#"{"n":9007199254740993}"#);
}

#[test]
fn what_is_not_json_goes_where_it_is_told() {
    let with = |policy: &str, payload: &str| {
        let config = format!(r#"{{"steps": [{{"set": {{"a": 1}}}}], "on_not_json": "{policy}"}}"#);
        decided(&config, Message::new("a", payload))
    };
    assert_eq!(told(r#"{"set": {"a": 1}}"#, "21 C"), "reject: not JSON: `C` at byte 3");
    assert_eq!(with("drop", "21 C"), "drop: not JSON");
    assert_eq!(with("pass", "21 C"), "pass");
    assert_eq!(with("reject", r#"{"a": "\ud800"}"#).split(':').next(), Some("reject"));
    // What jq would read beside JSON is none.
    for payload in ["NaN", "{1:2}", "# c\n1", "1 2", "+1", "b\"x\"", "01"] {
        assert!(with("reject", payload).starts_with("reject: not JSON"), "{payload}");
    }
}

#[test]
fn deep_and_huge_payloads_are_rejected() {
    for step in [r#"{"jq": "."}"#, r#"{"flatten": "."}"#, r#"{"merge": {}}"#] {
        assert!(told(step, &"[".repeat(5_000)).starts_with("reject: not JSON"));
        assert!(
            told(step, &format!("{}1{}", r#"{"a":"#.repeat(5_000), "}".repeat(5_000))).starts_with("reject: not JSON")
        );
        let many = format!("[{}1]", "[],".repeat(200_000));
        assert!(told(step, &many).contains("is too large"), "{}", told(step, &many));
        assert!(told(step, &format!("[{}]", "9".repeat(100_000))).contains("digits"));
    }
    assert!(
        told(r#"{"jq": "length"}"#, &format!(r#""{}""#, ",".repeat(500_000))) == "500000",
        "a long text is not many values"
    );
    let deep = format!("{}1{}", "[".repeat(5_000), "]".repeat(5_000));
    let payload = serde_json::to_string(&json!({ "text": deep })).unwrap();
    assert!(told(r#"{"jq": ".text | fromjson"}"#, &payload).starts_with("reject: steps[0].jq: not JSON"));
    let nested = r#"{"jq": "reduce range(200) as $i (1; [.])"}"#;
    assert_eq!(told(nested, "1"), "reject: the new payload: deeper than 128 levels");
    let keys =
        format!("{}[{}1]{}", format!(r#"{{"{}":"#, "k".repeat(400)).repeat(100), "1,".repeat(900), "}".repeat(100));
    assert!(told(r#"{"flatten": "."}"#, &keys).contains("keys of more than"));
    let key = format!(r#"{{"{}":1}}"#, ".".repeat(500));
    assert!(told(r#"{"unflatten": "."}"#, &key).contains("deeper than 128"));
}

#[test]
fn what_does_not_fit_says_which_step_and_why() {
    for (steps, payload, why) in [
        (r#"{"pick": ["a"]}, {"jq": ".a + 1"}"#, r#"{"a":{}}"#, "steps[1].jq: cannot calculate {} + 1"),
        (r#"{"pick": ["a"]}"#, "[1]", "steps[0].pick: the payload is an array, no object"),
        (r#"{"set": {"a.b": 1}}"#, r#"{"a":5}"#, "steps[0].set: `a` is a number, no object"),
        (r#"{"set": {"a.5": 1}}"#, r#"{"a":[1]}"#, "steps[0].set: `a` is an array of 1, without `5`"),
        (r#"{"compute": {"x": ".a | error(\"no\")"}}"#, "{}", "steps[0].compute: `x`: no"),
        (r#"{"topic": ".id"}"#, r#"{"id":5}"#, "steps[0].topic: a topic is a text, not a number"),
        (r#"{"topic": "\"a/+\""}"#, "1", "steps[0].topic: `a/+` is no topic"),
        (r#"{"flatten": "."}"#, r#"{"a.b":1,"a":{"b":2}}"#, "steps[0].flatten: two fields become `a.b`"),
        (r#"{"unflatten": "."}"#, r#"{"a":1,"a.b":2}"#, "steps[0].unflatten: `a` would be a value and hold others"),
        (r#"{"unflatten": "."}"#, r#"{"a.b":2,"a":1}"#, "steps[0].unflatten: `a` would be a value and hold others"),
        (r#"{"jq": "nan"}"#, "1", "the new payload: NaN is no number of JSON"),
        (r#"{"jq": "{(1):2} "}"#, "1", "the new payload: a key that is a number"),
        (r#"{"jq": "range(100)"}"#, "1", "more than 64 messages of one (`max_outputs`)"),
    ] {
        assert_eq!(told(steps, payload), format!("reject: {why}"), "{steps}");
        let config = |policy: &str| format!(r#"{{"steps": [{steps}], "on_error": "{policy}"}}"#);
        assert_eq!(decided(&config("drop"), Message::new("a", payload)), "drop: a step does not fit");
        assert_eq!(decided(&config("pass"), Message::new("a", payload)), "pass");
    }
}

#[test]
fn expressions_see_the_message() {
    let mut message =
        Message { retain: true, qos: Qos::ExactlyOnce, ..Message::new("a/b", "{}").at(1_700_000_000_123) };
    message.properties.user = vec![("site".into(), "x".into()), ("site".into(), "y".into())];
    message.properties.content_type = Some("json".into());
    let config = r#"{"steps": [{"jq": "$message"}]}"#;
    let right = r#"{"topic":"a/b","levels":["a","b"],"source":"home","qos":2,"retain":true,"received_ms":1700000000123,"content_type":"json","response_topic":null,"user":{"site":"x"}}"#;
    assert_eq!(decided(config, message), right);
}

#[test]
fn a_wrong_configuration_is_refused_at_its_place() {
    for (config, at, why) in [
        ("{}", "", "missing field `steps`"),
        (r#"{"steps": []}"#, "steps", "nothing to do"),
        (r#"{"steps": [{"pikc": ["a"]}]}"#, "steps[0]", "unknown variant `pikc`"),
        (r#"{"steps": [{"pick": ["a"]}, {"pick": ["a..b"]}]}"#, "steps[1].pick[0]", "none of them empty"),
        (r#"{"steps": [{"pick": []}]}"#, "steps[0].pick", "names no field"),
        (r#"{"steps": [{"rename": {"a": "b", "a.c": "d"}}]}"#, "steps[0].rename", "about the same field"),
        (r#"{"steps": [{"rename": {"a": "b", "c": "b"}}]}"#, "steps[0].rename", "name the same place"),
        (r#"{"steps": [{"flatten": ""}]}"#, "steps[0].flatten", "the text between keys"),
        (r#"{"steps": [{"jq": ".a + "}]}"#, "steps[0].jq", "expected term, but the expression ends"),
        (
            r#"{"steps": [{"jq": ".a | fooo"}]}"#,
            "steps[0].jq",
            "no function `fooo` is known here, at character 6 `fooo`",
        ),
        (r#"{"steps": [{"jq": "(.a"}]}"#, "steps[0].jq", "`(` is not closed, at character 1 `(.a`"),
        (r#"{"steps": [{"jq": "$x"}]}"#, "steps[0].jq", "no variable `$x` is known here"),
        (r#"{"steps": [{"jq": "import \"a\" as a; 1"}]}"#, "steps[0].jq", "modules cannot be imported"),
        (r#"{"steps": [{"compute": {"b.c": "]"}}]}"#, "steps[0].compute.b.c", "at character 1"),
        (r#"{"steps": [{"template": {"a": "${.x +}"}}]}"#, "steps[0].template", "`${.x +}`: expected term"),
        (r#"{"steps": [{"template": "${.x"}]}"#, "steps[0].template", "not closed"),
        (r#"{"steps": [{"drop_if": {"when": "1"}}]}"#, "steps[0].drop_if", "expected an expression, or"),
        (r#"{"steps": [{"drop_if": {"when": "(", "reason": "x"}}]}"#, "steps[0].drop_if.when", "not closed"),
        (r#"{"steps": [{"jq": "."}], "max_outputs": 0}"#, "max_outputs", "from 1"),
        (r#"{"steps": [{"jq": "."}], "on_eror": "drop"}"#, "on_eror", "unknown field"),
    ] {
        let found = testing::refused::<Json>(config);
        assert_eq!(found[0].at, at, "{config}: {}", found[0].message);
        assert!(found[0].message.contains(why), "{config}: {}", found[0].message);
    }
}

/// Objects whose keys have no separator and are no numbers.
fn any_object() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        "[\"\\\\a-cé\u{7f}\u{1}]{0,6}".prop_map(Value::from),
    ];
    let inner = leaf.prop_recursive(3, 24, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::btree_map("[a-c\"é]{1,2}", inner, 0..4)
                .prop_map(|map| Value::Object(map.into_iter().collect())),
        ]
    });
    prop::collection::btree_map("[a-c\"é]{1,2}", inner, 0..4).prop_map(|map| Value::Object(map.into_iter().collect()))
}

proptest! {
    #[test]
    fn what_is_flattened_comes_back(object in any_object()) {
        let back = told(r#"{"flatten": "."}, {"unflatten": "."}"#, &object.to_string());
        prop_assert_eq!(serde_json::from_str::<Value>(&back).unwrap(), object);
    }

    #[test]
    fn what_is_read_and_written_is_the_same(object in any_object()) {
        prop_assert_eq!(serde_json::from_str::<Value>(&told(r#"{"jq": "."}"#, &object.to_string())).unwrap(), object);
    }

    #[test]
    fn nothing_panics(payload in prop::collection::vec(any::<u8>(), 0..60)) {
        let mut plugin: Json = testing::plugin(r#"{"steps": [{"flatten": "."}, {"jq": "."}]}"#);
        let _ = plugin.handle("home", Message::new("a", payload));
    }
}
