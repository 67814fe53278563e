//! Hops: a message names the brokers that gateways have brought it to, and is brought to none of them twice by the same one.
//!
//! They stand in a user property (MQTT 5.0 section 3.3.2.3.7), each as `gateway/broker`, by the names of the configuration, the
//! first that it came to first, a blank between two. What leaves without the property gets one from its link; to what bears
//! one the router adds the next. What comes back from a broker that this gateway has brought it to goes no further: the
//! broker does not keep to no-local. Nor does what other gateways have carried on since. Brokers of MQTT 3 carry no property: `echo` and `rounds` are for those.

use crate::Router;
use crate::account::DropReason;
use crate::debt::Ack;
use crate::ids::BrokerId;
use crate::sessions::Sessions;
use tidegate_config::Config;
use tidegate_message::{ByteString, Message, Properties};

/// The name of the user property.
const HOPS: ByteString = ByteString::from_static("tidegate-hops");

/// The gateway's own name, and how many hops a message may bear.
#[derive(Debug, Clone, Default)]
pub struct Hops {
    name: ByteString,
    /// Zero: nothing is marked, and no mark is read.
    limit: usize,
}

impl Hops {
    /// As configured.
    pub fn of(config: &Config) -> Self {
        Self { name: config.gateway.name.as_str().into(), limit: config.gateway.hop_limit as usize }
    }

    /// What a message bears that leaves for this broker and has had no hop before.
    pub fn mark(&self, broker: &str) -> Option<(ByteString, ByteString)> {
        self.is_on().then(|| (HOPS, format!("{}/{broker}", self.name).into()))
    }

    /// Whether messages are marked at all.
    pub(crate) const fn is_on(&self) -> bool {
        self.limit > 0
    }

    /// Whether a message that comes from this broker has been here: this gateway has brought it there, or other gateways have
    /// carried on what it has brought anywhere. What it alone has brought to a broker that it takes from under another name too
    /// goes on, as with bridges that are clients of their own.
    fn is_back(&self, message: &Message, from: &str) -> bool {
        let (mut is_ours, mut is_back) = (false, false);
        for hop in borne(message) {
            let broker = hop.strip_prefix(&*self.name).and_then(|rest| rest.strip_prefix('/'));
            is_back |= is_ours && broker.is_none() || broker == Some(from);
            is_ours |= broker.is_some();
        }
        is_back
    }

    /// Takes the last hop off if it is one of this gateway.
    fn take_back(&self, user: &mut Vec<(ByteString, ByteString)>) {
        let Some(at) = user.iter().position(|(name, _)| *name == HOPS) else { return };
        let (before, last) = user[at].1.rsplit_once(' ').unwrap_or(("", &user[at].1));
        if last.strip_prefix(&*self.name).is_some_and(|rest| rest.starts_with('/')) {
            let before = ByteString::from(before);
            if before.is_empty() {
                user.remove(at);
            } else {
                user[at].1 = before;
            }
        }
    }

    /// Whether this gateway has brought a message to this broker.
    fn has_brought(&self, message: &Message, broker: &str) -> bool {
        let is_it = |hop: &str| hop.strip_prefix(&*self.name).and_then(|rest| rest.strip_prefix('/')) == Some(broker);
        borne(message).any(is_it)
    }
}

/// The hops that a message bears. There may be several properties, where somebody has put them there.
fn borne(message: &Message) -> impl Iterator<Item = &str> {
    let user = message.properties.iter().flat_map(|own| &own.user);
    user.filter(|(name, _)| *name == HOPS).flat_map(|(_, hops)| hops.split(' ')).filter(|hop| !hop.is_empty())
}

impl<A: Ack, S: Sessions> Router<A, S> {
    /// Whether a message that has come from a broker goes on: not if this gateway has brought it there, or others too far.
    #[inline]
    pub(crate) fn passes(&mut self, from: BrokerId, message: &Message) -> bool {
        message.properties.as_ref().is_none_or(|own| own.user.is_empty())
            || !self.hops.is_on()
            || self.may_pass(from, message)
    }

    #[inline(never)]
    fn may_pass(&mut self, from: BrokerId, message: &Message) -> bool {
        let broker = &mut self.brokers[from.at()];
        let is_back = self.hops.is_back(message, &broker.name);
        let is_too_far = borne(message).count() >= self.hops.limit;
        if !is_back && !is_too_far {
            return true;
        }
        broker.looped += 1;
        // What we have stored there is handed to us again at a subscription, by mosquitto in spite of no-local.
        if !(is_back && message.retain) {
            let why = if is_back {
                "it came back from where this gateway, or another of its name, had brought it"
            } else {
                "it has had as many hops as `hop_limit` allows"
            };
            self.tell_loop(from, message, why);
        }
        false
    }

