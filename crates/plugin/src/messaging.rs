//! `wasi:messaging`: the messages and the clients of a guest, and what it has sent during a call of `handle`.
//!
//! A message stands here and the guest has its number. All of them are gone when the call has returned, so nothing
//! that a guest keeps takes memory of the host's. A client is no more than a number: the place of a target.

use crate::answer::{Edit, Output, Property, To};
use crate::contract::messaging::wasi::messaging::producer;
use crate::contract::messaging::wasi::messaging::types::{Error, Host, HostClient, HostMessage};
use crate::guest::{Guest, stop};
use crate::outcome::Fault;
use bytes::Bytes;
use std::collections::HashMap;
use std::mem::take;
use tidegate_message::{ByteString, Message};
use wasmtime::component::Resource;

/// The name of the client that sends to the route's next plugin, after the last one to the route's targets.
const ONWARD: &str = "onward";

/// What a guest may hand over while it starts, in bytes.
const STARTING_BYTES: usize = 64 * 1024;

type Metadata = Vec<(String, String)>;

/// Where messages are sent to: 0 is onward, n the target at place n - 1 of the grants.
#[allow(unreachable_pub)] // the bindings name it
pub struct Client;

/// A message that came, or that the guest has made.
#[derive(Default)]
#[allow(unreachable_pub)] // as above
pub struct Letter {
    topic: Option<String>,
    content_type: Option<String>,
    data: Bytes,
    metadata: Metadata,
    /// What came; none if the guest has made it.
    came: Option<Came>,
}

/// What of a message that came is not as it was.
#[derive(Default)]
struct Came {
    has_other_data: bool,
    has_other_properties: bool,
    says_utf8: bool,
}

/// What a guest of `wasi:messaging` has in one call.
pub(crate) struct Messaging {
    letters: HashMap<u32, Letter>,
    /// The number of the next letter.
    next: u32,
    /// What the guest may still hand over in the call in progress, in bytes.
    left: usize,
    /// What `handle` has sent for the message that it has now; none outside of it.
    sent: Option<Vec<Output>>,
    /// Of more outputs for one message only one is kept, which is enough to be told.
    outputs_max: usize,
    /// Those that were granted.
    targets: Vec<String>,
}

impl Messaging {
    pub(crate) fn new(targets: Vec<String>) -> Self {
        Self { letters: HashMap::new(), next: 0, left: STARTING_BYTES, sent: None, outputs_max: 0, targets }
    }

    /// A call begins, or has ended: all letters are gone, and the guest may hand over so many bytes.
    pub(crate) fn begin(&mut self, left: usize) {
        self.letters.clear();
        self.left = left;
        self.sent = None;
    }

    /// The guest is handed this message, and may send until [`Self::take_sent`].
    pub(crate) fn receive(&mut self, message: &Message, outputs_max: usize) -> Resource<Letter> {
        (self.sent, self.outputs_max) = (Some(Vec::new()), outputs_max);
        let properties = message.properties.as_deref();
        let pair = |(name, value): &(ByteString, ByteString)| (name.to_string(), value.to_string());
        self.add(Letter {
            topic: Some(message.topic.as_str().to_owned()),
            content_type: properties.and_then(|own| own.content_type.as_deref().map(str::to_owned)),
            data: message.payload.clone(),
            metadata: properties.map(|own| own.user.iter().map(pair).collect()).unwrap_or_default(),
            came: Some(Came { says_utf8: properties.is_some_and(|own| own.payload_is_utf8), ..Came::default() }),
        })
    }

    /// What was sent since a message was received last.
    pub(crate) fn take_sent(&mut self) -> Vec<Output> {
        self.sent.take().unwrap_or_default()
    }

    fn add(&mut self, letter: Letter) -> Resource<Letter> {
        let number = self.next;
        self.next = self.next.wrapping_add(1);
        self.letters.insert(number, letter);
        Resource::new_own(number)
    }

    fn get(&mut self, letter: &Resource<Letter>) -> wasmtime::Result<&mut Letter> {
        self.letters.get_mut(&letter.rep()).ok_or_else(is_gone)
    }
}

