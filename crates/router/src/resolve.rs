//! Step 3, resolve: what a message looks like at a route's targets. Traffic and `tidegate explain` call the same.
//!
//! In: a message that plugins let pass, and the [`Shape`] of its route. Out: the message to send, or why there is none.
//! `onward` and `send` of step 4 call this first; a message that a plugin sends to a target by name is dressed but
//! keeps the topic that the plugin gave it.

use bytes::BytesMut;
use std::cell::OnceCell;
use tidegate_config::{Remap, RemapError, Retain, Route};
use tidegate_message::{Message, QoS, Topic};

/// How much an arena for remapped topics takes at a time, in bytes: topics share one allocation until it is used up.
const ARENA_BYTES: usize = 16 * 1024;

/// What a route does to its messages.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Shape {
    /// Another topic.
    remap: Option<Remap>,
    /// Another QoS.
    qos: Option<QoS>,
    /// No retain flag.
    clear_retain: bool,
}

impl Shape {
    /// Of a route as configured.
    pub fn of(route: &Route) -> Self {
        let remap = route.remap.clone().filter(|remap| !remap.renaming.is_nothing() || remap.response_topic);
        Self { remap, qos: route.qos, clear_retain: route.retain == Retain::Clear }
    }

    /// Gives a message that goes to the route's own targets its topic there, and its response topic if that is asked for
    /// and fits. `arena` is where new topics are made; any will do.
    ///
    /// # Errors
    /// The topic is not one that `remap` is for, or what is made of it is no topic.
    #[inline]
    pub fn remap(&self, message: &mut Message, arena: &mut BytesMut) -> Result<(), RemapError> {
        let Some(remap) = &self.remap else { return Ok(()) };
        if arena.capacity() == 0 {
            arena.reserve(ARENA_BYTES);
        }
        message.topic = remap.apply_in(&message.topic, arena)?;
        if let Some(properties) = &mut message.properties
            && let Some(response) = &mut properties.response_topic
            && let Some(at_the_target) = remap.response_in(response, arena)
        {
            *response = at_the_target;
        }
        Ok(())
    }

    /// As [`remap`](Self::remap), with what the topic became the last time in `known`, or kept there for the next.
    ///
    /// # Errors
    /// As [`remap`](Self::remap).
    #[inline]
    pub(crate) fn remap_known(
        &self,
        message: &mut Message,
        known: &OnceCell<Topic>,
        arena: &mut BytesMut,
    ) -> Result<(), RemapError> {
        if self.remap.is_none() {
            return Ok(());
        }
        // A response topic is another for each message.
        if message.properties.as_ref().is_some_and(|properties| properties.response_topic.is_some()) {
            return self.remap(message, arena);
        }
        match known.get() {
            Some(topic) => message.topic = topic.clone(),
            None => {
                self.remap(message, arena)?;
                let _ = known.set(message.topic.detached());
            }
        }
        Ok(())
    }

    /// The QoS that a message has at any target.
    #[inline]
    pub(crate) fn qos(&self, message: &Message) -> QoS {
        self.qos.unwrap_or(message.qos)
    }

    /// Gives a message the QoS and retain flag that it has at any target, those that a plugin names included.
    #[inline]
    pub fn dress(&self, message: &mut Message) {
        if let Some(qos) = self.qos {
            message.qos = qos;
        }
        message.retain &= !self.clear_retain;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tidegate_config::Renaming;
    use tidegate_message::Properties;

    #[test]
    fn topics_of_one_arena_do_not_run_into_each_other() {
        let prefix = Renaming::Front { strip: String::new(), prefix: "p/".into() };
        let (mut arena, remap) = (BytesMut::new(), Remap::from(prefix));
        let topics: Vec<_> = (0..5_000).map(|n| Topic::new(format!("t{n}")).unwrap()).collect();
        let made: Vec<_> = topics.iter().map(|topic| remap.apply_in(topic, &mut arena).unwrap()).collect();
        assert!(made.iter().zip(&topics).all(|(made, topic)| made.as_str() == format!("p/{topic}")));
    }

    #[test]
    fn a_message_is_dressed_as_its_route_says() {
        let front = Renaming::Front { strip: "a/".into(), prefix: "b/".into() };
        let remap = Remap::from(front).with_response_topic(true);
        let shape = Shape { remap: Some(remap), qos: Some(QoS::AtLeastOnce), clear_retain: true };
        let mut message = Message::new(Topic::new("a/t").unwrap(), "x", QoS::AtMostOnce);
        message.retain = true;
        let response_topic = Some(Topic::new("a/answers").unwrap());
        message.properties = Some(Box::new(Properties { response_topic, ..Properties::default() }));
        shape.remap(&mut message, &mut BytesMut::new()).unwrap();
        shape.dress(&mut message);
        let answers = message.properties.unwrap().response_topic.unwrap();
        assert_eq!((message.topic.as_str(), answers.as_str()), ("b/t", "b/answers"));
        assert_eq!((message.qos, message.retain), (QoS::AtLeastOnce, false));
    }
}
