//! The calls into a guest, in each version of the contract that is served. What differs between versions stands in the modules
//! of this one, and nowhere else but in `answer`.

mod functions;
pub(crate) mod messaging;
pub(crate) mod migration;
mod v0;
mod v1;

use crate::answer::{Decision, Output};
use crate::guest::Guest;
use crate::host::Component;
use crate::instance::Input;
use crate::outcome::Fault;
use crate::{Diagnostic, Error};
use std::fmt;
use wasmtime::Store;
use wasmtime::component::{Instance, InstancePre, Linker};

/// So many bytes of the block of the packed call are kept between calls.
const BLOCK_KEPT: usize = 128 * 1024;

pub(crate) const OURS: &str = "tidegate:gateway/";
const HANDLER: &str = "tidegate:gateway/handler@";
pub(crate) const TIMER: &str = "tidegate:gateway/timer@";

/// A version of the contract, as far as it matters: what is built for one that differs only behind goes on working.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Contract {
    /// 0.1, before it was frozen.
    V0,
    /// 1.
    V1,
    /// A handler of `wasi:messaging`.
    Messaging,
}

impl Contract {
    /// The version that this gateway has.
    pub const fn version(self) -> &'static str {
        match self {
            Self::V0 => "0.1.0",
            Self::V1 => "1.0.0",
            Self::Messaging => "wasi:messaging@0.2.0-draft",
        }
    }

    /// By the name of its `handler`, and the version that stands there; of several the one that is served as 1, and of
    /// `wasi:messaging` where there is none of ours.
    pub(crate) fn of(component: &Component) -> Result<(Self, String), Error> {
        let exports = component.exports();
        let versions: Vec<&str> = exports.iter().filter_map(|name| name.strip_prefix(HANDLER)).collect();
        let Some(version) = versions.iter().find(|version| version.starts_with("1.")).or(versions.first()) else {
            if let Some(version) = exports.iter().find_map(|name| name.strip_prefix(messaging::HANDLER)) {
                return Self::of_messaging(version);
            }
            return Err(Error::WrongWorld(format!("it does not export `{HANDLER}{}`", Self::V1.version())));
        };
        // Within a major version, and below 1 within a minor one, what is newer is served as what is known of it.
        let contract = match version {
            _ if version.starts_with("1.") => Self::V1,
            _ if version.starts_with("0.1.") => Self::V0,
            _ => {
                let problem = format!("it was built for contract {version}; this gateway serves 1 and 0.1");
                return Err(Error::WrongWorld(problem));
            }
        };
        Ok((contract, (*version).to_owned()))
    }

    fn of_messaging(version: &str) -> Result<(Self, String), Error> {
        let served = Self::Messaging.version();
        match version {
            messaging::VERSION => Ok((Self::Messaging, served.to_owned())),
            _ => {
                let problem = format!("it was built for wasi:messaging@{version}; this gateway serves {served}");
                Err(Error::WrongWorld(problem))
            }
        }
    }

    /// What may be imported whatever was granted, and what is granted by `state`, by the beginnings of their names.
    pub(crate) const fn imports(self) -> ([&'static str; 2], &'static str) {
        match self {
            Self::V0 => (["tidegate:gateway/log@0.1.", "tidegate:gateway/types@0.1."], "tidegate:gateway/state@0.1."),
            Self::V1 | Self::Messaging => {
                (["tidegate:gateway/log@1.", "tidegate:gateway/types@1."], "tidegate:gateway/state@1.")
            }
        }
    }

    pub(crate) fn link(self, linker: &mut Linker<Guest>, state: bool) -> wasmtime::Result<()> {
        match self {
            Self::V0 => v0::link(linker, state),
            Self::V1 => v1::link(linker, state),
            Self::Messaging => messaging::link(linker, state),
        }
    }
}

/// What a component exports, verified.
pub(crate) enum Exports {
    V0(v0::Exports),
    V1(v1::Exports),
    Messaging(messaging::Exports),
}

impl Exports {
    /// # Errors
    /// [`Error::WrongWorld`]: something bears the right name and means something else.
    pub(crate) fn new(contract: Contract, component: &Component, pre: &InstancePre<Guest>) -> Result<Self, Error> {
        Ok(match contract {
            Contract::V0 => Self::V0(v0::Exports::new(component, pre)?),
            Contract::V1 => Self::V1(v1::Exports::new(component, pre)?),
            Contract::Messaging => Self::Messaging(messaging::Exports::new(component, pre)?),
        })
    }

