//! A plugin in WebAssembly text that does what the first byte of a payload says, so that the tests need no toolchain.
//!
//! Results that are plain data are laid out in memory beforehand (the canonical ABI of `wit/gateway.wit`), one for each
//! byte; what a guest must *do* is written in text below.

use crate::imports::{Pieces, SLEEP, STATE, TOUR};

/// What a message can make the guest do.
pub(crate) mod does {
    pub(crate) const PASS: u8 = b'p';
    pub(crate) const TRAP: u8 = b't';
    pub(crate) const LOOP: u8 = b'l';
    /// Computes for ten milliseconds or so, then passes.
    pub(crate) const COUNT: u8 = b'c';
    /// Grows its memory until that is refused, then traps.
    pub(crate) const MEMORY_BOMB: u8 = b'm';
    /// Keeps a MiB for every such message, traps when there is none left.
    pub(crate) const LEAK: u8 = b'k';
    /// Keeps 64 outputs that all point at the same MiB.
    pub(crate) const OUTPUT_BOMB: u8 = b'O';
    pub(crate) const OUTPUTS_65: u8 = b'o';
    /// A list that ends outside of its memory.
    pub(crate) const OUT_OF_BOUNDS: u8 = b'B';
    pub(crate) const BAD_TOPIC: u8 = b'b';
    pub(crate) const FOREIGN_TARGET: u8 = b'f';
    pub(crate) const FOREIGN_TOPIC: u8 = b'F';
    pub(crate) const EMPTY_FORWARD: u8 = b'e';
    /// One result less than there are messages.
    pub(crate) const WRONG_COUNT: u8 = b'w';
    /// A thousand lines of log.
    pub(crate) const LOG_FLOOD: u8 = b'g';
    pub(crate) const DROP: u8 = b'd';
    pub(crate) const REJECT: u8 = b'r';
    pub(crate) const RETRY: u8 = b'y';
    /// To `site/a` onward, and unchanged to target `far`.
    pub(crate) const FORWARD_TWO: u8 = b'2';
    /// Traps unless the message says it is redelivered.
    pub(crate) const TRAP_ONCE: u8 = b'1';
    /// Sleeps ten seconds; with [`Extra::Sleep`](super::Extra) only.
    pub(crate) const SLEEP: u8 = b's';
    /// Sleeps a millisecond; as above.
    pub(crate) const NAP: u8 = b'n';
    /// Looks around in its empty world and traps if it finds something; with [`Extra::Tour`](super::Extra) only.
    pub(crate) const LOOK: u8 = b'v';
    /// Exits; as above.
    pub(crate) const EXIT: u8 = b'x';
    /// Prints on standard error, not to the end of the line, and traps.
    pub(crate) const SCREAM: u8 = b'w';
    /// Puts `v` under `k`; with [`Extra::State`](super::Extra) only.
    pub(crate) const SET: u8 = b'S';
    /// Puts `v` under `k`, then traps; as above.
    pub(crate) const SET_AND_TRAP: u8 = b'T';
}

/// What it imports beside the log.
#[derive(Clone, Copy, PartialEq)]
pub(crate) enum Extra {
    None,
    /// `wasi:io/poll` and `wasi:clocks/monotonic-clock`.
    Sleep,
    /// `tidegate:gateway/state`.
    State,
    /// Much of WASI: what toolchains import whether the plugin needs it or not.
    Tour,
    /// Nothing; exports the timer.
    Timer,
    /// An interface that is nobody's.
    Unknown,
}

const DATA: usize = 0x1000;
const TABLE: usize = 0x4000;
const HEAP: usize = 0x10000;
const RESULT_BYTES: usize = 16;
const OUTPUT_BYTES: usize = 100;

/// The component as bytes.
pub(crate) fn component(extra: Extra) -> Vec<u8> {
    wat::parse_str(text(extra)).unwrap_or_else(|error| panic!("{error}"))
}

/// A component with nothing in it.
pub(crate) fn wrong_world() -> Vec<u8> {
    wat::parse_str("(component)").unwrap()
}

/// A component that has the right export with the wrong types.
pub(crate) fn wrong_types() -> Vec<u8> {
    wat::parse_str(
        r#"(component
            (core module $m (func (export "f")))
            (core instance $i (instantiate $m))
            (func $f (canon lift (core func $i "f")))
            (instance $h (export "configure" (func $f)) (export "handle" (func $f)))
            (export "tidegate:gateway/handler@0.1.0" (instance $h)))"#,
    )
    .unwrap()
}

