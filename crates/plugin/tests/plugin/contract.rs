//! Both versions of the contract are served, side by side, and what was built for one decides what it decided.
//!
//! `contract-0.1/` holds shipped plugins as they were built before 1.0 was frozen. Nothing builds them again.

use crate::packed::{decided, messages};
use crate::{host, spec};
use tidegate_plugin::{Error, Host, Outcome, Plugin, run_here};

const OLD_CONVERT: &[u8] = include_bytes!("contract-0.1/convert.wasm");
const OLD_THROTTLE: &[u8] = include_bytes!("contract-0.1/throttle.wasm");
const CONVERT: &[u8] = include_bytes!("../../../../plugins/dist/convert.wasm");
const THROTTLE: &[u8] = include_bytes!("../../../../plugins/dist/throttle.wasm");

const FAHRENHEIT: &str = r#"{"field": "temp", "from": "fahrenheit", "to": "celsius", "on_missing": "drop"}"#;

fn plugin(host: &Host, component: &[u8], config_json: &str) -> Result<Plugin, Error> {
    let mut spec = spec();
    spec.config_json = config_json.to_owned();
    Plugin::new(host, &host.compile(component)?, spec)
}

/// The same component, built for a version that is as long.
fn of_version(component: &[u8], version: &str) -> Vec<u8> {
    let mut other = component.to_vec();
    for at in 0..other.len() - 6 {
        if &other[at..at + 6] == b"@1.0.0" {
            other[at + 1..at + 6].copy_from_slice(version.as_bytes());
        }
    }
    other
}

#[test]
fn what_was_built_for_0_1_decides_beside_what_is_built_for_1() {
    let host = host();
    let messages = messages();
    for (old, new, config) in [
        (OLD_CONVERT, CONVERT, FAHRENHEIT),
        (OLD_THROTTLE, THROTTLE, r#"{"every": "1h", "by": "topic", "keep_last": false}"#),
    ] {
        let old = plugin(&host, old, config).unwrap();
        let new = plugin(&host, new, config).unwrap();
        assert_eq!((old.contract(), new.contract()), ("0.1.0", "1.0.0"));
        assert_eq!(old.has_timer(), new.has_timer());
        let was = decided(&mut old.instantiate().unwrap(), &messages);
        let is = decided(&mut new.instantiate().unwrap(), &messages);
        assert!(was.iter().any(|outcome| matches!(outcome, Outcome::Drop(_))), "{config}: it says something");
        assert_eq!(was, is, "{config}");
    }
}

#[test]
fn a_timer_of_either_version_ticks() {
    let host = host();
    let config = r#"{"every": "1s", "by": "topic"}"#;
    for component in [OLD_THROTTLE, THROTTLE] {
        let mut instance = plugin(&host, component, config).unwrap().instantiate().unwrap();
        let granted: Vec<_> = messages().into_iter().filter(|message| message.topic.as_str() == "site/a").collect();
        decided(&mut instance, &granted);
        let sent = run_here(instance.tick(1_700_000_002_000)).unwrap();
        assert_eq!(sent.len(), 1, "the last one that was held back");
    }
}

#[test]
fn a_later_minor_version_is_served_and_another_major_one_is_named() {
    let host = host();
    for served in ["1.0.9", "1.7.0"] {
        let plugin = plugin(&host, &of_version(CONVERT, served), FAHRENHEIT).unwrap();
        assert_eq!(plugin.contract(), served);
        let outcomes = decided(&mut plugin.instantiate().unwrap(), &messages());
        assert!(outcomes.iter().any(|outcome| matches!(outcome, Outcome::Forward(_))));
    }
    for not in ["2.0.0", "0.2.0"] {
        let error = plugin(&host, &of_version(CONVERT, not), FAHRENHEIT).unwrap_err();
        let words = format!("it was built for contract {not}; this gateway serves 1 and 0.1");
        assert!(error.to_string().contains(&words), "{error}");
    }
}

#[test]
fn a_refusal_of_either_version_has_its_words() {
    let host = host();
    for component in [OLD_CONVERT, CONVERT] {
        let error = plugin(&host, component, r#"{"feild": "temp"}"#).unwrap().instantiate().unwrap_err();
        assert!(error.to_string().contains("feild"), "{error}");
    }
}
