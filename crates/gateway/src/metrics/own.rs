//! Of the box's own broker.

use super::Family;

macro_rules! per_own {
    ($($field:ident).+) => {
        |s, out| s.own().for_each(|(name, stats)| out.add(&[("broker", name)], stats.$($field).+ as f64))
    };
}

/// Where something is kept over a restart.
macro_rules! per_kept {
    ($field:ident) => {
        |s, out| {
            for (name, stats) in s.own() {
                stats.kept.iter().for_each(|kept| out.add(&[("broker", name)], kept.$field as f64));
            }
        }
    };
}

pub(super) const FAMILIES: &[Family] = &[
    ("tidegate_own_clients", "gauge", "Clients connected to the box's own broker.", per_own!(connections)),
    ("tidegate_own_sessions", "gauge", "Sessions there, of clients that are connected or away.", per_own!(sessions)),
    ("tidegate_own_subscriptions", "gauge", "Subscriptions of clients there.", per_own!(subscriptions)),
    ("tidegate_own_queued", "gauge", "Messages that wait for clients there.", per_own!(queued)),
    ("tidegate_own_queued_bytes", "gauge", "What they weigh.", per_own!(queued_bytes)),
    ("tidegate_own_retained", "gauge", "Retained messages at the box's own broker.", per_own!(retained)),
    ("tidegate_own_retained_bytes", "gauge", "What they weigh.", per_own!(retained_bytes)),
    ("tidegate_own_connects_total", "counter", "Clients that were let in.", per_own!(accepted)),
    ("tidegate_own_refused_total", "counter", "Clients that were turned away.", per_own!(refused)),
    (
        "tidegate_own_failed_logins_total",
        "counter",
        "Of these, those whose user name or password was wrong.",
        per_own!(failed_logins),
    ),
    (
        "tidegate_own_protocol_errors_total",
        "counter",
        "Connections that ended for bytes that are no MQTT.",
        per_own!(protocol_errors),
    ),
    (
        "tidegate_own_held_up_total",
        "counter",
        "Times a client was held up for publishing faster than it may.",
        per_own!(held_up),
    ),
    ("tidegate_own_received_total", "counter", "Messages that clients have published there.", per_own!(received)),
    ("tidegate_own_sent_total", "counter", "Messages that clients were sent from there.", per_own!(sent)),
    (
        "tidegate_own_dropped_total",
        "counter",
        "Messages that the box's own broker did not deliver to a client, by reason.",
        |s, out| {
            for (name, stats) in s.own() {
                for (reason, count) in stats.dropped.reasons() {
                    out.add(&[("broker", name), ("reason", reason)], count as f64);
                }
            }
        },
    ),
    (
        "tidegate_own_disk_bytes",
        "gauge",
        "How long the log is that has what it keeps over a restart.",
        per_kept!(log_bytes),
    ),
    ("tidegate_own_disk_live_bytes", "gauge", "How much of that counts.", per_kept!(live_bytes)),
    ("tidegate_own_disk_messages", "gauge", "Messages in it.", per_kept!(messages)),
    ("tidegate_own_disk_written_bytes_total", "counter", "Bytes written to it.", per_kept!(written_bytes)),
    ("tidegate_own_disk_syncs_total", "counter", "How often it was made durable.", per_kept!(syncs)),
    ("tidegate_own_disk_status", "gauge", "How the disk is doing: 0 good, 1 full, 2 failed.", per_kept!(status)),
];