    pub(crate) fn load(&self, store: &mut Store<Guest>, instance: &Instance) -> wasmtime::Result<Calls> {
        Ok(match self {
            Self::V0(exports) => Calls::V0(exports.load(store, instance)?),
            Self::V1(exports) => Calls::V1(exports.load(store, instance)?),
            Self::Messaging(exports) => Calls::Messaging(exports.load(store, instance)?),
        })
    }

    pub(crate) const fn has_timer(&self) -> bool {
        match self {
            Self::V0(exports) => exports.timer.is_some(),
            Self::V1(exports) => exports.timer.is_some(),
            Self::Messaging(_) => false,
        }
    }
}

/// The functions of one guest.
pub(crate) enum Calls {
    V0(v0::Calls),
    V1(v1::Calls),
    Messaging(messaging::Calls),
}

/// What a guest says of its configuration: `Err` refuses it.
pub(crate) type Verdict = Result<(), Vec<Diagnostic>>;

/// One decision a message, or what is wrong with the call as a whole.
pub(crate) type Decided = Result<Vec<Decision>, Fault>;

impl Calls {
    pub(crate) async fn configure(&self, store: &mut Store<Guest>, config: &str) -> wasmtime::Result<Verdict> {
        match self {
            Self::V0(calls) => calls.configure(store, config).await,
            Self::V1(calls) => calls.configure(store, config).await,
            Self::Messaging(_) => Ok(messaging::Calls::configure(config)),
        }
    }

    pub(crate) async fn handle(
        &mut self,
        store: &mut Store<Guest>,
        source: &str,
        inputs: &[Input<'_>],
        outputs_max: usize,
    ) -> wasmtime::Result<Decided> {
        match self {
            Self::V0(calls) => calls.handle(store, source, inputs, outputs_max).await,
            Self::V1(calls) => calls.handle(store, source, inputs, outputs_max).await,
            Self::Messaging(calls) => calls.handle(store, inputs, outputs_max).await,
        }
    }

    pub(crate) async fn tick(&self, store: &mut Store<Guest>, now_ms: u64) -> wasmtime::Result<Vec<Output>> {
        match self {
            Self::V0(calls) => calls.tick(store, now_ms).await,
            Self::V1(calls) => calls.tick(store, now_ms).await,
            Self::Messaging(_) => Ok(Vec::new()),
        }
    }
}

/// As many decisions as messages, or the fault of the call.
fn counted(decisions: Vec<Decision>, expected: usize) -> Decided {
    match decisions.len() {
        got if got == expected => Ok(decisions),
        got => Err(Fault::WrongCount { expected, got }),
    }
}

/// User properties of all messages as pairs of texts, to be borrowed by the lowered ones.
fn user_properties<'a>(inputs: &[Input<'a>]) -> Vec<(&'a str, &'a str)> {
    let properties = inputs.iter().filter_map(|input| input.message.properties.as_ref());
    properties.flat_map(|properties| properties.user.iter().map(|(name, value)| (&**name, &**value))).collect()
}

/// What one large batch took is not kept.
fn keep_little(block: &mut Vec<u8>) {
    block.clear();
    block.shrink_to(BLOCK_KEPT);
}

fn wrong_world(error: &dyn fmt::Display) -> Error {
    Error::WrongWorld(format!("{error:#}"))
}

/// An interface may bear the right name and mean something else: its functions must have the types of the contract.
fn check_function<Params, Results>(
    component: &Component,
    pre: &InstancePre<Guest>,
    interface: &str,
    name: &str,
) -> Result<(), Error>
where
    Params: wasmtime::component::ComponentNamedList + wasmtime::component::Lower,
    Results: wasmtime::component::ComponentNamedList + wasmtime::component::Lift,
{
    use wasmtime::component::types::ComponentItem;
    let wrong = |error: &dyn fmt::Display| {
        Error::WrongWorld(format!("its `{name}` of `{interface}` is not as in the contract: {error:#}"))
    };
    let exported = component.inner.get_export_index(None, interface);
    match exported.and_then(|exported| component.inner.get_export(Some(&exported), name)) {
        Some((ComponentItem::ComponentFunc(func), _)) => {
            func.typecheck::<Params, Results>(&pre.instance_type()).map_err(|error| wrong(&error))
        }
        _ => Err(wrong(&"not a function")),
    }
}
