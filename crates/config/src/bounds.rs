//! Every default and limit of the configuration, together.

use crate::model::{EmbeddedLimits, Reconnect};
use crate::model::{Limits, Probation, Retry, Workers};
use crate::model::{SpoolSettings, WhenFull};
use std::time::Duration;

/// The largest configuration that is read, in bytes, with all that it includes.
pub const MAX_CONFIG_BYTES: u64 = 4 * MIB;
/// How many files a configuration may include.
pub(crate) const MAX_INCLUDED_FILES: usize = 1000;
/// The largest component that is loaded as a plugin, in bytes; Python's are 18 MB.
pub const MAX_COMPONENT_BYTES: u64 = 64 * MIB;
/// The longest name of a gateway, broker, target set, plugin or route.
pub const MAX_NAME_BYTES: usize = 64;
/// The longest client id, user name or other text on the wire (MQTT 5.0 section 1.5.4).
pub(crate) const MAX_TEXT_BYTES: usize = 65_535;
/// The longest client id that MQTT 3.1 allows (its section 3.1).
pub(crate) const MAX_CLIENT_ID_V31: usize = 23;
/// The longest ALPN protocol name (RFC 7301 section 3.1).
pub(crate) const MAX_ALPN_BYTES: usize = 255;
/// The most captures of a `remap`: what stands on the stack for each message.
pub(crate) const MAX_CAPTURES: usize = 16;
/// The most renamings by which the answer to a request is looked for: each costs a request a comparison.
pub(crate) const MAX_WAYS_BACK: usize = 64;
/// SHA-256 in hexadecimal digits.
pub(crate) const DIGEST_DIGITS: usize = 64;

const KIB: u64 = 1024;
const MIB: u64 = 1024 * KIB;
const GIB: u64 = 1024 * MIB;
/// The largest packet MQTT can say (MQTT 5.0 section 1.5.5).
const LARGEST_PACKET: u64 = 268_435_460;

/// What a number may be.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Number {
    pub(crate) default: u64,
    pub(crate) min: u64,
    pub(crate) max: u64,
}

const fn number(default: u64, min: u64, max: u64) -> Number {
    assert!(min <= default && default <= max);
    Number { default, min, max }
}

/// What a duration may be.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Period {
    pub(crate) default: Duration,
    pub(crate) min: Duration,
    pub(crate) max: Duration,
    /// Zero is allowed whatever `min` says.
    pub(crate) zero: bool,
    /// It travels in whole seconds.
    pub(crate) whole_seconds: bool,
}

const fn span(default_ms: u64, min_ms: u64, max_ms: u64) -> Period {
    assert!(min_ms <= default_ms && default_ms <= max_ms);
    Period {
        default: Duration::from_millis(default_ms),
        min: Duration::from_millis(min_ms),
        max: Duration::from_millis(max_ms),
        zero: false,
        whole_seconds: false,
    }
}

const fn seconds(default_s: u64, max_s: u64) -> Period {
    assert!(default_s <= max_s);
    let default = Duration::from_secs(default_s);
    Period { default, zero: true, whole_seconds: true, ..span(SECOND, SECOND, max_s * SECOND) }
}

const SECOND: u64 = 1000;
const MINUTE: u64 = 60 * SECOND;
const HOUR: u64 = 60 * MINUTE;
const DAY: u64 = 24 * HOUR;
const WEEK_S: u64 = 7 * 24 * 3600;
/// Of 365.25 days, as a duration's text has them.
const YEAR: u64 = 31_557_600 * SECOND;
/// 0xFFFF_FFFF means for ever, which nobody should have to wait for (MQTT 5.0 section 3.1.2.11.2).
const LONGEST_EXPIRY_S: u64 = 0xFFFF_FFFE;

// The gateway.
pub(crate) const COMMIT_DELAY: Period = span(0, 0, SECOND);
pub(crate) const SEGMENT_SIZE: Number = number(8 * MIB, MIB, 256 * MIB);

// Links.
pub(crate) const KEEP_ALIVE: Period = seconds(30, 65_535);
pub(crate) const RECEIVE_MAXIMUM: Number = number(1000, 1, 65_535);
pub(crate) const PACKET_SIZE: Number = number(MIB, KIB, LARGEST_PACKET);
pub(crate) const SESSION_EXPIRY: Period = seconds(WEEK_S, LONGEST_EXPIRY_S);
pub(crate) const RECONNECT_MIN: Period = span(500, 10, HOUR);
pub(crate) const RECONNECT_MAX: Period = span(MINUTE, 10, DAY);
pub(crate) const CONNECT_TIMEOUT: Period = span(10 * SECOND, 100, 5 * MINUTE);
pub(crate) const TOPIC_ALIAS_MAX: Number = number(10, 0, 65_535);