/// A core module, which is what `wasm32-unknown-unknown` gives by itself.
pub(crate) fn core_module() -> Vec<u8> {
    wat::parse_str("(module)").unwrap()
}

fn text(extra: Extra) -> String {
    let (imports, lowered, with, core_imports, actions): Pieces = match extra {
        Extra::None => ("", "", "", "", ""),
        Extra::Sleep => SLEEP,
        Extra::State => STATE,
        Extra::Tour => TOUR,
        Extra::Timer => ("", "", "", "", ""),
        Extra::Unknown => (r#"(import "acme:fridge/door@1.0.0" (instance (export "open" (func))))"#, "", "", "", ""),
    };
    let (image, onward) = Image::new();
    GUEST
        .replace(";; exports", if extra == Extra::Timer { TIMER } else { "" })
        .replace("$ONWARD", &onward.to_string())
        .replace(";; imports", imports)
        .replace(";; lowered", lowered)
        .replace(";; with", with)
        .replace(";; core imports", core_imports)
        .replace(";; actions", actions)
        .replace("$DATA", &format!("(i32.const {DATA}) \"{}\"", escaped(&image.bytes[DATA..])))
}

fn escaped(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("\\{byte:02x}")).collect()
}

/// The memory before the guest runs.
struct Image {
    bytes: Vec<u8>,
    next: usize,
}

impl Image {
    /// And where an output to `site/a` is, with one to target `far` behind it.
    fn new() -> (Self, usize) {
        use does::*;
        let mut image = Self { bytes: vec![0; HEAP], next: DATA };
        // A result: [ok or err][at 4: which][at 8: pointer, length].
        let target = image.output(Some("nowhere"), None, None);
        let bad = image.output(None, Some("a/#"), None);
        let foreign = image.output(None, Some("elsewhere/a"), None);
        let onward = image.output(None, Some("site/a"), None);
        image.output(Some("far"), None, None);
        let same = image.output(None, None, None);
        for _ in 1..65 {
            image.output(None, None, None);
        }
        let mib = image.output(None, None, Some((0, 1 << 20)));
        for _ in 1..64 {
            image.output(None, None, Some((0, 1 << 20)));
        }
        let (no_reason, reason) = (0, image.text("too cold"));
        for (byte, result) in [
            (PASS, [0, 0, no_reason, 0]),
            (TRAP_ONCE, [0, 0, 0, 0]),
            (LOOK, [0, 0, 0, 0]),
            (FOREIGN_TARGET, [0, 1, target, 1]),
            (BAD_TOPIC, [0, 1, bad, 1]),
            (FOREIGN_TOPIC, [0, 1, foreign, 1]),
            (FORWARD_TWO, [0, 1, onward, 2]),
            (OUTPUTS_65, [0, 1, same, 65]),
            (OUTPUT_BOMB, [0, 1, mib, 64]),
            (OUT_OF_BOUNDS, [0, 1, same, 1 << 30]),
            (EMPTY_FORWARD, [0, 1, same, 0]),
            (DROP, [0, 2, reason, 8]),
            (REJECT, [1, 0, reason, 8]),
            (RETRY, [1, 1, reason, 8]),
        ] {
            let at = TABLE + usize::from(byte) * RESULT_BYTES;
            image.words(at, &result);
        }
        (image, onward)
    }

    fn words(&mut self, at: usize, words: &[usize]) {
        for (n, word) in words.iter().enumerate() {
            self.bytes[at + 4 * n..][..4].copy_from_slice(&(*word as u32).to_le_bytes());
        }
    }

    fn text(&mut self, text: &str) -> usize {
        // Strings grow down from the end of the first page, records up from its middle.
        let at = TABLE - 0x400 + self.bytes[TABLE - 0x400..TABLE].iter().position(|b| *b == 0).unwrap();
        self.bytes[at..at + text.len()].copy_from_slice(text.as_bytes());
        at
    }

    fn output(&mut self, target: Option<&str>, topic: Option<&str>, payload: Option<(usize, usize)>) -> usize {
        let at = self.next;
        self.next += OUTPUT_BYTES;
        assert!(at + OUTPUT_BYTES <= TABLE - 0x400 || at >= TABLE + 256 * RESULT_BYTES);
        for (offset, text) in [(0, target), (12, topic)] {
            if let Some(text) = text {
                let pointer = self.text(text);
                self.words(at + offset, &[1, pointer, text.len()]);
            }
        }
        if let Some((pointer, len)) = payload {
            self.words(at + 24, &[1, pointer, len]);
        }
        if self.next + OUTPUT_BYTES > TABLE - 0x400 && self.next < TABLE {
            // Records that belong to one list stay together: none does where this happens.
            self.next = TABLE + 256 * RESULT_BYTES;
        }
        at
    }
}