fn is_gone() -> wasmtime::Error {
    wasmtime::format_err!("it has kept a message of an earlier call: it is gone when the call has returned")
}

impl Letter {
    /// As an output: the message that came but for what the guest has changed, or one of its own with the QoS and the retain flag
    /// of the one that came.
    fn sent(self, to: To, topic: String) -> Output {
        let mut output = Output::unchanged(to);
        output.topic = Some(topic);
        let (has_data, has_properties) = match &self.came {
            Some(came) => (came.has_other_data, came.has_other_properties),
            None => (true, true),
        };
        if has_properties {
            match self.came {
                Some(_) => output.edits.extend([Property::ContentType, Property::User].map(Edit::Remove)),
                None => output.edits.push(Edit::Remove(Property::Every)),
            }
            output.edits.extend(self.content_type.map(Edit::ContentType));
            output.edits.extend(self.metadata.into_iter().map(|(name, value)| Edit::User(name, value)));
        }
        if has_data {
            output.payload = Some(self.data.into());
            if self.came.is_some_and(|came| came.says_utf8) {
                output.edits.push(Edit::Remove(Property::PayloadIsUtf8));
            }
        }
        output
    }

    /// To be changed.
    fn properties(&mut self) -> (&mut Option<String>, &mut Metadata) {
        if let Some(came) = &mut self.came {
            came.has_other_properties = true;
        }
        (&mut self.content_type, &mut self.metadata)
    }
}

/// Why a guest says that it cannot take a message.
pub(crate) fn words(error: Error) -> String {
    match error {
        Error::Timeout => "timeout".to_owned(),
        Error::Connection(why) => format!("connection: {why}"),
        Error::PermissionDenied(why) => format!("permission denied: {why}"),
        Error::Other(why) if why.is_empty() => "an error without words".to_owned(),
        Error::Other(why) => why,
    }
}

fn bytes_of(pairs: &Metadata) -> usize {
    pairs.iter().map(|(key, value)| pair_bytes(key, value)).sum()
}

fn pair_bytes(key: &str, value: &str) -> usize {
    key.len() + value.len() + size_of::<(String, String)>()
}

impl Guest {
    fn letter(&mut self, letter: &Resource<Letter>) -> wasmtime::Result<&mut Letter> {
        self.messaging.get(letter)
    }

    /// The guest has handed over so many bytes, which may stay until the call has returned.
    fn handed(&mut self, bytes: usize) -> wasmtime::Result<()> {
        let limit_bytes = self.limits.output_bytes;
        self.messaging.left =
            self.messaging.left.checked_sub(bytes).ok_or_else(|| stop(Fault::TooLarge { limit_bytes }))?;
        Ok(())
    }
}

impl Host for Guest {}

impl HostClient for Guest {
    fn connect(&mut self, name: String) -> wasmtime::Result<Result<Resource<Client>, Error>> {
        let place = match name.as_str() {
            ONWARD => Some(0),
            name => (1..).zip(&self.messaging.targets).find(|(_, target)| *target == name).map(|(place, _)| place),
        };
        Ok(place.map(Resource::new_own).ok_or_else(|| {
            Error::PermissionDenied(format!("`{name}` is not among the grants `targets`, and not `{ONWARD}`"))
        }))
    }

    fn disconnect(&mut self, _client: Resource<Client>) -> wasmtime::Result<Result<(), Error>> {
        Ok(Ok(()))
    }

    fn drop(&mut self, _client: Resource<Client>) -> wasmtime::Result<()> {
        Ok(())
    }
}

impl HostMessage for Guest {
    fn new(&mut self, data: Vec<u8>) -> wasmtime::Result<Resource<Letter>> {
        self.handed(data.len() + size_of::<Letter>())?;
        Ok(self.messaging.add(Letter { data: data.into(), ..Letter::default() }))
    }

    fn topic(&mut self, letter: Resource<Letter>) -> wasmtime::Result<Option<String>> {
        Ok(self.letter(&letter)?.topic.clone())
    }

    fn content_type(&mut self, letter: Resource<Letter>) -> wasmtime::Result<Option<String>> {
        Ok(self.letter(&letter)?.content_type.clone())
    }

