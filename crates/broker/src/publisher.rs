//! Who published a message.

use tidegate_message::ByteString;

/// Who publishes a message that is under way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Publisher {
    /// A client, by the slot of its session.
    Session(u32),
    /// An in-process client, by its number.
    Local(u32),
    /// The broker itself, under `$SYS`.
    Broker,
}

/// Who published a retained message, so that a no-local subscription is not sent it. A slot would not do:
/// another session may have it by then.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum RetainedBy {
    /// A client, by its id.
    Client(ByteString),
    /// An in-process client, by its number.
    Local(u32),
    /// The broker itself, under `$SYS`.
    Broker,
}
