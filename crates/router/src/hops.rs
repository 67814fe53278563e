//! Hops: a message names the gateways that it has passed, and passes none of them twice.
//!
//! The names stand in a user property (MQTT 5.0 section 3.3.2.3.7), the first that it passed first, a blank between two. A
//! gateway adds its own to what comes with such a property, and its links and the box's own broker put one on what leaves
//! without. What bears the gateway's own name has been here: it has come back through other gateways, or from a broker
//! that does not keep to no-local. Brokers of MQTT 3 carry no property: `echo` and `rounds` are for those.

use crate::Router;
use crate::debt::Ack;
use crate::ids::BrokerId;
use crate::sessions::Sessions;
use tidegate_config::Config;
use tidegate_message::{ByteString, Message, Properties};

/// The name of the user property.
const HOPS: ByteString = ByteString::from_static("tidegate-hops");

/// The gateway's own name, and how many a message may bear.
#[derive(Debug, Clone, Default)]
pub struct Hops {
    name: ByteString,
    /// Zero: nothing is marked, and no mark is read.
    limit: usize,
}

/// Why a message goes no further.
#[derive(Debug, PartialEq, Eq)]
enum Stop {
    BeenHere,
    TooFar,
}

impl Hops {
    /// As configured.
    pub fn of(config: &Config) -> Self {
        Self { name: config.gateway.name.as_str().into(), limit: config.gateway.hop_limit as usize }
    }

    /// What a message bears that leaves without having passed another gateway.
    pub fn mark(&self) -> Option<(ByteString, ByteString)> {
        (self.limit > 0).then(|| (HOPS, self.name.clone()))
    }

    /// A message has come: it bears this gateway's name too from here on, if it bears any. An error if it is to go no further.
    fn pass(&self, properties: &mut Properties) -> Result<(), Stop> {
        if self.limit == 0 {
            return Ok(());
        }
        let mut hops = 1;
        for name in borne(properties).flat_map(|names| names.split(' ')).filter(|name| !name.is_empty()) {
            if *name == *self.name {
                return Err(Stop::BeenHere);
            }
            hops += 1;
        }
        if hops > self.limit {
            return Err(Stop::TooFar);
        }
        if let Some((_, names)) = properties.user.iter_mut().find(|(name, _)| *name == HOPS) {
            *names = format!("{names} {}", self.name).into();
        }
        Ok(())
    }
}

/// The names that a message bears. There may be several properties, where somebody has put them there.
fn borne(properties: &Properties) -> impl Iterator<Item = &str> {
    properties.user.iter().filter(|(name, _)| *name == HOPS).map(|(_, names)| &**names)
}

impl<A: Ack, S: Sessions> Router<A, S> {
    /// A message has come from a broker. False if it goes no further, for it has passed this gateway before, or too many.
    pub(crate) fn passes(&mut self, from: BrokerId, message: &mut Message) -> bool {
        let Some(properties) = message.properties.as_mut().filter(|own| !own.user.is_empty()) else { return true };
        let Err(stop) = self.hops.pass(properties) else { return true };
        let broker = &mut self.brokers[from.at()];
        broker.looped += 1;
        if message.retain {
            // What we have stored there is handed to us again at a subscription, by mosquitto in spite of no-local.
            return false;
        }
        // Each message of a loop comes back: ten times as many are news.
        if broker.looped.ilog10() > (broker.looped - 1).checked_ilog10().unwrap_or(0) || broker.looped == 1 {
            let hops = borne(properties).collect::<Vec<_>>().join(" ");
            tracing::warn!(
                broker = &*broker.name,
                topic = %message.topic.as_str().escape_debug(),
                hops,
                dropped = broker.looped,
                "{}; counted as tidegate_broker_loops_total",
                match stop {
                    Stop::BeenHere => "a loop: a message came back that has passed this gateway before, and goes no further",
                    Stop::TooFar => "a message has passed as many gateways as `hop_limit` allows, and goes no further",
                }
            );
        }
        false
    }

    /// A message is about to go to the box's own broker, which puts no mark on what it is given.
    pub(crate) fn mark(&self, message: &mut Message) {
        let Some(mark) = self.hops.mark() else { return };
        let properties = message.properties.get_or_insert_with(Box::default);
        if borne(properties).next().is_none() {
            properties.user.push(mark);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pass(limit: usize, names: &[&str]) -> Result<Vec<String>, Stop> {
        let hops = Hops { name: "cottage".into(), limit };
        let user = names.iter().map(|names| (HOPS, (*names).into())).collect();
        let mut properties = Properties { user, ..Properties::default() };
        hops.pass(&mut properties).map(|()| borne(&properties).map(str::to_owned).collect())
    }

    #[test]
    fn a_message_passes_each_gateway_once() {
        assert_eq!(pass(8, &["office hub"]), Ok(vec!["office hub cottage".to_owned()]));
        assert_eq!(pass(8, &[]), Ok(vec![]), "what leaves without a mark gets one there");
        for names in [&["cottage"][..], &["office cottage"], &["cottage office"], &["office", "hub cottage"]] {
            assert_eq!(pass(8, names), Err(Stop::BeenHere), "{names:?}");
        }
        assert_eq!(pass(8, &["cottage2 old-cottage"]), Ok(vec!["cottage2 old-cottage cottage".to_owned()]));
    }

    #[test]
    fn a_message_passes_so_many_gateways_as_are_allowed() {
        assert_eq!(pass(3, &["a b"]), Ok(vec!["a b cottage".to_owned()]));
        assert_eq!(pass(3, &["a b c"]), Err(Stop::TooFar));
        assert_eq!(pass(3, &["a", "b", "c"]), Err(Stop::TooFar));
        assert_eq!(pass(1, &["a"]), Err(Stop::TooFar), "none but this one");
        assert_eq!(pass(0, &["cottage"]), Ok(vec!["cottage".to_owned()]), "not looked at");
    }
}