    fn set_content_type(&mut self, letter: Resource<Letter>, text: String) -> wasmtime::Result<()> {
        self.handed(text.len())?;
        *self.letter(&letter)?.properties().0 = Some(text);
        Ok(())
    }

    fn data(&mut self, letter: Resource<Letter>) -> wasmtime::Result<Vec<u8>> {
        Ok(self.letter(&letter)?.data.to_vec())
    }

    fn set_data(&mut self, letter: Resource<Letter>, data: Vec<u8>) -> wasmtime::Result<()> {
        self.handed(data.len())?;
        let letter = self.letter(&letter)?;
        letter.data = data.into();
        if let Some(came) = &mut letter.came {
            came.has_other_data = true;
        }
        Ok(())
    }

    fn metadata(&mut self, letter: Resource<Letter>) -> wasmtime::Result<Option<Metadata>> {
        let pairs = &self.letter(&letter)?.metadata;
        Ok((!pairs.is_empty()).then(|| pairs.clone()))
    }

    fn add_metadata(&mut self, letter: Resource<Letter>, key: String, value: String) -> wasmtime::Result<()> {
        self.handed(pair_bytes(&key, &value))?;
        let (_, pairs) = self.letter(&letter)?.properties();
        let place = pairs.iter().position(|(name, _)| *name == key).unwrap_or(pairs.len());
        pairs.retain(|(name, _)| *name != key);
        pairs.insert(place, (key, value));
        Ok(())
    }

    fn set_metadata(&mut self, letter: Resource<Letter>, pairs: Metadata) -> wasmtime::Result<()> {
        self.handed(bytes_of(&pairs))?;
        *self.letter(&letter)?.properties().1 = pairs;
        Ok(())
    }

    fn remove_metadata(&mut self, letter: Resource<Letter>, key: String) -> wasmtime::Result<()> {
        self.letter(&letter)?.properties().1.retain(|(name, _)| *name != key);
        Ok(())
    }

    /// One that was sent, or is of an earlier call, is gone already.
    fn drop(&mut self, letter: Resource<Letter>) -> wasmtime::Result<()> {
        self.messaging.letters.remove(&letter.rep());
        Ok(())
    }
}

impl producer::Host for Guest {
    fn send(
        &mut self,
        client: Resource<Client>,
        topic: String,
        letter: Resource<Letter>,
    ) -> wasmtime::Result<Result<(), Error>> {
        self.handed(topic.len() + size_of::<Output>())?;
        let messaging = &mut self.messaging;
        let target = client.rep().checked_sub(1).and_then(|place| messaging.targets.get(place as usize));
        let to = target.map_or(To::Onward, |name| To::Target(name.clone()));
        let letter = take(messaging.letters.get_mut(&letter.rep()).ok_or_else(is_gone)?);
        let Some(sent) = &mut messaging.sent else {
            let why = "nothing is sent outside of `handle`: what is sent is the decision on a message";
            return Ok(Err(Error::PermissionDenied(why.to_owned())));
        };
        if sent.len() <= messaging.outputs_max {
            sent.push(letter.sent(to, topic));
        }
        Ok(Ok(()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::log::PluginLog;
    use crate::spec::Spec;
    use producer::Host as _;

    /// As a component may while it is instantiated.
    #[test]
    fn nothing_is_sent_outside_of_handle() {
        let log = std::sync::Arc::new(PluginLog::new("tested".into(), 1, false));
        let mut guest = Guest::new(&Spec::new("tested"), &crate::StateStore::new(), log);
        let made = HostMessage::new(&mut guest, b"early".to_vec()).unwrap();
        let client = guest.connect(ONWARD.to_owned()).unwrap().unwrap();
        let said = guest.send(client, "site/a".into(), made).unwrap();
        assert!(matches!(said, Err(Error::PermissionDenied(why)) if why.contains("outside of `handle`")));
        assert!(guest.messaging.take_sent().is_empty());
        let much = HostMessage::new(&mut guest, vec![0; STARTING_BYTES]).unwrap_err();
        assert!(much.to_string().contains("bytes of output"), "{much}");
    }
}