const GUEST: &str = r#"(component
    (import "tidegate:gateway/types@0.1.0" (instance $types
        (type $qos' (enum "at-most-once" "at-least-once" "exactly-once"))
        (export "qos" (type $qos (eq $qos')))
        (type $properties' (record
            (field "content-type" (option string)) (field "response-topic" (option string))
            (field "correlation-data" (option (list u8))) (field "message-expiry-seconds" (option u32))
            (field "payload-is-utf8" bool) (field "user" (list (tuple string string)))))
        (export "properties" (type $properties (eq $properties')))
        (type $message' (record
            (field "id" u64) (field "topic" string) (field "payload" (list u8)) (field "qos" $qos)
            (field "retain" bool) (field "properties" (option $properties)) (field "received-ms" u64)
            (field "redelivered" bool)))
        (export "message" (type $message (eq $message')))
        (type $destination' (variant (case "onward") (case "target" string)))
        (export "destination" (type $destination (eq $destination')))
        (type $output' (record
            (field "to" $destination) (field "topic" (option string)) (field "payload" (option (list u8)))
            (field "qos" (option $qos)) (field "retain" (option bool)) (field "properties" (option $properties))))
        (export "output" (type $output (eq $output')))
        (type $decision' (variant (case "pass") (case "forward" (list $output)) (case "drop" string)))
        (export "decision" (type $decision (eq $decision')))
        (type $failure' (variant (case "reject" string) (case "retry" string)))
        (export "failure" (type $failure (eq $failure')))
        (type $diagnostic' (record (field "at" string) (field "message" string)))
        (export "diagnostic" (type $diagnostic (eq $diagnostic')))))
    (alias export $types "message" (type $message))
    (alias export $types "decision" (type $decision))
    (alias export $types "failure" (type $failure))
    (alias export $types "output" (type $output))
    (alias export $types "diagnostic" (type $diagnostic))
    (import "tidegate:gateway/log@0.1.0" (instance $log
        (type $level' (enum "debug" "info" "warn" "error"))
        (export "level" (type $level (eq $level')))
        (export "log" (func (param "level" $level) (param "message" string)))))
    ;; imports

    (core module $libc'
        (memory (export "memory") 17)
        (global $heap (mut i32) (i32.const 0x10000))
        ;; Never gives back but at the start of a call.
        (func (export "reset") (global.set $heap (i32.const 0x10000)))
        (func (export "realloc") (param i32 i32 i32 i32) (result i32) (local $at i32)
            (local.set $at (i32.and (i32.add (global.get $heap) (i32.const 7)) (i32.const -8)))
            (global.set $heap (i32.add (local.get $at) (local.get 3)))
            (local.get $at)))
    (core instance $libc (instantiate $libc'))
    (core func $log (canon lower (func $log "log") (memory (core memory $libc "memory"))))
    ;; lowered

    (core module $main'
        (import "libc" "memory" (memory 17))
        (import "libc" "realloc" (func $realloc (param i32 i32 i32 i32) (result i32)))
        (import "libc" "reset" (func $reset))
        (import "host" "log" (func $log (param i32 i32 i32)))
        ;; core imports
        (data $DATA)
        (data (i32.const 32) "a line of log")
        ;; The word "bad" in a configuration refuses it: a diagnostic at 64, found from 48.
        (data (i32.const 80) "fieldis bad")
        (func (export "configure") (param $at i32) (param $len i32) (result i32)
            (call $reset)
            (i32.store (i32.const 48) (i32.const 0))
            (if (i32.gt_u (local.get $len) (i32.const 2)) (then
                (if (i32.eq (i32.load8_u offset=1 (local.get $at)) (i32.const 98)) (then ;; "b...
                    (i32.store (i32.const 48) (i32.const 1))
                    (i32.store (i32.const 52) (i32.const 64))
                    (i32.store (i32.const 56) (i32.const 1))
                    (i32.store (i32.const 64) (i32.const 80))
                    (i32.store (i32.const 68) (i32.const 5))
                    (i32.store (i32.const 72) (i32.const 85))
                    (i32.store (i32.const 76) (i32.const 6))))
                (if (i32.eq (i32.load8_u offset=1 (local.get $at)) (i32.const 108)) (then ;; "l...
                    (loop $for-ever (br $for-ever))))))
            (i32.const 48))

        (func $decide (param $message i32) (param $result i32) (local $do i32) (local $n i32)
            (local.set $do (i32.load8_u (i32.load offset=16 (local.get $message))))
            (if (i32.eq (local.get $do) (i32.const 116)) (then unreachable))
            (if (i32.and (i32.eq (local.get $do) (i32.const 49)) (i32.eqz (i32.load8_u offset=96 (local.get $message))))
                (then unreachable))
            (if (i32.eq (local.get $do) (i32.const 108)) (then (loop $for-ever (br $for-ever))))
            (if (i32.eq (local.get $do) (i32.const 99)) (then
                (loop $more
                    (local.set $n (i32.add (local.get $n) (i32.const 1)))
                    (br_if $more (i32.lt_u (local.get $n) (i32.const 10000000))))
                (local.set $do (i32.const 112))))
            (if (i32.eq (local.get $do) (i32.const 109)) (then
                (loop $more (br_if $more (i32.ne (memory.grow (i32.const 16)) (i32.const -1))))
                unreachable))
            (if (i32.eq (local.get $do) (i32.const 107)) (then
                (if (i32.eq (memory.grow (i32.const 16)) (i32.const -1)) (then unreachable))))
            (if (i32.eq (local.get $do) (i32.const 103)) (then
                (loop $more
                    (call $log (i32.const 1) (i32.const 32) (i32.const 13))
                    (local.set $n (i32.add (local.get $n) (i32.const 1)))
                    (br_if $more (i32.lt_u (local.get $n) (i32.const 1000))))))
            ;; actions
            (memory.copy (local.get $result)
                (i32.add (i32.const 0x4000) (i32.mul (local.get $do) (i32.const 16))) (i32.const 16)))

        ;; As many outputs as `now` says; at 0 it traps.
        (func (export "tick") (param $now i64) (result i32)
            (if (i64.eqz (local.get $now)) (then unreachable))
            (i32.store (i32.const 48) (i32.const $ONWARD))
            (i32.store (i32.const 52) (i32.wrap_i64 (local.get $now)))
            (i32.const 48))

        (func (export "handle") (param i32 i32) (param $messages i32) (param $count i32) (result i32)
            (local $results i32) (local $n i32) (local $short i32)
            (local.set $results (call $realloc (i32.const 0) (i32.const 0) (i32.const 8)
                (i32.mul (local.get $count) (i32.const 16))))
            (loop $next (if (i32.lt_u (local.get $n) (local.get $count)) (then
                (if (i32.eq (i32.const 119) (i32.load8_u (i32.load offset=16
                        (i32.add (local.get $messages) (i32.mul (local.get $n) (i32.const 104))))))
                    (then (local.set $short (i32.const 1))))
                (call $decide
                    (i32.add (local.get $messages) (i32.mul (local.get $n) (i32.const 104)))
                    (i32.add (local.get $results) (i32.mul (local.get $n) (i32.const 16))))
                (local.set $n (i32.add (local.get $n) (i32.const 1)))
                (br $next))))
            (i32.store (i32.const 48) (local.get $results))
            (i32.store (i32.const 52) (i32.sub (local.get $count) (local.get $short)))
            (call $reset)
            (i32.const 48)))
    (core instance $main (instantiate $main'
        (with "libc" (instance $libc))
        (with "host" (instance (export "log" (func $log))
            ;; with
        ))))

    (func $configure (param "config" string) (result (result (error (list $diagnostic))))
        (canon lift (core func $main "configure") (memory (core memory $libc "memory")) (realloc (core func $libc "realloc"))))
    (func $handle (param "source" string) (param "messages" (list $message))
        (result (list (result $decision (error $failure))))
        (canon lift (core func $main "handle") (memory (core memory $libc "memory")) (realloc (core func $libc "realloc"))))
    (instance $handler (export "configure" (func $configure)) (export "handle" (func $handle)))
    (export "tidegate:gateway/handler@0.1.0" (instance $handler))
    ;; exports
)"#;

const TIMER: &str = r#"
    (func $tick (param "now-ms" u64) (result (list $output))
        (canon lift (core func $main "tick") (memory (core memory $libc "memory"))))
    (instance $timer (export "tick" (func $tick)))
    (export "tidegate:gateway/timer@0.1.0" (instance $timer))"#;
