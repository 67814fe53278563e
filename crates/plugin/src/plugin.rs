//! A component that was verified and linked for one configuration: everything that can be refused without running it.

use crate::calls::{Contract, Exports, OURS, messaging};
use crate::guest::Guest;
use crate::host::{Component, Host};
use crate::instance::{Instance, Live};
use crate::log::PluginLog;
use crate::spec::{self, Spec};
use crate::thread::run_here;
use crate::{Diagnostic, Error, wasi};
use std::fmt;
use std::sync::Arc;
use wasmtime::Store;
use wasmtime::component::{InstancePre, Linker};

/// Handles of resources a guest may hold at a time.
const MAX_HANDLES: usize = 1024;
/// What `configure` may return, in bytes of ours.
const MAX_DIAGNOSTIC_BYTES: usize = 256 * 1024;
/// How many diagnostics are passed on.
const MAX_DIAGNOSTICS: usize = 64;

/// A component, verified and linked, with its [`Spec`]. Clones share everything.
#[derive(Clone)]
pub struct Plugin {
    inner: Arc<Inner>,
}

struct Inner {
    host: Host,
    spec: Spec,
    digest: Arc<str>,
    pre: InstancePre<Guest>,
    exports: Exports,
    /// The version of the contract that it was built for.
    contract: String,
    log: Arc<PluginLog>,
}

impl Plugin {
    /// Verifies that the component exports what the gateway calls and imports only what it was granted.
    ///
    /// # Errors
    /// [`Error::WrongWorld`], [`Error::Ungranted`] or [`Error::Limits`]; nothing of the component has run then.
    pub fn new(host: &Host, component: &Component, spec: Spec) -> Result<Self, Error> {
        spec::check(&spec.limits)?;
        let (contract, version) = Contract::of(component)?;
        check_imports(contract, component, &spec)?;
        let pre = link(contract, host, component, &spec).map_err(|error| Error::WrongWorld(format!("{error:#}")))?;
        let exports = Exports::new(contract, component, &pre)?;
        let log = Arc::new(PluginLog::new(spec.name.clone(), spec.limits.log_lines_per_second, spec.keeps_lines));
        let digest = component.shared_digest();
        Ok(Self { inner: Arc::new(Inner { host: host.clone(), spec, digest, pre, exports, contract: version, log }) })
    }

    /// A fresh instance that was configured.
    ///
    /// # Errors
    /// [`Error::Configure`] with the plugin's own diagnostics; [`Error::Start`] when it failed before it could say.
    pub fn instantiate(&self) -> Result<Instance, Error> {
        Ok(Instance::new(self.clone(), run_here(self.start())?))
    }

    /// What it was linked for.
    pub fn spec(&self) -> &Spec {
        &self.inner.spec
    }

    /// The digest of its component.
    pub fn digest(&self) -> &str {
        &self.inner.digest
    }

    /// The version of the contract that it was built for, such as `1.0.0`, or `wasi:messaging@0.2.0-draft`.
    pub fn contract(&self) -> &str {
        &self.inner.contract
    }

    /// Whether [`Instance::tick`] has something to call.
    pub fn has_timer(&self) -> bool {
        self.inner.exports.has_timer()
    }

    /// What it said since this was asked last: empty unless [`Spec::keeps_lines`].
    pub fn take_lines(&self) -> Vec<String> {
        self.inner.log.take_kept()
    }

    /// Lines of log held back so far because there were too many in a second.
    pub fn suppressed_log_lines(&self) -> u64 {
        self.inner.log.suppressed()
    }

    pub(crate) fn host(&self) -> &Host {
        &self.inner.host
    }

    pub(crate) async fn start(&self) -> Result<Live, Error> {
        let Inner { host, spec, pre, .. } = &*self.inner;
        let mut store = Store::new(host.engine(), Guest::new(spec, Arc::clone(&self.inner.log)));
        store.limiter(|guest| guest);
        store.epoch_deadline_callback(|mut cx| Ok(cx.data_mut().cut()));
        store.set_max_component_handles(MAX_HANDLES);
        store.set_hostcall_fuel(MAX_DIAGNOSTIC_BYTES);
        let failed = |store: &mut Store<Guest>, error: wasmtime::Error| Error::Start(store.data_mut().fault(&error));

        let running = crate::instance::begin(host, &mut store, spec.limits.configure_deadline);
        let instance = pre.instantiate_async(&mut store).await.map_err(|error| failed(&mut store, error))?;
        drop(running);
        let calls = self.inner.exports.load(&mut store, &instance);
        let calls = calls.map_err(|error| Error::WrongWorld(format!("{error:#}")))?;

        let running = crate::instance::begin(host, &mut store, spec.limits.configure_deadline);
        let verdict = calls.configure(&mut store, &spec.config_json).await;
        drop(running);
        let verdict = verdict.map_err(|error| failed(&mut store, error))?;
        store.data_mut().say().await;
        match verdict {
            Ok(()) => {
                store.data_mut().commit();
                Ok(Live::new(store, calls))
            }
            Err(diagnostics) => Err(Error::Configure(diagnostics.into_iter().take(MAX_DIAGNOSTICS).map(own).collect())),
        }
    }
}

impl fmt::Debug for Plugin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Inner { spec, digest, .. } = &*self.inner;
        f.debug_struct("Plugin").field("name", &spec.name).field("digest", digest).finish_non_exhaustive()
    }
}

fn own(from: Diagnostic) -> Diagnostic {
    Diagnostic { at: crate::decide::shorten(from.at), message: crate::decide::shorten(from.message) }
}

fn check_imports(contract: Contract, component: &Component, spec: &Spec) -> Result<(), Error> {
    let (free, state) = contract.imports();
    for import in component.imports() {
        let is_messaging = import.starts_with(messaging::PACKAGE);
        let known = match is_messaging {
            true => contract == Contract::Messaging && messaging::SERVED.contains(&&*import),
            false => free.iter().any(|free| import.starts_with(free)) || import.starts_with(wasi::PACKAGES),
        };
        let granted = import.starts_with(state) && spec.grants.state.is_granted();
        if known || granted {
            continue;
        }
        let hint = match import.starts_with(state) {
            true => "grant it with `grants = { state = true }`",
            false if is_messaging => {
                "of `wasi:messaging@0.2.0-draft` handlers have `types` and `producer`: a plugin decides what becomes of a \
                 message, and cannot wait for an answer to one"
            }
            false if import.starts_with(OURS) => "its handler was built for another version of the contract",
            false => "a plugin may import `tidegate:gateway/log`, `tidegate:gateway/state` and `wasi:`",
        };
        return Err(Error::Ungranted { import, hint });
    }
    Ok(())
}

fn link(contract: Contract, host: &Host, component: &Component, spec: &Spec) -> wasmtime::Result<InstancePre<Guest>> {
    let mut linker = Linker::<Guest>::new(host.engine());
    contract.link(&mut linker, spec.grants.state.is_granted())?;
    wasi::add_to_linker(&mut linker, component)?;
    linker.instantiate_pre(&component.inner)
}
