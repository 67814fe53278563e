//! What a broker does its own way: habits, and how often each of them shows.

use super::properties::{Property, Value};
use super::wire::Message;

/// A broker's own way of doing one thing. Each was seen in a real broker or in a network; see the lines beside them.
#[derive(Debug, Clone)]
pub enum Habit {
    // ---- The hello ----
    /// CONNECT with one of these levels (3, 4, 5; with the bridge bit 0x83, 0x84) is answered so.
    AnswerHello(&'static [u8], Answer),
    /// One more property in each CONNACK of MQTT 5.
    Connack(Property),
    /// What CONNACK says of the session, whatever is kept.
    SessionPresent(bool),
    /// The session of before is gone (brokers that keep them in memory only, restarted).
    ForgetSession,
    /// The connection ends right after CONNACK.
    EndAfterConnack(End),
    /// PINGREQ is never answered.
    IgnorePing,

    // ---- Subscriptions ----
    /// The connection ends instead of the SUBSCRIBE being taken.
    LoseSubscribe,
    /// SUBSCRIBE is taken; the connection ends instead of the answer.
    LoseSuback,
    /// SUBSCRIBE is neither taken nor answered; the connection stays.
    IgnoreSubscribe,
    /// SUBSCRIBE is taken; the answer waits until the test lets it go.
    HoldSuback,
    /// As `LoseSubscribe`.
    LoseUnsubscribe,
    /// As `LoseSuback`.
    LoseUnsuback,
    /// The code for this filter in SUBACK.
    RefuseFilter(&'static str, u8),
    /// SUBSCRIBE with this filter ends the connection; nothing of that SUBSCRIBE is taken.
    HangUpOnFilter(&'static str, End),
    /// No higher QoS is granted (RabbitMQ, NATS, mosca: 1).
    GrantAtMost(u8),
    /// What is retained comes before SUBACK (amqtt).
    RetainedBeforeSuback,
    /// What is retained comes for filters without wildcards only (RabbitMQ).
    NoRetainedForWildcards,
    /// Nothing is retained.
    NoRetained,
    /// `$share/g/t` is a topic like any other (RabbitMQ, NATS, aedes).
    SharedIsLiteral,

    // ---- Messages to the broker ----
    /// The connection ends instead of the message being taken.
    HangUpOnPublish(Match, End),
    /// The message is not taken; PUBACK or PUBREC of MQTT 5 says why. On 3.x it is acknowledged.
    RefusePublish(Match, u8, &'static str),
    /// Neither taken nor answered; the connection stays.
    IgnorePublish(Match),
    /// Taken; the connection ends instead of PUBACK or PUBREC.
    LosePuback(Match),
    /// PUBLISH of QoS 2 is answered with PUBACK, and PUBREL never (RabbitMQ).
    PubackForQos2,
    /// PUBLISH of QoS 2 is never answered (mosca); taken each time it comes.
    NeverAnswerQos2,
    /// PUBREL is taken; the connection ends instead of PUBCOMP.
    LosePubcomp,
    /// PUBREL ends the connection.
    HangUpOnPubrel,
    /// PUBREL of an id that has been released before, or was never seen, ends the connection (rumqttd).
    HangUpOnUnknownPubrel,
    /// PUBREL is not answered.
    IgnorePubrel,
    /// PUBREL of an id that was released before is not answered (RabbitMQ).
    IgnoreUnknownPubrel,
    /// PUBREL is answered with PUBREC (amqtt, in the next connection).
    PubrecForPubrel,
    /// PUBACK, PUBREC and PUBCOMP come twice.
    AnswerTwice,
    /// PUBACK, PUBREC and PUBCOMP of an id that is not under way come before the right ones.
    AnswerWrongId,

    // ---- Messages to the client ----
    /// Sent after each CONNACK, whatever was said before, without being kept.
    SendAtConnect(Message),
    /// One copy for each filter that matches (EMQX, aedes on some paths).
    CopyPerFilter,
    /// No-local and the bridge bit change nothing: what a client publishes comes back (rumqttd).
    Echo,
    /// The retain flag of live messages is cleared, whatever was asked for (rumqttd, every plain 3.1.1).
    ClearRetain,
    /// Delivered at the QoS of the subscription (rumqttd, amqtt).
    RaiseQos,
    /// What is sent again has no DUP flag (aedes, rumqttd).
    NoDup,
    /// In a kept session the newer messages come first (NATS).
    NewestFirst,
    /// So many are unacknowledged at a time (ejabberd: 1), unless the client asks for fewer.
    Window(usize),
    /// Wherever this text is in a topic that is delivered, it becomes that (RabbitMQ: `.` to `/`, `*` to `+`).
    Replace(&'static str, &'static str),
}

/// How CONNECT is answered.
#[derive(Debug, Clone)]
pub enum Answer {
    /// Not at all; the connection stays open (amqtt, mosca).
    Silence,
    /// The connection ends.
    End(End),
    /// CONNACK with this code, then the connection ends.
    Refuse(u8),
    /// CONNACK of MQTT 3.1.1 with this code, whatever was asked, then the connection ends (NATS, aedes: 1).
    RefuseAs3(u8),
    /// These bytes, then the connection ends.
    Bytes(Vec<u8>),
}

/// How a connection ends.
#[derive(Debug, Clone, Default)]
pub struct End {
    pub(super) reset: bool,
    pub(super) code: Option<u8>,
    pub(super) properties: Vec<Property>,
}

impl End {
    /// With a FIN and no word.
    pub fn fin() -> Self {
        Self::default()
    }

    /// With an RST.
    pub fn reset() -> Self {
        Self { reset: true, ..Self::default() }
    }

    /// With a DISCONNECT of MQTT 5 before it; without it on 3.x.
    pub fn says(code: u8) -> Self {
        Self { code: Some(code), ..Self::default() }
    }

    /// With one more property in the DISCONNECT.
    pub fn with(mut self, property: Property) -> Self {
        self.properties.push(property);
        self
    }
}

/// Which messages a habit is about.
#[derive(Debug, Clone, Default)]
pub struct Match {
    topic: Option<&'static str>,
    larger_than: Option<usize>,
    qos: Option<u8>,
    retain: Option<bool>,
    controls: bool,
}

impl Match {
    /// All of them.
    pub fn any() -> Self {
        Self::default()
    }

    /// On this topic.
    pub fn topic(topic: &'static str) -> Self {
        Self { topic: Some(topic), ..Self::default() }
    }

    /// With more payload than so many bytes.
    pub fn larger_than(bytes: usize) -> Self {
        Self { larger_than: Some(bytes), ..Self::default() }
    }

    /// With this QoS.
    pub fn qos(qos: u8) -> Self {
        Self { qos: Some(qos), ..Self::default() }
    }

    /// With the retain flag.
    pub fn retained() -> Self {
        Self { retain: Some(true), ..Self::default() }
    }

    /// With a control character in the topic, or in the content type or the response topic.
    pub fn controls() -> Self {
        Self { controls: true, ..Self::default() }
    }

    pub(super) fn matches(&self, message: &Message) -> bool {
        let controlled = |bytes: &[u8]| String::from_utf8_lossy(bytes).chars().any(char::is_control);
        self.topic.is_none_or(|topic| topic.as_bytes() == message.topic)
            && self.larger_than.is_none_or(|bytes| message.payload.len() > bytes)
            && self.qos.is_none_or(|qos| message.qos == qos)
            && self.retain.is_none_or(|retain| message.retain == retain)
            && (!self.controls
                || controlled(&message.topic)
                || message.properties.0.iter().any(|property| match &property.value {
                    Value::Bytes(bytes) => property.is_text() && controlled(bytes),
                    Value::Number(_) | Value::Pair(..) => false,
                }))
    }
}

/// How often a habit shows.
#[derive(Debug, Clone, Copy)]
enum Times {
    Always,
    First(u32),
    Nth(u32),
}

/// What a broker is like from its start on: its habits, and how often each of them shows. Without any it does as the
/// standard says.
#[derive(Debug, Clone, Default)]
pub struct Script(Vec<Held>);

#[derive(Debug, Clone)]
struct Held {
    habit: Habit,
    times: Times,
    // How often there was an occasion.
    seen: u32,
}

impl Script {
    /// No habits.
    pub fn new() -> Self {
        Self::default()
    }

    /// On each occasion.
    pub fn always(self, habit: Habit) -> Self {
        self.with(habit, Times::Always)
    }

    /// On the first occasion only.
    pub fn once(self, habit: Habit) -> Self {
        self.with(habit, Times::First(1))
    }

    /// On the first so many occasions.
    pub fn times(self, times: u32, habit: Habit) -> Self {
        self.with(habit, Times::First(times))
    }

    /// On one occasion, counted from 1.
    pub fn nth(self, nth: u32, habit: Habit) -> Self {
        self.with(habit, Times::Nth(nth))
    }

    fn with(mut self, habit: Habit, times: Times) -> Self {
        self.0.push(Held { habit, times, seen: 0 });
        self
    }

    /// What the first habit that shows on this occasion says; each that could show counts it.
    pub(super) fn shows<T>(&mut self, occasion: impl Fn(&Habit) -> Option<T>) -> Option<T> {
        let mut shown = None;
        for held in &mut self.0 {
            let Some(found) = occasion(&held.habit) else { continue };
            held.seen += 1;
            let now = match held.times {
                Times::Always => true,
                Times::First(times) => held.seen <= times,
                Times::Nth(nth) => held.seen == nth,
            };
            if now && shown.is_none() {
                shown = Some(found);
            }
        }
        shown
    }

    /// Whether a habit shows on this occasion.
    pub(super) fn does(&mut self, occasion: impl Fn(&Habit) -> bool) -> bool {
        self.shows(|habit| occasion(habit).then_some(())).is_some()
    }

    /// Everything that is found among the habits; counts nothing.
    pub(super) fn all<'a, T>(&'a self, found: impl Fn(&'a Habit) -> Option<T> + 'a) -> impl Iterator<Item = T> + 'a {
        self.0.iter().filter_map(move |held| found(&held.habit))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_habit_shows_as_often_as_it_is_told() {
        let mut script =
            Script::new().once(Habit::LoseSuback).nth(3, Habit::LoseSubscribe).times(2, Habit::IgnorePubrel);
        let mut lost = || script.does(|habit| matches!(habit, Habit::LoseSuback));
        assert_eq!([lost(), lost()], [true, false]);
        let mut third = || script.does(|habit| matches!(habit, Habit::LoseSubscribe));
        assert_eq!([third(), third(), third(), third()], [false, false, true, false]);
        let mut ignored = || script.does(|habit| matches!(habit, Habit::IgnorePubrel));
        assert_eq!([ignored(), ignored(), ignored()], [true, true, false]);
    }

    #[test]
    fn what_matches_is_what_was_meant() {
        let message = Message::new("a/b", b"12345").at(2);
        assert!(Match::any().matches(&message) && Match::topic("a/b").matches(&message));
        assert!(Match::larger_than(4).matches(&message) && !Match::larger_than(5).matches(&message));
        assert!(Match::qos(2).matches(&message) && !Match::qos(1).matches(&message));
        assert!(!Match::retained().matches(&message) && Match::retained().matches(&message.clone().retained()));
        assert!(!Match::controls().matches(&message));
        assert!(Match::controls().matches(&Message::new("a\r", b"")));
        let answers = Message::new("a", b"").with(Property::response_topic("b\u{1}"));
        assert!(Match::controls().matches(&answers));
    }
}
