//! A bad plugin is refused with its reason before it sees a message.

use crate::guest::{self, Extra};
use crate::{host, plugin, spec};
use std::time::{Duration, Instant};
use tidegate_plugin::{Error, Fault, Plugin};

fn refusal(bytes: &[u8]) -> String {
    let host = host();
    let refused = host.compile(bytes).and_then(|component| Plugin::new(&host, &component, spec()));
    refused.unwrap_err().to_string()
}

#[test]
fn what_is_no_component_is_told_apart() {
    assert_eq!(refusal(b""), "not a component: it does not begin with \\0asm, as WebAssembly does");
    assert!(refusal(b"#!/bin/sh").contains("as WebAssembly does"));
    assert!(refusal(&guest::core_module()).contains("core WebAssembly module"));
    let whole = guest::component(Extra::None);
    for len in [4, 7, 9, 100, whole.len() / 2, whole.len() - 1] {
        assert!(refusal(&whole[..len]).contains("not a component"), "{}", refusal(&whole[..len]));
    }
}

#[test]
fn a_component_for_another_world_is_refused_by_the_missing_export() {
    assert!(refusal(&guest::wrong_world()).contains("does not export `tidegate:gateway/handler@1.0.0`"));
    let text = refusal(&guest::wrong_types());
    assert!(text.contains("`configure`") && text.contains("not as in the contract"), "{text}");
}

#[test]
fn an_import_that_was_not_granted_is_refused_by_name() {
    let text = refusal(&guest::component(Extra::Unknown));
    assert!(text.contains("`acme:fridge/door@1.0.0`"), "{text}");
    let text = refusal(&guest::component(Extra::State));
    assert!(text.contains("`tidegate:gateway/state@0.1.0`") && text.contains("state = true"), "{text}");
}

#[test]
fn a_component_says_what_it_is() {
    let host = host();
    let component = host.compile(&guest::component(Extra::Sleep)).unwrap();
    assert!(!component.exports_timer());
    assert!(host.compile(&guest::component(Extra::Timer)).unwrap().exports_timer());
    assert_eq!(component.exports(), ["tidegate:gateway/handler@0.1.0"]);
    assert!(component.imports().contains(&"wasi:io/poll@0.2.3".to_owned()));
    assert_eq!(component.digest().len(), 64);
}

#[test]
fn a_refused_configuration_gives_the_diagnostics() {
    let mut bad = spec();
    bad.config_json = "\"bad\"".into();
    let Err(Error::Configure(diagnostics)) = plugin(Extra::None, bad).instantiate() else { panic!("refused") };
    assert_eq!(diagnostics.iter().map(ToString::to_string).collect::<Vec<_>>(), ["field: is bad"]);
}

#[test]
fn a_configure_that_hangs_is_cut() {
    let mut hangs = spec();
    hangs.config_json = "\"loop\"".into();
    hangs.limits.configure_deadline = Duration::from_millis(50);
    let plugin = plugin(Extra::None, hangs);
    let began = Instant::now();
    let Err(Error::Start(Fault::Deadline(_))) = plugin.instantiate() else { panic!("cut") };
    assert!(began.elapsed() < Duration::from_secs(10), "{:?}", began.elapsed());
}

/// The least that a configuration may give.
const ONE_PAGE_BYTES: usize = 64 * 1024;

#[test]
fn a_plugin_that_does_not_fit_its_memory_does_not_start() {
    let mut small = spec();
    small.limits.memory_bytes = ONE_PAGE_BYTES;
    let error = plugin(Extra::None, small).instantiate().unwrap_err();
    assert!(matches!(error, Error::Start(Fault::Memory { .. })), "{error}");
}

#[test]
fn limits_that_cannot_be_kept_are_refused() {
    let host = host();
    let component = host.compile(&guest::component(Extra::None)).unwrap();
    let mut hasty = spec();
    hasty.limits.deadline = Duration::from_millis(1);
    assert!(matches!(Plugin::new(&host, &component, hasty), Err(Error::Limits { key: "deadline", .. })));
}

#[test]
fn an_empty_list_of_problems_is_told_as_one() {
    let told = Error::Configure(Vec::new()).to_string();
    assert!(told.starts_with("it refuses its configuration without saying why: it returned an empty list"), "{told}");
}
