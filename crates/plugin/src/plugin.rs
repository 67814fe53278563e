//! A component that was verified and linked for one configuration: everything that can be refused without running it.

use crate::contract::exports::tidegate::gateway::{handler, packed, timer};
use crate::contract::tidegate::gateway::{log, state, types};
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
use wasmtime::component::{HasSelf, InstancePre, Linker};

pub(crate) const HANDLER: &str = "tidegate:gateway/handler@0.1.0";
pub(crate) const TIMER: &str = "tidegate:gateway/timer@0.1.0";
const PACKED: &str = "tidegate:gateway/packed@0.1.0";
const OURS: &str = "tidegate:gateway/";
const LOG: &str = "tidegate:gateway/log@0.1";
const STATE: &str = "tidegate:gateway/state@0.1";
const TYPES: &str = "tidegate:gateway/types@0.1";

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
    handler: handler::GuestIndices,
    timer: Option<timer::GuestIndices>,
    packed: Option<packed::GuestIndices>,
    log: Arc<PluginLog>,
}

impl Plugin {
    /// Verifies that the component exports what the gateway calls and imports only what it was granted.
    ///
    /// # Errors
    /// [`Error::WrongWorld`], [`Error::Ungranted`] or [`Error::Limits`]; nothing of the component has run then.
    pub fn new(host: &Host, component: &Component, spec: Spec) -> Result<Self, Error> {
        spec::check(&spec.limits)?;
        check_exports(component)?;
        check_imports(component, &spec)?;
        let pre = link(host, component, &spec).map_err(|error| Error::WrongWorld(format!("{error:#}")))?;
        let handler = check_types(component, &pre)?;
        let timer = match component.exports_timer() {
            true => Some(timer::GuestIndices::new(&pre).map_err(|error| Error::WrongWorld(format!("{error:#}")))?),
            false => None,
        };
        let packed = match component.inner.get_export_index(None, PACKED) {
            Some(_) => Some(packed::GuestIndices::new(&pre).map_err(|error| Error::WrongWorld(format!("{error:#}")))?),
            None => None,
        };
        let log = Arc::new(PluginLog::new(spec.name.clone(), spec.limits.log_lines_per_second, spec.keeps_lines));
        let digest = component.shared_digest();
        Ok(Self { inner: Arc::new(Inner { host: host.clone(), spec, digest, pre, handler, timer, packed, log }) })
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

    /// Whether it is called with whole blocks.
    pub(crate) fn is_packed(&self) -> bool {
        self.inner.packed.is_some()
    }

    /// Whether [`Instance::tick`] has something to call.
    pub fn has_timer(&self) -> bool {
        self.inner.timer.is_some()
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
        let mut store =
            Store::new(host.engine(), Guest::new(spec.limits.clone(), Arc::clone(&self.inner.log), spec.state.clone()));
        store.limiter(|guest| guest);
        store.epoch_deadline_callback(|cx| Ok(cx.data().cut()));
        store.set_max_component_handles(MAX_HANDLES);
        store.set_hostcall_fuel(MAX_DIAGNOSTIC_BYTES);
        let failed = |store: &mut Store<Guest>, error: wasmtime::Error| Error::Start(store.data_mut().fault(&error));

        let running = crate::instance::begin(host, &mut store, spec.limits.configure_deadline);
        let instance = pre.instantiate_async(&mut store).await.map_err(|error| failed(&mut store, error))?;
        drop(running);
        let wrong_type = |error: wasmtime::Error| Error::WrongWorld(format!("{error:#}"));
        let handler = self.inner.handler.load(&mut store, &instance).map_err(wrong_type)?;
        let timer = self.inner.timer.as_ref().map(|timer| timer.load(&mut store, &instance));
        let timer = timer.transpose().map_err(wrong_type)?;
        let packed = self.inner.packed.as_ref().map(|packed| packed.load(&mut store, &instance));
        let packed = packed.transpose().map_err(wrong_type)?;

        let running = crate::instance::begin(host, &mut store, spec.limits.configure_deadline);
        let verdict = handler.call_configure(&mut store, &spec.config_json).await;
        drop(running);
        let verdict = verdict.map_err(|error| failed(&mut store, error))?;
        store.data_mut().say().await;
        match verdict {
            Ok(()) => {
                store.data_mut().commit();
                Ok(Live::new(store, handler, timer, packed))
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

fn own(from: types::Diagnostic) -> Diagnostic {
    Diagnostic { at: crate::decide::shorten(from.at), message: crate::decide::shorten(from.message) }
}

fn check_exports(component: &Component) -> Result<(), Error> {
    if component.inner.get_export_index(None, HANDLER).is_some() {
        return Ok(());
    }
    let exports = component.exports();
    Err(Error::WrongWorld(match exports.iter().find(|name| name.starts_with("tidegate:gateway/handler")) {
        Some(other) => format!("it exports `{other}`, this gateway calls `{HANDLER}`"),
        None => format!("it does not export `{HANDLER}`"),
    }))
}

/// The types of what the gateway calls; a component may bear the right names and mean something else.
fn check_types(component: &Component, pre: &InstancePre<Guest>) -> Result<handler::GuestIndices, Error> {
    use wasmtime::component::types::ComponentItem;
    type HandleParams<'a> = (&'a str, &'a [types::Message<'a>]);
    type HandleResults = (Vec<Result<types::Decision, types::Failure>>,);
    type ConfigureResults = (Result<(), Vec<types::Diagnostic>>,);

    let wrong = |name: &str, error: &dyn fmt::Display| {
        Error::WrongWorld(format!("its `{name}` of `{HANDLER}` is not as in the contract: {error}"))
    };
    let indices = handler::GuestIndices::new(pre).map_err(|error| Error::WrongWorld(format!("{error:#}")))?;
    let interface = component.inner.get_export_index(None, HANDLER);
    let ty = pre.instance_type();
    for name in ["configure", "handle"] {
        let item = interface.as_ref().and_then(|interface| component.inner.get_export(Some(interface), name));
        let checked = match item {
            Some((ComponentItem::ComponentFunc(func), _)) if name == "handle" => {
                func.typecheck::<HandleParams<'_>, HandleResults>(&ty)
            }
            Some((ComponentItem::ComponentFunc(func), _)) => func.typecheck::<(&str,), ConfigureResults>(&ty),
            _ => return Err(wrong(name, &"not a function")),
        };
        checked.map_err(|error| wrong(name, &format_args!("{error:#}")))?;
    }
    Ok(indices)
}

fn check_imports(component: &Component, spec: &Spec) -> Result<(), Error> {
    for import in component.imports() {
        let known = import.starts_with(LOG) || import.starts_with(TYPES) || import.starts_with(wasi::PACKAGES);
        let granted = import.starts_with(STATE) && spec.grants.state.is_granted();
        if known || granted {
            continue;
        }
        let hint = match import.starts_with(STATE) {
            true => "grant it with `grants = { state = true }`",
            false if import.starts_with(OURS) => "it was built for another version of the contract",
            false => "a plugin may import `tidegate:gateway/log`, `tidegate:gateway/state` and `wasi:`",
        };
        return Err(Error::Ungranted { import, hint });
    }
    Ok(())
}

fn link(host: &Host, component: &Component, spec: &Spec) -> wasmtime::Result<InstancePre<Guest>> {
    let mut linker = Linker::<Guest>::new(host.engine());
    types::add_to_linker::<_, HasSelf<Guest>>(&mut linker, |guest| guest)?;
    log::add_to_linker::<_, HasSelf<Guest>>(&mut linker, |guest| guest)?;
    if spec.grants.state.is_granted() {
        state::add_to_linker::<_, HasSelf<Guest>>(&mut linker, |guest| guest)?;
    }
    wasi::add_to_linker(&mut linker, component)?;
    linker.instantiate_pre(&component.inner)
}
