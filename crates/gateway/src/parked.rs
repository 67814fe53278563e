//! Messages that a plugin could not decide, kept for a person to look at.

use crate::pipeline::Parking;
use std::collections::BTreeMap;
use std::sync::Arc;
use tidegate_message::Message;

/// How many messages are kept, and how many bytes. What comes beyond is dropped and counted.
const MESSAGES_MAX: usize = 10_000;
const BYTES_MAX: usize = 32 * 1024 * 1024;

/// One message kept aside.
#[derive(Debug, Clone)]
pub(crate) struct Parked {
    pub(crate) route: Arc<str>,
    pub(crate) why: Parking,
    pub(crate) message: Message,
    pub(crate) received_ms: u64,
}

/// All of them, by number. In memory: a restart forgets them.
#[derive(Debug, Default)]
pub(crate) struct ParkedMessages {
    by_number: BTreeMap<u64, Parked>,
    bytes: usize,
    last: u64,
}

impl ParkedMessages {
    /// Keeps a message if there is room, and says under which number.
    pub(crate) fn park(&mut self, mut parked: Parked) -> Option<u64> {
        let weight = parked.message.weight_bytes() + parked.why.reason.len();
        if self.by_number.len() >= MESSAGES_MAX || self.bytes + weight > BYTES_MAX {
            return None;
        }
        parked.message.detach();
        self.bytes += weight;
        self.last += 1;
        self.by_number.insert(self.last, parked);
        Some(self.last)
    }

    pub(crate) fn take(&mut self, number: u64) -> Option<Parked> {
        let parked = self.by_number.remove(&number)?;
        self.bytes -= parked.message.weight_bytes() + parked.why.reason.len();
        Some(parked)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (u64, &Parked)> {
        self.by_number.iter().map(|(number, parked)| (*number, parked))
    }

    pub(crate) fn len(&self) -> usize {
        self.by_number.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tidegate_message::{QoS, Topic};

    #[test]
    fn what_is_parked_is_bounded_and_comes_back_as_it_was() {
        let parked = Parked {
            route: "r".into(),
            why: Parking { plugin: "p".into(), kind: "trap", reason: "unreachable".into() },
            message: Message::new(Topic::new("t").unwrap(), vec![7; 1024 * 1024], QoS::AtLeastOnce),
            received_ms: 5,
        };
        let mut all = ParkedMessages::default();
        let taken = std::iter::repeat_with(|| all.park(parked.clone())).take_while(Option::is_some).count();
        assert_eq!(taken, 31, "32 MiB hold 31 messages of 1 MiB and something");
        assert_eq!(all.take(1).unwrap().message, parked.message);
        assert!(all.take(1).is_none());
        assert!(all.park(parked).is_some(), "there is room again");
        for number in 1..=40 {
            all.take(number);
        }
        assert_eq!((all.len(), all.bytes), (0, 0));
    }
}
