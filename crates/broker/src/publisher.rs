//! Who published a message.

use tidegate_message::ByteString;

/// Who published a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Publisher {
    Session(u32),
    Local(u32),
    /// The broker itself, under `$SYS`.
    Broker,
}

/// Who published a retained message, so that a no-local subscription is not sent it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum RetainedBy {
    Client(ByteString),
    Local(u32),
    /// The broker itself, under `$SYS`.
    Broker,
}
