//! What the calls of each version have in common.

/// The functions of a guest and how they are found, over the types that are generated from one version of the contract. Whoever
/// says it adds `Calls::configure` and `properties`, in which the versions differ.
macro_rules! calls {
    ($bindings:ident, $version:literal, $layout:ident, configure: $verdict:ty, handle: $decisions:ty, properties: $properties:ident) => {
        use super::{Decided, Verdict, check_function, counted, keep_little, user_properties, wrong_world};
        use crate::answer::{Decision, Output};
        use crate::contract::$bindings::exports::tidegate::gateway::{handler, packed, timer};
        use crate::contract::$bindings::tidegate::gateway::{log, state, types as wit};
        use crate::guest::Guest;
        use crate::host::Component;
        use crate::instance::Input;
        use crate::packed::{self as block, Layout};
        use crate::{Diagnostic, Error};
        use tidegate_message::{Properties, QoS};
        use wasmtime::Store;
        use wasmtime::component::{HasSelf, Instance, InstancePre, Linker};

        const HANDLER: &str = concat!("tidegate:gateway/handler@", $version);
        const TIMER: &str = concat!("tidegate:gateway/timer@", $version);
        const PACKED: &str = concat!("tidegate:gateway/packed@", $version);

        pub(super) fn link(linker: &mut Linker<Guest>, state: bool) -> wasmtime::Result<()> {
            wit::add_to_linker::<_, HasSelf<Guest>>(linker, |guest| guest)?;
            log::add_to_linker::<_, HasSelf<Guest>>(linker, |guest| guest)?;
            if state {
                state::add_to_linker::<_, HasSelf<Guest>>(linker, |guest| guest)?;
            }
            Ok(())
        }

        /// What a component exports.
        pub(crate) struct Exports {
            handler: handler::GuestIndices,
            pub(super) timer: Option<timer::GuestIndices>,
            packed: Option<packed::GuestIndices>,
        }

        impl Exports {
            pub(super) fn new(component: &Component, pre: &InstancePre<Guest>) -> Result<Self, Error> {
                let has = |interface: &str| component.inner.get_export_index(None, interface).is_some();
                let handler = handler::GuestIndices::new(pre).map_err(|error| wrong_world(&error))?;
                check_function::<(&str,), ($verdict,)>(component, pre, HANDLER, "configure")?;
                check_function::<(&str, &[wit::Message<'_>]), ($decisions,)>(component, pre, HANDLER, "handle")?;
                let timer = has(TIMER).then(|| timer::GuestIndices::new(pre)).transpose();
                let packed = has(PACKED).then(|| packed::GuestIndices::new(pre)).transpose();
                Ok(Self {
                    handler,
                    timer: timer.map_err(|error| wrong_world(&error))?,
                    packed: packed.map_err(|error| wrong_world(&error))?,
                })
            }

            pub(super) fn load(&self, store: &mut Store<Guest>, instance: &Instance) -> wasmtime::Result<Calls> {
                let handler = self.handler.load(&mut *store, instance)?;
                let timer = self.timer.as_ref().map(|timer| timer.load(&mut *store, instance)).transpose()?;
                let packed = self.packed.as_ref().map(|packed| packed.load(&mut *store, instance)).transpose()?;
                Ok(Calls { handler, timer, packed, messages: Vec::new(), block: Vec::new() })
            }
        }

        /// The functions of one guest.
        pub(crate) struct Calls {
            handler: handler::Guest,
            timer: Option<timer::Guest>,
            /// Called in place of the handler's, if it is there.
            packed: Option<packed::Guest>,
            /// Kept for its allocation between calls; always empty.
            messages: Vec<wit::Message<'static>>,
            /// As `messages`.
            block: Vec<u8>,
        }

        impl Calls {
            pub(super) async fn handle(
                &mut self,
                store: &mut Store<Guest>,
                source: &str,
                inputs: &[Input<'_>],
                outputs_max: usize,
            ) -> wasmtime::Result<Decided> {
                if let Some(packed) = &self.packed {
                    block::write(inputs, &mut self.block);
                    let answer = packed.call_handle_packed(&mut *store, source, &self.block).await;
                    keep_little(&mut self.block);
                    return Ok(block::read(Layout::$layout, &answer?, inputs.len(), outputs_max));
                }
                let mut messages = recycle(std::mem::take(&mut self.messages));
                let users = user_properties(inputs);
                let mut users = &users[..];
                messages.extend(inputs.iter().map(|input| lower(input, &mut users)));
                let decisions = self.handler.call_handle(&mut *store, source, &messages).await;
                self.messages = recycle(messages);
                Ok(counted(decisions?.into_iter().map(Decision::from).collect(), inputs.len()))
            }

            pub(super) async fn tick(&self, store: &mut Store<Guest>, now_ms: u64) -> wasmtime::Result<Vec<Output>> {
                let Some(timer) = &self.timer else { return Ok(Vec::new()) };
                Ok(timer.call_tick(store, now_ms).await?.into_iter().map(Output::from).collect())
            }
        }

        /// An empty vector for messages of another lifetime in the same allocation.
        fn recycle<'a>(mut messages: Vec<wit::Message<'_>>) -> Vec<wit::Message<'a>> {
            messages.clear();
            messages.into_iter().map(|_| unreachable!("cleared")).collect()
        }

        /// What crosses the boundary borrows from the message; only the guest gets a copy.
        fn lower<'a>(input: &Input<'a>, users: &mut &'a [(&'a str, &'a str)]) -> wit::Message<'a> {
            let message = input.message;
            wit::Message {
                id: input.id,
                topic: message.topic.as_str(),
                payload: &message.payload,
                qos: match message.qos {
                    QoS::AtMostOnce => wit::Qos::AtMostOnce,
                    QoS::AtLeastOnce => wit::Qos::AtLeastOnce,
                    QoS::ExactlyOnce => wit::Qos::ExactlyOnce,
                },
                retain: message.retain,
                properties: properties(message.properties.as_deref().map(|own| filled(own, users))),
                received_ms: input.received_ms,
                redelivered: input.redelivered,
            }
        }

        fn filled<'a>(own: &'a Properties, users: &mut &'a [(&'a str, &'a str)]) -> wit::$properties<'a> {
            let (user, rest) = users.split_at(own.user.len());
            *users = rest;
            wit::$properties {
                content_type: own.content_type.as_deref(),
                response_topic: own.response_topic.as_ref().map(|topic| topic.as_str()),
                correlation_data: own.correlation_data.as_deref(),
                message_expiry_seconds: own.message_expiry_seconds,
                payload_is_utf8: own.payload_is_utf8,
                user,
            }
        }

        fn own(from: wit::Diagnostic) -> Diagnostic {
            Diagnostic { at: from.at, message: from.message }
        }
    };
}

pub(super) use calls;
