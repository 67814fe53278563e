//! A durable key-value state of the plugin's own, when the configuration grants it (`grants = { state = true }`).
//!
//! What a call writes takes effect together with that call's decisions, or not at all. A plugin that uses any of these
//! imports `tidegate:gateway/state`, and the gateway refuses it without the grant. Natively, where there is no
//! gateway, the state is the thread's own map, so a test starts empty.

#[cfg(target_arch = "wasm32")]
pub use crate::bindings::tidegate::gateway::state::{delete, get, keys, set};

#[cfg(not(target_arch = "wasm32"))]
pub use native::{delete, get, keys, set};

use serde::{Serialize, de::DeserializeOwned};

/// The value of this key as JSON of this type.
///
/// # Errors
/// If it is something else.
pub fn read<Value: DeserializeOwned>(key: &str) -> Result<Option<Value>, serde_json::Error> {
    get(key).map(|text| serde_json::from_slice(&text)).transpose()
}

/// Sets the value of this key, as JSON.
///
/// # Errors
/// If JSON has no such value, such as a map whose keys are no texts.
pub fn write<Value: Serialize>(key: &str, value: &Value) -> Result<(), serde_json::Error> {
    set(key, &serde_json::to_vec(value)?);
    Ok(())
}

#[cfg(not(target_arch = "wasm32"))]
mod native {
    use std::{cell::RefCell, collections::BTreeMap};

    thread_local! {
        static STATE: RefCell<BTreeMap<String, Vec<u8>>> = const { RefCell::new(BTreeMap::new()) };
    }

    /// The value of this key.
    #[must_use]
    pub fn get(key: &str) -> Option<Vec<u8>> {
        STATE.with_borrow(|state| state.get(key).cloned())
    }

    /// Sets the value of this key.
    pub fn set(key: &str, value: &[u8]) {
        STATE.with_borrow_mut(|state| state.insert(key.to_owned(), value.to_vec()));
    }

    /// Forgets this key.
    pub fn delete(key: &str) {
        STATE.with_borrow_mut(|state| state.remove(key));
    }

    /// The keys that begin with this, in order.
    #[must_use]
    pub fn keys(prefix: &str) -> Vec<String> {
        STATE.with_borrow(|state| {
            let from_prefix = state.range(prefix.to_owned()..);
            from_prefix.map(|(key, _)| key.clone()).take_while(|key| key.starts_with(prefix)).collect()
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_is_remembered_by_its_type() {
        write("count", &(3, "three")).unwrap();
        assert_eq!(read::<(u8, String)>("count").unwrap(), Some((3, "three".to_owned())));
        assert_eq!(read::<u8>("none").unwrap(), None);
        assert!(read::<bool>("count").is_err());
    }
}