    /// A message is about to leave for a broker: it gets another hop if it has had one, or if nobody else would give it the first.
    ///
    /// # Errors
    /// This gateway has brought it there before.
    #[inline]
    pub(crate) fn hop(&mut self, to: BrokerId, message: &mut Message) -> Result<(), DropReason<'static>> {
        let has_properties = message.properties.as_ref().is_some_and(|own| !own.user.is_empty());
        if has_properties || self.brokers[to.at()].marked_here { self.hop_marked(to, message) } else { Ok(()) }
    }

    #[inline(never)]
    fn hop_marked(&mut self, to: BrokerId, message: &mut Message) -> Result<(), DropReason<'static>> {
        let broker = &self.brokers[to.at()];
        if !broker.marked_here && borne(message).next().is_none() {
            return Ok(());
        }
        let Some((name, hop)) = broker.mark.clone() else { return Ok(()) };
        if self.hops.has_brought(message, &broker.name) {
            self.brokers[to.at()].looped += 1;
            self.tell_loop(to, message, "it has come round by other gateways, and was to be brought there again");
            return Err(DropReason::Loop);
        }
        let user = &mut message.properties.get_or_insert_with(|| Box::new(Properties::default())).user;
        match user.iter_mut().find(|(name, _)| *name == HOPS) {
            Some((_, hops)) => *hops = format!("{hops} {hop}").into(),
            None => user.push((name, hop)),
        }
        Ok(())
    }

    /// A message that left and is here again, to leave once more: it has not come where it was to go.
    #[inline]
    pub(crate) fn unhop(&self, message: &mut Message) {
        if let Some(own) = message.properties.as_mut().filter(|own| !own.user.is_empty()) {
            self.hops.take_back(&mut own.user);
        }
    }

    /// Each message of a loop comes back: ten times as many are news.
    fn tell_loop(&self, at: BrokerId, message: &Message, why: &str) {
        let broker = &self.brokers[at.at()];
        if broker.looped == 10_u64.pow(broker.looped.ilog10()) {
            tracing::warn!(
                name: "loop",
                broker = &*broker.name,
                topic = %message.topic.as_str().escape_debug(),
                hops = borne(message).collect::<Vec<_>>().join(" "),
                dropped = broker.looped,
                "a loop: {why}; the message goes no further, and is counted as tidegate_broker_loops_total"
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tidegate_message::{QoS, Topic};

    const OURS: &str = "cottage";

    fn with(hops: &[&str]) -> Message {
        let user = hops.iter().map(|hops| (HOPS, (*hops).into())).collect();
        let own = Some(Box::new(Properties { user, ..Properties::default() }));
        Message { properties: own, ..Message::new(Topic::new("t").unwrap(), "x", QoS::AtLeastOnce) }
    }

    fn hops() -> Hops {
        Hops { name: OURS.into(), limit: 8 }
    }

    #[test]
    fn a_gateway_knows_where_it_has_brought_a_message_and_nobody_elses_way() {
        for (borne, brought) in [
            (&["cottage/home"][..], true),
            (&["hub/office cottage/home hub/home"], true),
            (&["hub/office", "cottage/home"], true),
            (&["cottage/office", "hub/home", "cottage2/home", "old-cottage/home", "cottage/home2", "cottage"], false),
            (&[], false),
        ] {
            assert_eq!(hops().has_brought(&with(borne), "home"), brought, "{borne:?}");
        }
    }

    #[test]
    fn what_others_have_carried_on_is_back_and_what_is_taken_under_another_name_is_not() {
        for (borne, is_back) in [
            ("cottage/home", true),
            ("cottage/office hub/home", true),
            ("hub/office cottage/home-2", false),
            ("cottage/home-2 cottage/home-3", false),
            ("cottage/home cottage/home-2", true),
            ("hub/home hub2/home", false),
        ] {
            assert_eq!(hops().is_back(&with(&[borne]), "home"), is_back, "{borne}");
        }
    }

    #[test]
    fn a_message_that_was_sent_in_vain_has_not_been_there() {
        for (left, again) in [
            ("hub/home cottage/office", Some("hub/home")),
            ("cottage/office", None),
            ("cottage/home hub/office", Some("cottage/home hub/office")),
        ] {
            let mut message = with(&[left]);
            hops().take_back(&mut message.properties.as_mut().unwrap().user);
            let borne: Vec<_> = borne(&message).collect();
            assert_eq!(borne.join(" "), again.unwrap_or_default(), "{left}");
        }
    }

    #[test]
    fn without_a_limit_nothing_is_marked() {
        assert_eq!(hops().mark("home"), Some((HOPS, "cottage/home".into())));
        assert_eq!(Hops { limit: 0, ..hops() }.mark("home"), None);
    }
}
