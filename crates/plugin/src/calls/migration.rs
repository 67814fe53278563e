//! The interface `migration`: which version of its state a plugin reads and writes, and how it makes that of another one.

use super::{check_function, wrong_world};
use crate::Error;
use crate::contract::migration::exports::tidegate::gateway::migration::{Guest as Functions, GuestIndices, Migrated};
use crate::guest::Guest;
use crate::host::Component;
use wasmtime::Store;
use wasmtime::component::{Instance, InstancePre};

const MIGRATION: &str = "tidegate:gateway/migration@1.1.0";

/// What a component exports of it.
pub(crate) struct Exports(GuestIndices);

/// The functions of one guest.
pub(crate) struct Calls(Functions);

impl Exports {
    /// `None` if it exports none.
    ///
    /// # Errors
    /// [`Error::WrongWorld`]: something bears the right name and means something else.
    pub(crate) fn new(component: &Component, pre: &InstancePre<Guest>) -> Result<Option<Self>, Error> {
        if component.inner.get_export_index(None, MIGRATION).is_none() {
            return Ok(None);
        }
        check_function::<(), (String,)>(component, pre, MIGRATION, "state-version")?;
        check_function::<(&str, &str), (Migrated,)>(component, pre, MIGRATION, "migrate")?;
        Ok(Some(Self(GuestIndices::new(pre).map_err(|error| wrong_world(&error))?)))
    }

    pub(crate) fn load(&self, store: &mut Store<Guest>, instance: &Instance) -> wasmtime::Result<Calls> {
        Ok(Calls(self.0.load(store, instance)?))
    }
}

impl Calls {
    pub(crate) async fn state_version(&self, store: &mut Store<Guest>) -> wasmtime::Result<String> {
        self.0.call_state_version(store).await
    }

    /// Why it refuses, if it does.
    pub(crate) async fn migrate(
        &self,
        store: &mut Store<Guest>,
        left_by: &str,
        config: &str,
    ) -> wasmtime::Result<Result<(), String>> {
        Ok(match self.0.call_migrate(store, left_by, config).await? {
            Migrated::Done => Ok(()),
            Migrated::Refused(reason) => Err(reason),
        })
    }
}
