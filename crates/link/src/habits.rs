//! What brokers do in their own way, in words for people.

use tidegate_message::QoS;

/// Something a broker does in its own way, which the link can live with. Each is told once a process.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Habit {
    /// PUBACK for a message of QoS 2.
    AnswersQos2AsQos1,
    /// PUBREC for PUBREL, again and again, or never an answer to PUBREL but a closed connection, or none at all.
    NeverEndsQos2 {
        /// How it does so.
        how: &'static str,
    },
    /// It takes no more than this QoS, and is sent no more from here on.
    TakesAtMost {
        /// The QoS.
        qos: QoS,
        /// How that was found.
        how: &'static str,
    },
    /// It hangs up on messages of this size.
    HangsUpOnSize {
        /// Topic and payload.
        bytes: usize,
    },
    /// It hangs up on control characters and non-characters in texts.
    HangsUpOnControlCharacters,
    /// It hangs up on our birth message, or on another of our own.
    HangsUpOnBirth,
    /// It does not take retained messages.
    TakesNoRetained,
}

impl std::fmt::Display for Habit {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::AnswersQos2AsQos1 => f.write_str(
                "the broker answers messages of QoS 2 as if they were of QoS 1: each arrives at least once; \
                 set `qos = 1` on routes to it, or `max_qos = 1`",
            ),
            Self::NeverEndsQos2 { how } => {
                write!(f, "the broker {how}: it has the message, which is taken as done; `max_qos = 1` avoids that")
            }
            Self::TakesAtMost { qos, how } => {
                let qos = *qos as u8;
                write!(
                    f,
                    "the broker {how}: it is sent at most QoS {qos} from here on; `max_qos = {qos}` says so at once"
                )
            }
            Self::HangsUpOnSize { bytes } => write!(
                f,
                "the broker hangs up on a message of {bytes} bytes, and takes smaller ones: those of that size are put \
                 aside untried from here on"
            ),
            Self::HangsUpOnControlCharacters => f.write_str(
                "the broker hangs up on control characters in topics and other texts: messages with such are put aside \
                 untried from here on",
            ),
            Self::HangsUpOnBirth => f.write_str(
                "the broker hangs up on the `birth` message or on `status`: that is left out until the settings change",
            ),
            Self::TakesNoRetained => {
                f.write_str("the broker hangs up on retained messages: it is sent none with that flag from here on")
            }
        }
    }
}

/// Why a message was given up: the broker ends the connection for it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GaveUp {
    /// How many connections it ended; 0 if it was not tried.
    pub connections: u32,
    /// How the last one ended, in words.
    pub words: String,
}

impl GaveUp {
    /// For a message of a kind that the broker has hung up on before.
    pub(crate) fn untried(why: &str) -> Self {
        Self { connections: 0, words: why.to_owned() }
    }
}

impl std::fmt::Display for GaveUp {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.connections == 0 {
            return write!(f, "not tried: {}", self.words);
        }
        write!(f, "{} connections ended with it, the last two when it was sent alone: {}", self.connections, self.words)
    }
}
