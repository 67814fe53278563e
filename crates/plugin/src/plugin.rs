//! A component that was verified and linked for one configuration: everything that can be refused without running it.

use crate::calls::{Contract, Exports, OURS, messaging, migration};
use crate::guest::Guest;
use crate::host::{Component, Host};
use crate::instance::{Instance, Live};
use crate::log::PluginLog;
use crate::spec::{self, Spec};
use crate::state::{StateStore, Write};
use crate::thread::run_here;
use crate::ticker::Running;
use crate::{Diagnostic, Error, wasi};
use std::fmt;
use std::sync::{Arc, OnceLock};
use wasmtime::Store;
use wasmtime::component::{self, InstancePre, Linker};

/// Handles of resources a guest may hold at a time.
const MAX_HANDLES: usize = 1024;
/// What `configure` may return, in bytes of ours.
const MAX_DIAGNOSTIC_BYTES: usize = 256 * 1024;
/// How many diagnostics are passed on.
const MAX_DIAGNOSTICS: usize = 64;
/// How long the version of a state may be, in bytes.
const MAX_STATE_VERSION_BYTES: usize = 256;

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
    migration: Option<migration::Exports>,
    /// Which version of its state it reads and writes, once it was asked.
    state_version: OnceLock<String>,
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
        let migration = migration::Exports::new(component, &pre)?;
        let log = Arc::new(PluginLog::new(spec.name.clone(), spec.limits.log_lines_per_second, spec.keeps_lines));
        let (host, digest, state_version) = (host.clone(), component.shared_digest(), OnceLock::new());
        let inner = Inner { host, spec, digest, pre, exports, migration, state_version, contract: version, log };
        Ok(Self { inner: Arc::new(inner) })
    }

    /// A fresh instance that was configured.
    ///
    /// # Errors
    /// [`Error::Configure`] with the plugin's own diagnostics; [`Error::Start`] when it failed before it could say.
    pub fn instantiate(&self) -> Result<Instance, Error> {
        Ok(Instance::new(self.clone(), Some(run_here(self.start())?)))
    }

    /// An instance that begins with its first call: what it remembers is not yet of its version.
    pub fn instantiate_later(&self) -> Instance {
        Instance::new(self.clone(), None)
    }

    /// Which version of its state it reads and writes. `None` if it says none.
    ///
    /// # Errors
    /// [`Error::Start`] when it failed before it could say; [`Error::State`] when it said nothing that can be one.
    pub fn state_version(&self) -> Result<Option<&str>, Error> {
        let Some(exports) = &self.inner.migration else { return Ok(None) };
        if let Some(known) = self.inner.state_version.get() {
            return Ok(Some(known));
        }
        let said = run_here(async {
            let (mut store, instance) = self.guest(&StateStore::new()).await?;
            let calls = exports.load(&mut store, &instance).map_err(|error| Error::WrongWorld(format!("{error:#}")))?;
            let running = self.begin(&mut store);
            let said = calls.state_version(&mut store).await;
            drop(running);
            said.map_err(|error| failed(&mut store, &error))
        })?;
        if said.is_empty() || said.len() > MAX_STATE_VERSION_BYTES {
            let bytes = said.len();
            let problem = format!("its `state-version` has {bytes} bytes; it must have 1 to {MAX_STATE_VERSION_BYTES}");
            return Err(Error::State(problem));
        }
        Ok(Some(self.inner.state_version.get_or_init(|| said)))
    }

    /// Brings a state to the version of this plugin, whole or not at all; what was written for that. Nothing is, where it is of that version,
    /// or the plugin says none. Guests that began with the state before write nothing into it any more.
    ///
    /// # Errors
    /// As of [`state_version`](Self::state_version), and [`Error::State`] when it refuses.
    pub fn migrate(&self, state: &StateStore) -> Result<Vec<Write>, Error> {
        let (Some(exports), Some(version)) = (&self.inner.migration, self.state_version()?) else {
            return Ok(Vec::new());
        };
        let left_by = state.version();
        if left_by.as_deref() == Some(version) {
            return Ok(Vec::new());
        }
        let (left_by, Inner { spec, .. }) = (left_by.unwrap_or_default(), &*self.inner);
        let mut store = run_here(async {
            let (mut store, instance) = self.guest(state).await?;
            if state.is_empty() {
                return Ok(store);
            }
            let calls = exports.load(&mut store, &instance).map_err(|error| Error::WrongWorld(format!("{error:#}")))?;
            store.set_hostcall_fuel(spec.limits.memory_bytes.max(MAX_DIAGNOSTIC_BYTES));
            let running = self.begin(&mut store);
            let said = calls.migrate(&mut store, &left_by, &spec.config_json).await;
            drop(running);
            let said = said.map_err(|error| failed(&mut store, &error))?;
            store.data_mut().say().await;
            match said {
                Ok(()) => Ok(store),
                Err(reason) => Err(Error::State(format!("it refuses it: {}", crate::decide::shorten(reason)))),
            }
        })?;
        let guest = store.data_mut();
        guest.overlay.say_version(version);
        guest.commit().map_err(Error::Start)?;
        state.supersede();
        Ok(guest.written.drain(..).map(|(write, _)| write).collect())
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

    /// A guest that nothing was asked of.
    async fn guest(&self, state: &StateStore) -> Result<(Store<Guest>, component::Instance), Error> {
        let Inner { host, spec, pre, .. } = &*self.inner;
        let mut store = Store::new(host.engine(), Guest::new(spec, state, Arc::clone(&self.inner.log)));
        store.limiter(|guest| guest);
        store.epoch_deadline_callback(|mut cx| Ok(cx.data_mut().cut()));
        store.set_max_component_handles(MAX_HANDLES);
        store.set_hostcall_fuel(MAX_DIAGNOSTIC_BYTES);
        let running = self.begin(&mut store);
        let instance = pre.instantiate_async(&mut store).await;
        drop(running);
        let instance = instance.map_err(|error| failed(&mut store, &error))?;
        Ok((store, instance))
    }

    /// Sets the clock for what is asked before any message.
    fn begin(&self, store: &mut Store<Guest>) -> Running<'_> {
        crate::instance::begin(&self.inner.host, store, self.inner.spec.limits.configure_deadline)
    }

    pub(crate) async fn start(&self) -> Result<Live, Error> {
        let spec = &self.inner.spec;
        let (mut store, instance) = self.guest(&spec.state).await?;
        let calls = self.inner.exports.load(&mut store, &instance);
        let calls = calls.map_err(|error| Error::WrongWorld(format!("{error:#}")))?;
        let running = self.begin(&mut store);
        let verdict = calls.configure(&mut store, &spec.config_json).await;
        drop(running);
        let verdict = verdict.map_err(|error| failed(&mut store, &error))?;
        store.data_mut().say().await;
        match verdict {
            Ok(()) => {
                store.data_mut().commit().map_err(Error::Start)?;
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

fn failed(store: &mut Store<Guest>, error: &wasmtime::Error) -> Error {
    Error::Start(store.data_mut().fault(error))
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
