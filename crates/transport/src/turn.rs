//! One turn of a connection: read once what has come, write what waits as far as the socket takes it, and say whether
//! there may be more to do at once.
//!
//! Neither step waits, so that a slow write never stops reading. What stands in the buffers, when a connection is read
//! from at all, and how long the socket may take nothing is the business of whoever takes the turns.

use bytes::BytesMut;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Instant;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_util::io::poll_read_buf;

/// The most that is read from a socket at a time, in bytes.
pub const READ_BYTES: usize = 64 * 1024;

/// A write buffer takes messages until this much waits in it, in bytes.
pub const WRITE_BYTES: usize = 128 * 1024;

/// A read buffer is made larger when less than this is free, in bytes.
const READ_FREE_MIN: usize = 8 * 1024;

/// After this many writes it is the reader's turn.
const WRITES_PER_TURN: usize = 4;

/// Whether to go on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Turn {
    /// There may be more to do at once. The task lets others have a turn first: one batch at a time, whose receivers
    /// write it before the next is read.
    Again,
    /// Nothing to do before somebody wakes the task.
    Wait,
}

impl Turn {
    /// What two steps of a turn make together.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        if self == Self::Again { self } else { other }
    }
}

/// How a stream ended without us.
#[derive(Debug, thiserror::Error)]
pub enum Lost {
    /// The other end closed it without a word.
    #[error("the connection was closed")]
    Closed,
    /// The socket, or what lies between it and MQTT, failed.
    #[error(transparent)]
    Broken(#[from] io::Error),
}

impl Lost {
    /// Whether the other end did it, as far as that can be told: it closed, or its system says that there is nobody.
    pub fn is_by_peer(&self) -> bool {
        use io::ErrorKind::{BrokenPipe, ConnectionAborted, ConnectionReset, UnexpectedEof};
        match self {
            Self::Closed => true,
            Self::Broken(error) => {
                matches!(error.kind(), ConnectionReset | BrokenPipe | ConnectionAborted | UnexpectedEof)
            }
        }
    }
}

/// Reads once, behind what is in the buffer. Returns how many bytes came: at least one.
///
/// # Errors
/// The stream has ended.
#[inline]
pub fn poll_read<S: AsyncRead>(
    stream: Pin<&mut S>,
    cx: &mut Context<'_>,
    buffer: &mut BytesMut,
) -> Poll<Result<usize, Lost>> {
    if buffer.capacity() - buffer.len() < READ_FREE_MIN {
        buffer.reserve(READ_BYTES);
    }
    match ready!(poll_read_buf(stream, cx, buffer)) {
        Ok(0) => Poll::Ready(Err(Lost::Closed)),
        outcome => Poll::Ready(outcome.map_err(Lost::Broken)),
    }
}

/// Writes until `once` says that there is nothing left or that the socket takes no more, and not too often in a row.
///
/// # Errors
/// The first of `once`.
#[inline]
pub fn write_turn<E>(mut once: impl FnMut() -> Result<Turn, E>) -> Result<Turn, E> {
    for _ in 0..WRITES_PER_TURN {
        if once()? == Turn::Wait {
            return Ok(Turn::Wait);
        }
    }
    Ok(Turn::Again)
}

/// What is to be known of the writing side of a stream from one turn to the next.
#[derive(Debug, Default)]
pub struct WriteSide {
    /// Since when bytes wait that the socket does not take.
    blocked_since: Option<Instant>,
    /// What was written may still be in a buffer of TLS or WebSocket.
    needs_flush: bool,
}

impl WriteSide {
    /// Writes once. `bytes` must not be empty. Returns how many were taken; pending, the stream counts as blocked until
    /// it takes some again.
    ///
    /// # Errors
    /// The stream has ended.
    #[inline]
    pub fn poll_write<S: AsyncWrite>(
        &mut self,
        stream: Pin<&mut S>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<Result<usize, Lost>> {
        debug_assert!(!bytes.is_empty(), "writing nothing looks like a stream that was closed");
        match stream.poll_write(cx, bytes) {
            Poll::Pending => {
                self.blocked_since.get_or_insert_with(Instant::now);
                Poll::Pending
            }
            Poll::Ready(Ok(0)) => Poll::Ready(Err(Lost::Closed)),
            Poll::Ready(Ok(written)) => {
                (self.blocked_since, self.needs_flush) = (None, true);
                Poll::Ready(Ok(written))
            }
            Poll::Ready(Err(error)) => Poll::Ready(Err(Lost::Broken(error))),
        }
    }

    /// Pushes what was written out of the buffers between us and the socket, as far as that takes it.
    ///
    /// # Errors
    /// The stream has ended.
    #[inline]
    pub fn flush<S: AsyncWrite>(&mut self, stream: Pin<&mut S>, cx: &mut Context<'_>) -> Result<(), Lost> {
        if self.needs_flush && stream.poll_flush(cx)?.is_ready() {
            self.needs_flush = false;
        }
        Ok(())
    }

    /// Since when bytes wait that the socket does not take.
    #[inline]
    pub fn blocked_since(&self) -> Option<Instant> {
        self.blocked_since
    }

    /// Nothing waits for the socket any more.
    #[inline]
    pub fn unblock(&mut self) {
        self.blocked_since = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::task::Waker;
    use tokio::io::AsyncReadExt;

    fn now<T>(poll: impl FnOnce(&mut Context<'_>) -> Poll<T>) -> Poll<T> {
        poll(&mut Context::from_waker(Waker::noop()))
    }

    #[test]
    fn a_turn_writes_a_few_times_and_then_lets_the_reader_have_its_own() {
        let mut times = 0;
        let turn = write_turn(|| -> Result<Turn, ()> {
            times += 1;
            Ok(Turn::Again)
        });
        assert_eq!((turn, times), (Ok(Turn::Again), WRITES_PER_TURN));
        assert_eq!(write_turn(|| -> Result<Turn, ()> { Ok(Turn::Wait) }), Ok(Turn::Wait));
        assert_eq!(write_turn(|| Err::<Turn, _>("gone")), Err("gone"));
        for (one, other, both) in [
            (Turn::Wait, Turn::Wait, Turn::Wait),
            (Turn::Again, Turn::Wait, Turn::Again),
            (Turn::Wait, Turn::Again, Turn::Again),
        ] {
            assert_eq!(one.and(other), both);
        }
    }

    #[tokio::test]
    async fn a_socket_that_takes_nothing_is_blocked_from_then_until_it_takes_something() {
        let (mut ours, mut theirs) = tokio::io::duplex(4);
        let mut side = WriteSide::default();
        let written = now(|cx| side.poll_write(Pin::new(&mut ours), cx, b"abcdef"));
        assert!(matches!(written, Poll::Ready(Ok(4))) && side.blocked_since().is_none());
        assert!(now(|cx| side.poll_write(Pin::new(&mut ours), cx, b"ef")).is_pending());
        let since = side.blocked_since();
        assert!(since.is_some());
        assert!(now(|cx| side.poll_write(Pin::new(&mut ours), cx, b"ef")).is_pending());
        assert_eq!(side.blocked_since(), since, "the first time counts");
        theirs.read_exact(&mut [0; 4]).await.unwrap();
        let written = now(|cx| side.poll_write(Pin::new(&mut ours), cx, b"ef"));
        assert!(matches!(written, Poll::Ready(Ok(2))) && side.blocked_since().is_none());
    }

    #[tokio::test]
    async fn a_stream_that_is_closed_is_lost_by_its_peer_and_a_full_disk_is_not() {
        let (mut ours, theirs) = tokio::io::duplex(4);
        let mut buffer = BytesMut::new();
        assert!(now(|cx| poll_read(Pin::new(&mut ours), cx, &mut buffer)).is_pending());
        drop(theirs);
        let Poll::Ready(Err(lost)) = now(|cx| poll_read(Pin::new(&mut ours), cx, &mut buffer)) else { panic!() };
        assert!(matches!(lost, Lost::Closed) && lost.is_by_peer());
        for (kind, by_peer) in [(io::ErrorKind::ConnectionReset, true), (io::ErrorKind::StorageFull, false)] {
            assert_eq!(Lost::Broken(kind.into()).is_by_peer(), by_peer, "{kind}");
        }
    }

    #[tokio::test]
    async fn a_read_buffer_has_room_before_each_read() {
        let (mut ours, mut theirs) = tokio::io::duplex(2 * READ_BYTES);
        let mut buffer = BytesMut::with_capacity(1);
        tokio::io::AsyncWriteExt::write_all(&mut theirs, &vec![7; 2 * READ_BYTES]).await.unwrap();
        let Poll::Ready(Ok(first)) = now(|cx| poll_read(Pin::new(&mut ours), cx, &mut buffer)) else { panic!() };
        assert!(first >= READ_BYTES - 1, "{first}");
        let Poll::Ready(Ok(second)) = now(|cx| poll_read(Pin::new(&mut ours), cx, &mut buffer)) else { panic!() };
        assert!(second > READ_FREE_MIN && buffer.len() == first + second, "{second}");
    }
}
