//! What a call writes takes effect with its decisions, or not at all.

use crate::guest::{Extra, does::*};
use crate::{handle, plugin, spec};
use tidegate_plugin::{Fault, StateGrant};

#[test]
fn state_is_written_by_calls_that_return_and_outlives_the_instance() {
    let mut granted = spec();
    granted.grants.state = StateGrant::Granted;
    let state = granted.state.clone();
    let plugin = plugin(Extra::State, granted);
    let mut first = plugin.instantiate().unwrap();
    assert_eq!(handle(&mut first, &[SET_AND_TRAP]), ["trap"]);
    assert!(state.is_empty(), "the call did not return");
    assert_eq!(handle(&mut first, &[SET]), ["pass"]);
    drop(first);
    assert_eq!(state.get("k"), Some(b"v".to_vec()));
}

#[test]
fn state_is_bounded() {
    let mut granted = spec();
    granted.grants.state = StateGrant::Granted;
    granted.limits.state_bytes = 1;
    let mut instance = plugin(Extra::State, granted).instantiate().unwrap();
    assert_eq!(handle(&mut instance, &[SET]), [Fault::State { limit_bytes: 1 }.kind()]);
}
