//! A recording as it is made: blocks of a file, one after another, as server-sent events.

use crate::model::Recent;
use crate::plain;
use crate::query::{number, text};
use crate::serve::Shared;
use crate::stream::{Reads, answer, event};
use crate::tap::{filter, too_many};
use axum::http::StatusCode;
use axum::response::Response;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use std::collections::VecDeque;
use tidegate_decisions::{Entry, MAGIC, Payloads, Writer};
use tidegate_gateway::{Only, Recording, Wanted};
use tokio::time::{Duration, Instant, sleep_until};
use tokio_util::sync::CancellationToken;

/// Messages a second, unless it is said; and at most.
const RATE: u64 = 5_000;
const RATE_MAX: u64 = 50_000;

/// So long what is recorded waits for more to go with it.
const TOGETHER: Duration = Duration::from_millis(200);

struct Reader {
    recording: Recording,
    writer: Writer,
    ready: VecDeque<Bytes>,
    /// When what is in the writer goes.
    flush: Option<Instant>,
    until: Option<Instant>,
    /// So many messages are still wanted.
    left: Option<u64>,
    messages: u64,
    is_over: bool,
    stop: CancellationToken,
}

impl Reads for Reader {
    async fn next(&mut self) -> Option<Bytes> {
        loop {
            if let Some(ready) = self.ready.pop_front() {
                return Some(ready);
            }
            if self.is_over {
                return None;
            }
            let due = [self.flush, self.until].into_iter().flatten().min();
            let wait = async {
                match due {
                    Some(at) => sleep_until(at).await,
                    None => std::future::pending().await,
                }
            };
            let is_stopped = tokio::select! {
                biased;
                () = self.stop.cancelled() => true,
                () = wait => self.until.is_some_and(|until| Instant::now() >= until),
                entries = self.recording.next() => match entries {
                    Some(entries) => self.take(entries),
                    None => true,
                },
            };
            let is_due = self.flush.is_some_and(|at| Instant::now() >= at);
            if is_stopped || is_due || self.left == Some(0) {
                self.put_out();
            }
            if is_stopped || self.left == Some(0) {
                self.is_over = true;
                self.ready.push_back(event("end", &self.messages.to_string()));
            }
        }
    }
}

impl Reader {
    /// True if one of these cannot be written.
    fn take(&mut self, entries: Vec<Entry>) -> bool {
        for entry in entries {
            let is_message = matches!(entry, Entry::Message(_));
            match self.writer.push(&entry) {
                Ok(block) => self.block(block),
                Err(_) => return true,
            }
            self.messages += u64::from(is_message);
            if let Some(left) = self.left.as_mut().filter(|_| is_message) {
                *left -= 1;
                if *left == 0 {
                    break;
                }
            }
        }
        self.flush.get_or_insert(Instant::now() + TOGETHER);
        false
    }

    fn put_out(&mut self) {
        if let Ok(block) = self.writer.finish() {
            self.block(block);
        }
        self.flush = None;
    }

    fn block(&mut self, block: Option<Vec<u8>>) {
        if let Some(block) = block {
            self.ready.push_back(event("block", &STANDARD.encode(block)));
        }
    }
}

/// The last messages, if they are kept: the bytes of a recording.
pub(crate) async fn recent(shared: &Shared) -> Response {
    let Ok(entries) = shared.console.recent().await else { return plain::busy() };
    let (mut writer, mut bytes) = (Writer::default(), MAGIC.to_vec());
    for entry in &entries {
        match writer.push(entry) {
            Ok(block) => bytes.extend(block.unwrap_or_default()),
            Err(error) => return plain::text(StatusCode::INTERNAL_SERVER_ERROR, format!("{error}\n")),
        }
    }
    bytes.extend(writer.finish().ok().flatten().unwrap_or_default());
    plain::json(&Recent { recording: STANDARD.encode(bytes) })
}

/// `block`: the next bytes of a file that begins with the line of a recording, in base64; `end`: how many messages there are, when so
/// many or so much time as was asked for is over.
pub(crate) async fn record(shared: Shared, query: Option<&str>) -> Response {
    let refuse = |words: String| plain::text(StatusCode::BAD_REQUEST, words + "\n");
    let kept = match text(query, "payloads").as_deref() {
        None | Some("whole" | "true" | "") => Payloads::Whole,
        Some("hashed") => Payloads::Hashed,
        Some("none" | "false") => Payloads::LeftOut,
        Some(other) => return refuse(format!("`payloads` is `whole`, `hashed` or `none`, and not `{other}`")),
    };
    let filter = match filter(query) {
        Ok(filter) => filter,
        Err(words) => return refuse(words),
    };
    let named = |key| text(query, key).filter(|name| !name.is_empty());
    let wanted = Wanted {
        filter,
        broker: named("broker"),
        route: named("route"),
        contains: None,
        only: Only::All,
        rate: number(query, "rate").unwrap_or(RATE).clamp(1, RATE_MAX) as u32, // at most 50,000
        whole: true,
    };
    let recording = match shared.console.record(wanted, kept).await {
        Ok(Some(recording)) => recording,
        Ok(None) => return too_many(),
        Err(_) => return plain::busy(),
    };
    let until =
        number(query, "seconds").map(|seconds| Instant::now() + Duration::from_secs(seconds.min(u32::MAX.into())));
    answer(Reader {
        recording,
        writer: Writer::default(),
        ready: VecDeque::from([event("looking", "now")]),
        flush: None,
        until,
        left: number(query, "count"),
        messages: 0,
        is_over: false,
        stop: shared.stop.clone(),
    })
}
