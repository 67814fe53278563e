//! Messages of the owner's own that pass no port: what is said at each connection, and what is said now and then.

use tidegate_message::Message;

/// What is to be said. Bounded by the number of topics: of one topic the last message stands for all.
#[derive(Debug, Default)]
pub(crate) struct Own {
    /// At each connection.
    lasting: Vec<Message>,
    /// As soon as there is room.
    waiting: Vec<Message>,
}

impl Own {
    /// What is said at each connection from now on; what is new of it as soon as there is room.
    pub(crate) fn set_lasting(&mut self, messages: Vec<Message>) {
        let before = std::mem::replace(&mut self.lasting, messages.clone());
        messages.into_iter().filter(|message| !before.contains(message)).for_each(|message| self.say(message));
    }

    /// Once.
    pub(crate) fn say(&mut self, message: Message) {
        self.waiting.retain(|known| known.topic != message.topic);
        self.waiting.push(message);
    }

    /// A connection is up.
    pub(crate) fn connected(&mut self) {
        let later = std::mem::take(&mut self.waiting);
        self.lasting.clone().into_iter().chain(later).for_each(|message| self.say(message));
    }

    /// Hands the messages out while they are taken.
    pub(crate) fn while_taken(&mut self, mut take: impl FnMut(&Message) -> bool) {
        let taken = self.waiting.iter().take_while(|message| take(message)).count();
        self.waiting.drain(..taken);
    }

    /// The broker hangs up on a message like this. True if it was one of these.
    pub(crate) fn forget(&mut self, message: &Message) -> bool {
        let before = self.lasting.len() + self.waiting.len();
        self.lasting.retain(|known| known.topic != message.topic);
        self.waiting.retain(|known| known.topic != message.topic);
        before > self.lasting.len() + self.waiting.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tidegate_message::{QoS, Topic};

    fn message(topic: &str, payload: &'static str) -> Message {
        Message::new(Topic::new(topic.to_owned()).unwrap(), payload, QoS::AtMostOnce)
    }

    fn taken(own: &mut Own, room: usize) -> Vec<Message> {
        let mut all = Vec::new();
        own.while_taken(|message| {
            let takes = all.len() < room;
            if takes {
                all.push(message.clone());
            }
            takes
        });
        all
    }

    #[test]
    fn what_lasts_is_said_at_each_connection_and_of_a_topic_the_last_is_said() {
        let mut own = Own::default();
        own.set_lasting(vec![message("a", "1"), message("b", "1")]);
        own.say(message("n", "1"));
        own.connected();
        assert_eq!(taken(&mut own, 1), [message("a", "1")]);
        own.say(message("n", "2"));
        assert_eq!(taken(&mut own, 9), [message("b", "1"), message("n", "2")]);
        assert_eq!(taken(&mut own, 9), []);
        own.set_lasting(vec![message("a", "1"), message("b", "")]);
        assert_eq!(taken(&mut own, 9), [message("b", "")], "what is new of it");
        own.connected();
        assert_eq!(taken(&mut own, 9), [message("a", "1"), message("b", "")]);
        assert!(own.forget(&message("b", "")) && !own.forget(&message("b", "")));
        own.connected();
        assert_eq!(taken(&mut own, 9), [message("a", "1")]);
    }
}
