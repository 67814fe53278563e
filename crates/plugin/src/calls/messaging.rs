//! `wasi:messaging`: what a handler sends is what becomes of its message.

use super::{Decided, Verdict, check_function, v1, wrong_world};
use crate::answer::Decision;
use crate::contract::messaging::exports::wasi::messaging::incoming_handler;
use crate::contract::messaging::wasi::messaging::{producer, types};
use crate::guest::Guest;
use crate::host::Component;
use crate::instance::Input;
use crate::messaging::{Letter, words};
use crate::{Diagnostic, Error};
use wasmtime::Store;
use wasmtime::component::{HasSelf, Instance, InstancePre, Linker, Resource};

/// All of its names begin with this.
pub(crate) const PACKAGE: &str = "wasi:messaging/";
pub(super) const HANDLER: &str = "wasi:messaging/incoming-handler@";
pub(super) const VERSION: &str = "0.2.0-draft";

/// What it may import.
pub(crate) const SERVED: [&str; 2] = ["wasi:messaging/types@0.2.0-draft", "wasi:messaging/producer@0.2.0-draft"];

/// Why a reason is given where a handler has sent nothing: its message is counted under it.
const NOT_PUBLISHED: &str = "not_published";

/// With the log and the state of contract 1, for those that want them too.
pub(super) fn link(linker: &mut Linker<Guest>, state: bool) -> wasmtime::Result<()> {
    v1::link(linker, state)?;
    types::add_to_linker::<_, HasSelf<Guest>>(linker, |guest| guest)?;
    producer::add_to_linker::<_, HasSelf<Guest>>(linker, |guest| guest)
}

/// What a component exports.
pub(crate) struct Exports(incoming_handler::GuestIndices);

impl Exports {
    pub(super) fn new(component: &Component, pre: &InstancePre<Guest>) -> Result<Self, Error> {
        let handler = incoming_handler::GuestIndices::new(pre).map_err(|error| wrong_world(&error))?;
        let interface = format!("{HANDLER}{VERSION}");
        check_function::<(Resource<Letter>,), (Result<(), types::Error>,)>(component, pre, &interface, "handle")?;
        Ok(Self(handler))
    }

    pub(super) fn load(&self, store: &mut Store<Guest>, instance: &Instance) -> wasmtime::Result<Calls> {
        Ok(Calls(self.0.load(store, instance)?))
    }
}

/// The function of one guest.
pub(crate) struct Calls(incoming_handler::Guest);

impl Calls {
    /// There is no function for it.
    pub(super) fn configure(config: &str) -> Verdict {
        match config {
            "{}" => Ok(()),
            _ => Err(vec![Diagnostic {
                at: String::new(),
                message: "a handler of wasi:messaging takes no configuration: remove `config`".to_owned(),
            }]),
        }
    }

    pub(super) async fn handle(
        &self,
        store: &mut Store<Guest>,
        inputs: &[Input<'_>],
        outputs_max: usize,
    ) -> wasmtime::Result<Decided> {
        let room = store.hostcall_fuel();
        store.data_mut().messaging.begin(room);
        let mut decisions = Vec::with_capacity(inputs.len());
        for input in inputs {
            let letter = store.data_mut().messaging.receive(input.message, outputs_max);
            let said = self.0.call_handle(&mut *store, letter).await?;
            let sent = store.data_mut().messaging.take_sent();
            decisions.push(match said {
                Ok(()) if sent.is_empty() => Decision::Drop(NOT_PUBLISHED.to_owned()),
                Ok(()) => Decision::Forward(sent),
                Err(error) => Decision::Reject(words(error)),
            });
        }
        store.data_mut().messaging.begin(0);
        Ok(Ok(decisions))
    }
}