/// The default is never used: without `counters` none are published.
pub(crate) const COUNTERS: Period = span(MINUTE, SECOND, DAY);
pub(crate) const PROBE: Period = span(10 * SECOND, SECOND, HOUR);
pub(crate) const MAX_QOS: Number = number(2, 0, 2);
/// Zero: no marks. Names of 64 bytes make a mark of 4 KiB.
pub(crate) const HOP_LIMIT: Number = number(8, 0, 64);
/// Of each plugin. The one that runs and the one before are kept anyhow.
pub(crate) const KEEP_VERSIONS: Number = number(5, 2, 100);
pub(crate) const RECENT_MESSAGES: Number = number(0, 0, 100_000);
/// Zero: at once. What does not fit into a session is cut by the broker (MQTT 5.0 section 3.1.3.2.2).
pub(crate) const WILL_DELAY: Period = seconds(0, LONGEST_EXPIRY_S);
/// The most names of headers in a WebSocket's request.
pub(crate) const MAX_HEADERS: usize = 32;
/// The longest text of one of them, in bytes; servers take 4 to 8 KiB for a line.
pub(crate) const MAX_HEADER_BYTES: usize = 4096;

// Traces.
/// Zero: none but those whose publisher asks for it.
pub(crate) const TRACES_ONE_IN: Number = number(1000, 0, 1_000_000);
pub(crate) const TRACES_RATE: Number = number(50, 1, 1000);

// NATS. A server makes no stream with more copies.
pub(crate) const REPLICAS: Number = number(1, 1, 5);

// The box's own broker.
pub(crate) const CONNECTIONS: Number = number(1024, 1, 1_000_000);
pub(crate) const SESSION_QUEUE: Number = number(10_000, 1, 1_000_000);
pub(crate) const SESSION_QUEUE_SIZE: Number = number(8 * MIB, 64 * KIB, 64 * GIB);
pub(crate) const QUEUES_SIZE: Number = number(64 * MIB, MIB, 1024 * GIB);
pub(crate) const SESSION_SUBSCRIPTIONS: Number = number(1024, 1, 1_000_000);
pub(crate) const RETAINED: Number = number(100_000, 0, 10_000_000);
pub(crate) const RETAINED_SIZE: Number = number(64 * MIB, 0, 1024 * GIB);
/// The default is never used: without the key there is no limit.
pub(crate) const RATE: Number = number(1, 1, 1_000_000);
/// As above.
pub(crate) const BYTE_RATE: Number = number(MIB, KIB, 64 * GIB);
/// As above.
pub(crate) const KEEP_ALIVE_MAX: Period = Period { zero: false, ..seconds(60, 65_535) };
/// The longest text that clients are told of another server, in bytes.
pub(crate) const SERVER_REFERENCE_BYTES: usize = 1024;
pub(crate) const CLIENT_RECEIVE_MAXIMUM: Number = number(1000, 1, 65_535);

// Spools. Without a key there is no bound, so all defaults but the first are never used.
pub(crate) const SPOOL_BYTES: Number = number(GIB, MIB, 1024 * GIB);
pub(crate) const SPOOL_MESSAGES: Number = number(1, 1, 1_000_000_000);
pub(crate) const SPOOL_AGE: Period = span(DAY, SECOND, 10 * YEAR);
pub(crate) const DRAIN_RATE: Number = number(1, 1, 1_000_000);
pub(crate) const MARK_LATE: Period = span(SECOND, SECOND, 10 * YEAR);

// Target sets.
pub(crate) const TAKEOVER_AFTER: Period = span(10 * SECOND, SECOND, HOUR);
pub(crate) const WEIGHT: Number = number(1, 1, 1000);
/// The default is never used: without the key there is no bound. As many as a queue keeps in memory.
pub(crate) const RELIEF_QUEUE: Number = number(1000, 1, 1_000_000);
/// As above.
pub(crate) const RELIEF_LATENCY: Period = span(SECOND, 1, HOUR);
pub(crate) const FAILBACK: Period = Period { zero: true, ..span(30 * SECOND, 1, DAY) };

// Sources of several brokers.
pub(crate) const SOURCE_TAKEOVER_AFTER: Period = Period { zero: true, ..span(SECOND, 1, HOUR) };
pub(crate) const WINDOW: Period = span(10 * SECOND, 10, HOUR);

