//! Decisions in words, for a terminal and for the page: what either would obey is escaped.

use crate::decision::{Content, Decision, End, Payload, Sent};
use std::fmt;

/// So much of a payload is shown.
const SHOWN_CHARS: usize = 500;

/// A text as it is, but for what a terminal would obey or not show.
#[derive(Debug, Clone, Copy)]
pub struct Harmless<'a>(pub &'a str);

impl fmt::Display for Harmless<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.chars().try_for_each(|c| match c {
            // `escape_debug` is for source code.
            '"' | '\'' | '\\' => write!(f, "{c}"),
            c => write!(f, "{}", c.escape_debug()),
        })
    }
}

impl fmt::Display for Payload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Whole(bytes) if bytes.is_empty() => f.write_str("empty"),
            Self::Whole(bytes) => match std::str::from_utf8(bytes) {
                Ok(text) => match text.char_indices().nth(SHOWN_CHARS) {
                    None => write!(f, "{}", Harmless(text)),
                    Some((end, _)) => write!(f, "{}...", Harmless(&text[..end])),
                },
                Err(_) => write!(f, "{} bytes", bytes.len()),
            },
            Self::Hashed(_, bytes) | Self::LeftOut(bytes) => write!(f, "{bytes} bytes"),
        }
    }
}

impl fmt::Display for Content {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let retain = if self.retain { ", retained" } else { "" };
        write!(f, "{} QoS {}{retain} {}", Harmless(&self.topic), self.qos, self.payload)
    }
}

impl fmt::Display for Sent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.to.is_empty() {
            write!(f, "to {}: ", self.to.join(", "))?;
        }
        self.content.fmt(f)
    }
}

impl fmt::Display for Decision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, sent) in self.sent.iter().enumerate() {
            write!(f, "{}{sent}", if at == 0 { "" } else { "; " })?;
        }
        let between = if self.sent.is_empty() { "" } else { "; " };
        match &self.end {
            End::Onward if self.sent.is_empty() => f.write_str("nothing"),
            End::Onward => Ok(()),
            End::Dropped(reason, _) => write!(f, "{between}dropped: {}", Harmless(reason)),
            End::Failed(plugin, kind, reason) => write!(f, "{between}{plugin} fails, {kind}: {}", Harmless(reason)),
            End::NotTaken => write!(f, "{between}its route does not take it"),
        }
    }
}
