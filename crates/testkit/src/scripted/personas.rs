//! Whole brokers: the habits of each of those that were tried behind Tidegate, with the version that had them. What nobody's
//! link can depend on (limits of their own clients, other transports) is left out.

use super::habits::{Answer, End, Habit, Match, Script};
use super::properties::Property;

/// The bridge bit with 3.1 and 3.1.1.
const BRIDGE: &[u8] = &[0x83, 0x84];

impl Script {
    /// RabbitMQ 3.10.8 with rabbitmq_mqtt: 3.1.1 only, QoS 2 as QoS 1, `.` and `*` change.
    pub fn rabbitmq() -> Self {
        Self::new()
            .always(Habit::AnswerHello(&[5, 0x83, 0x84], Answer::End(End::fin())))
            .always(Habit::GrantAtMost(1))
            .always(Habit::PubackForQos2)
            .always(Habit::IgnorePubrel)
            .always(Habit::NoRetainedForWildcards)
            .always(Habit::SharedIsLiteral)
            .always(Habit::ClearRetain)
            .always(Habit::Echo)
            .always(Habit::Window(10))
            .always(Habit::Replace(".", "/"))
            .always(Habit::Replace("*", "+"))
    }

    /// ejabberd 23.01 with mod_mqtt: one message at a time, sessions for five minutes, no shared subscriptions.
    pub fn ejabberd() -> Self {
        Self::new()
            .always(Habit::AnswerHello(&[3, 0x83, 0x84], Answer::Refuse(1)))
            .always(Habit::Connack(Property::session_expiry_s(300)))
            .always(Habit::Connack(Property::no_shared()))
            .always(Habit::Connack(Property::server_keep_alive_s(60)))
            .always(Habit::HangUpOnFilter("$share/g/t", End::says(0x9e)))
            .always(Habit::RefuseFilter("a/b/c/d/e/f/g/h/#", 0x8f))
            .always(Habit::Window(1))
    }

    /// nats-server 2.9.10: 3.1.1 only, hangs up at QoS 2, dots and blanks; newer messages first.
    pub fn nats() -> Self {
        Self::new()
            .always(Habit::AnswerHello(&[5], Answer::RefuseAs3(1)))
            .always(Habit::AnswerHello(BRIDGE, Answer::Refuse(1)))
            .always(Habit::AnswerHello(&[3], Answer::End(End::fin())))
            .always(Habit::GrantAtMost(1))
            .always(Habit::HangUpOnPublish(Match::qos(2), End::fin()))
            .always(Habit::HangUpOnPublish(Match::topic("d/a.b"), End::fin()))
            .always(Habit::HangUpOnPublish(Match::topic("d/a b"), End::fin()))
            .always(Habit::RefuseFilter("u/a.b", 0x80))
            .always(Habit::SharedIsLiteral)
            .always(Habit::ClearRetain)
            .always(Habit::Echo)
            .always(Habit::NewestFirst)
    }

    /// amqtt 0.12.1: no answer to MQTT 5, retained before SUBACK, QoS raised, PUBREC again for an old PUBREL.
    pub fn amqtt() -> Self {
        Self::new()
            .always(Habit::AnswerHello(&[5], Answer::Silence))
            .always(Habit::AnswerHello(BRIDGE, Answer::Refuse(1)))
            .always(Habit::AnswerHello(&[3], Answer::End(End::fin())))
            .always(Habit::RetainedBeforeSuback)
            .always(Habit::RaiseQos)
            .always(Habit::ClearRetain)
            .always(Habit::Echo)
            .always(Habit::IgnoreUnknownPubrel)
    }

    /// aedes 1.2.0: 3.1.1 with the bridge bit, what is sent again has no DUP.
    pub fn aedes() -> Self {
        Self::new()
            .always(Habit::AnswerHello(&[5], Answer::RefuseAs3(1)))
            .always(Habit::SharedIsLiteral)
            .always(Habit::NoDup)
    }

    /// rumqttd 0.20, its listener for 3.1.1: finished ids end the connection, QoS raised, 20 KiB at most.
    pub fn rumqttd_v4() -> Self {
        let own = Self::new().always(Habit::AnswerHello(&[5, 3, 0x83, 0x84], Answer::End(End::fin())));
        own.and_rumqttd()
    }

    /// rumqttd 0.20, its listener for MQTT 5: the same, and no-local and retain-as-published are granted and ignored.
    pub fn rumqttd_v5() -> Self {
        let own = Self::new().always(Habit::AnswerHello(&[3, 4, 0x83, 0x84], Answer::End(End::fin())));
        own.always(Habit::Connack(Property::topic_alias_maximum(4096))).and_rumqttd()
    }

    fn and_rumqttd(self) -> Self {
        self.always(Habit::HangUpOnUnknownPubrel)
            .always(Habit::HangUpOnPublish(Match::larger_than(20_470), End::reset()))
            .always(Habit::HangUpOnFilter("$SYS/#", End::fin()))
            .always(Habit::RaiseQos)
            .always(Habit::ClearRetain)
            .always(Habit::Echo)
            .always(Habit::NoDup)
    }

    /// mosca 2.8.3: no answer to any hello but 3.1 and 3.1.1, none to QoS 2.
    pub fn mosca() -> Self {
        Self::new()
            .always(Habit::AnswerHello(&[5, 0x83, 0x84], Answer::Silence))
            .always(Habit::GrantAtMost(1))
            .always(Habit::NeverAnswerQos2)
            .always(Habit::ClearRetain)
            .always(Habit::Echo)
    }
}
