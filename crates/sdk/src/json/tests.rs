//! The walk against a tree.

use super::*;
use proptest::prelude::*;
use serde_json::Value;

fn value_at(payload: &str, path: &str) -> Option<String> {
    let field = find(payload.as_bytes(), &Path::parse(path).unwrap()).unwrap()?;
    Some(payload[field.value].to_owned())
}

#[test]
fn a_field_is_found_however_it_is_nested_and_spaced() {
    assert_eq!(value_at(r#"{"a":1,"b":2}"#, "b").as_deref(), Some("2"));
    assert_eq!(value_at(" { \"a\" : { \"b\" : [ 1 , -2.5e+3 ] } } ", "a.b.1").as_deref(), Some("-2.5e+3"));
    assert_eq!(value_at(r#"{"a":{"b":1}}"#, "b"), None);
    assert_eq!(value_at(r#"{"b":{"b":1}}"#, "b").as_deref(), Some(r#"{"b":1}"#));
    assert_eq!(value_at(r#"["b"]"#, "b"), None);
}

#[test]
fn of_two_fields_with_one_key_the_last_counts() {
    assert_eq!(value_at(r#"{"a":1,"a":2}"#, "a").as_deref(), Some("2"));
    assert_eq!(value_at(r#"{"a":{"b":1},"a":{"c":2}}"#, "a.b"), None);
}

#[test]
fn keys_and_texts_may_be_escaped() {
    let payload = br#"{"te\u006dp": "\u00e9\ud83d\ude00\"\ud83d"}"#;
    let field = find(payload, &Path::parse("temp").unwrap()).unwrap().unwrap();
    assert_eq!(field.text(payload), "é😀\"\u{fffd}");
}

#[test]
fn a_number_must_fit() {
    let number = |text: &str| {
        let payload = format!("[{text}]");
        find(payload.as_bytes(), &Path::parse("0").unwrap()).unwrap().unwrap().number(payload.as_bytes())
    };
    assert_eq!(number("-0.0"), Some(-0.0));
    assert_eq!(number("1E-2"), Some(0.01));
    assert_eq!(number("18446744073709551616"), Some(18_446_744_073_709_551_616.0));
    assert_eq!(number("1e400"), None);
    assert_eq!(number("\"1\""), None);
    assert_eq!(number("true"), None);
}

#[test]
fn nesting_is_bounded() {
    let nested = |depth: usize| [vec![b'['; depth], vec![b']'; depth]].concat();
    let path = Path::parse("a").unwrap();
    assert!(find(&nested(MAX_DEPTH), &path).is_ok());
    assert_eq!(find(&nested(MAX_DEPTH + 1), &path), Err(NotJson { at: MAX_DEPTH }));
    assert!(find(&vec![b'['; 1_000_000], &path).is_err());
}

#[test]
fn a_path_is_a_text_or_a_list() {
    let path = |json: &str| serde_json::from_str::<Path>(json).ok();
    assert_eq!(path(r#""a.b""#), Path::from_keys(vec!["a".into(), "b".into()]));
    assert_eq!(path(r#"["a.b"]"#), Path::from_keys(vec!["a.b".into()]));
    assert!(path(r#""a..b""#).is_none() && path(r#""""#).is_none() && path("[]").is_none() && path("1").is_none());
}

fn any_json() -> impl Strategy<Value = Value> {
    let key = "[ab]|a\\.b|\"|\\\\|é|0|1";
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        ".{0,8}".prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 40, 5, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::vec((key, inner), 0..5).prop_map(|members| Value::Object(members.into_iter().collect())),
        ]
    })
}

fn by_tree<'a>(tree: &'a Value, path: &Path) -> Option<&'a Value> {
    path.0.iter().try_fold(tree, |value, key| match value {
        Value::Object(members) => members.get(key),
        Value::Array(elements) => elements.get(key.parse::<usize>().ok()?),
        _ => None,
    })
}

proptest! {
    #[test]
    fn the_walk_finds_what_a_tree_has(
        tree in any_json(),
        paths in prop::collection::vec(prop::collection::vec("[ab]|a\\.b|\"|\\\\|é|0|1", 1..4), 1..6),
        pretty in any::<bool>(),
    ) {
        let payload = if pretty { serde_json::to_vec_pretty(&tree) } else { serde_json::to_vec(&tree) }.unwrap();
        let tree: Value = serde_json::from_slice(&payload).unwrap(); // its floats are read back a digit less exact
        let paths: Vec<Path> = paths.into_iter().map(|keys| Path::from_keys(keys).unwrap()).collect();
        let mut found = vec![None; paths.len()];
        find_each(&payload, &paths, &mut found).unwrap();
        for (path, field) in paths.iter().zip(found) {
            let value = field.map(|field| serde_json::from_slice::<Value>(&payload[field.value]).unwrap());
            prop_assert_eq!(value.as_ref(), by_tree(&tree, path));
        }
    }

    #[test]
    fn what_is_json_to_one_is_json_to_the_other(
        tree in any_json(),
        edits in prop::collection::vec((any::<prop::sample::Index>(), prop_oneof![
            3 => prop::sample::select(b"{}[]\",:\\u0123eE+-.tfn \n".to_vec()), 1 => any::<u8>(),
        ]), 0..4),
    ) {
        let mut payload = serde_json::to_vec(&tree).unwrap();
        for (at, byte) in edits {
            let at = at.index(payload.len());
            payload[at] = byte;
        }
        let oracle = std::str::from_utf8(&payload).is_ok()
            && serde_json::from_slice::<serde::de::IgnoredAny>(&payload).is_ok();
        prop_assert_eq!(find(&payload, &Path::parse("a").unwrap()).is_ok(), oracle);
    }

    #[test]
    fn a_text_written_is_read_again(text in "\\PC*|[\\x00-\\x1f\"\\\\]*") {
        let mut payload = Vec::new();
        write_string(&text, &mut payload);
        prop_assert_eq!(serde_json::from_slice::<String>(&payload).unwrap(), text.clone());
        let all = Field { key: 0..0, value: 0..payload.len() };
        prop_assert_eq!(all.text(&payload), text);
    }
}
