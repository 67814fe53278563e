//! Where a message of a stream is acknowledged, which says which message it is.

/// What the subject says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Delivery {
    /// How often it was delivered, this time included.
    pub(crate) delivered: u64,
    /// Its number in the stream.
    pub(crate) sequence: u64,
    /// When the stream got it, in nanoseconds since the epoch.
    pub(crate) published_ns: i128,
}

/// Reads `$JS.ACK.<stream>.<consumer>.<delivered>.<stream sequence>.<consumer sequence>.<time>.<pending>`; newer servers
/// have domain and account before the stream, and may have more at the end (NATS ADR-15).
pub(crate) fn delivery_of(reply: &str) -> Option<Delivery> {
    let tokens: Vec<&str> = reply.strip_prefix("$JS.ACK.")?.split('.').collect();
    let first = match tokens.len() {
        7 => 2,
        9.. => 4,
        _ => return None,
    };
    Some(Delivery {
        delivered: tokens[first].parse().ok()?,
        sequence: tokens[first + 1].parse().ok()?,
        published_ns: tokens[first + 3].parse().ok()?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn old_and_new_subjects_say_the_same() {
        let wanted = Delivery { delivered: 3, sequence: 100, published_ns: 1_790_230_470_084_404_000 };
        for reply in [
            "$JS.ACK.S.C.3.100.7.1790230470084404000.42",
            "$JS.ACK._.hash.S.C.3.100.7.1790230470084404000.42",
            "$JS.ACK.hub.hash.S.C.3.100.7.1790230470084404000.42.token",
        ] {
            assert_eq!(delivery_of(reply), Some(wanted), "{reply}");
        }
        for other in ["", "_INBOX.1", "$JS.ACK.S.C.3", "$JS.ACK.S.C.x.100.7.1.42"] {
            assert_eq!(delivery_of(other), None, "{other}");
        }
    }
}