// Plugins. The least memory is a page of WebAssembly, the least deadline what an epoch can keep.
pub(crate) const MEMORY: Number = number(16 * MIB, 64 * KIB, 4 * GIB);
pub(crate) const TABLE_ELEMENTS: Number = number(100_000, 1, 10_000_000);
pub(crate) const DEADLINE: Period = span(50, 10, MINUTE);
pub(crate) const CONFIGURE_DEADLINE: Period = span(SECOND, 10, MINUTE);
pub(crate) const OUTPUTS: Number = number(64, 1, 100_000);
pub(crate) const OUTPUT_SIZE: Number = number(MIB, 1, LARGEST_PACKET);
pub(crate) const LOG_LINES: Number = number(10, 0, 10_000);
pub(crate) const STATE_SIZE: Number = number(MIB, 0, GIB);

// Versions of plugins.
pub(crate) const PROBATION: Period = span(2 * MINUTE, SECOND, DAY);
pub(crate) const PROBATION_MESSAGES: Number = number(1000, 0, 1_000_000_000);
/// In a million.
pub(crate) const PROBATION_FAILURES: u32 = 10_000;
/// Zero: as slow as it likes.
pub(crate) const PROBATION_SLOWER: Number = number(5, 0, 1000);

// Candidates.
pub(crate) const PROMOTE_AFTER: Period = span(10 * MINUTE, SECOND, 30 * DAY);
pub(crate) const PROMOTE_MESSAGES: Number = number(10_000, 1, 1_000_000_000_000);
pub(crate) const PROMOTE_DIFFERENCES: Number = number(0, 0, 1_000_000_000_000);
/// In a million.
pub(crate) const CANARY_SHARE: u32 = 50_000;

// Routes.
pub(crate) const ATTEMPTS: Number = number(3, 0, 1000);
pub(crate) const RETRY_MIN: Period = span(100, 1, HOUR);
pub(crate) const RETRY_MAX: Period = span(10 * SECOND, 1, DAY);
/// The default is never used: without `tick` there are none.
pub(crate) const TICK: Period = span(SECOND, 10, DAY);
pub(crate) const WORKERS: Number = number(1, 1, 64);
/// The default is never used: without `level` it is the whole topic.
pub(crate) const LEVEL: Number = number(0, 0, 127);

impl Default for EmbeddedLimits {
    fn default() -> Self {
        Self {
            max_packet_size: PACKET_SIZE.default as u32,
            max_connections: CONNECTIONS.default as u32,
            session_expiry_max: SESSION_EXPIRY.default,
            keep_alive_max: None,
            session_subscriptions_max: SESSION_SUBSCRIPTIONS.default as u32,
            session_queue_max: SESSION_QUEUE.default as u32,
            session_queue_size: SESSION_QUEUE_SIZE.default,
            queues_size: QUEUES_SIZE.default,
            retained_max: RETAINED.default as u32,
            retained_size: RETAINED_SIZE.default,
            message_rate: None,
            byte_rate: None,
            connections_per_address: None,
            connect_rate: None,
            receive_maximum: CLIENT_RECEIVE_MAXIMUM.default as u16,
        }
    }
}

impl Default for Reconnect {
    fn default() -> Self {
        Self { min: RECONNECT_MIN.default, max: RECONNECT_MAX.default }
    }
}

impl Default for SpoolSettings {
    fn default() -> Self {
        Self {
            max_bytes: SPOOL_BYTES.default,
            max_messages: None,
            max_age: None,
            when_full: WhenFull::Block,
            drain_rate: None,
            mark_late: None,
        }
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            memory_bytes: MEMORY.default as usize,
            table_elements: TABLE_ELEMENTS.default as usize,
            deadline: DEADLINE.default,
            configure_deadline: CONFIGURE_DEADLINE.default,
            outputs: OUTPUTS.default as u32,
            output_bytes: OUTPUT_SIZE.default as usize,
            log_lines_per_second: LOG_LINES.default as u32,
            state_bytes: STATE_SIZE.default as usize,
        }
    }
}

impl Default for Probation {
    fn default() -> Self {
        Self {
            lasts: PROBATION.default,
            messages: PROBATION_MESSAGES.default,
            failures_per_million: PROBATION_FAILURES,
            slower: PROBATION_SLOWER.default as u32,
            rejects: true,
            replay_parked: true,
        }
    }
}

impl Default for Workers {
    fn default() -> Self {
        Self { count: WORKERS.default as usize, level: None }
    }
}

impl Default for Retry {
    fn default() -> Self {
        Self { attempts: ATTEMPTS.default as u32, min: RETRY_MIN.default, max: RETRY_MAX.default }
    }
}
