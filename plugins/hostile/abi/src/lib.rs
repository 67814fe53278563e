//! Lies to the canonical ABI: what no language's bindings would return, but a component can.
//!
//! The `config` table's text selects the lie: it holds one of the names of [`LIES`], as in `{ lie = "alias" }`. The
//! layouts are those of `wit/gateway.wit` on 32 bits; the host lifts what it finds there.
#![cfg_attr(not(target_arch = "wasm32"), allow(dead_code, reason = "only a component uses it"))]
#![allow(unsafe_code, reason = "the lies are told in memory")]

mod bindings {
    #![allow(missing_docs, unreachable_pub, dead_code)]
    // For the component's type alone; the exports are below.
    tidegate_sdk::wit_bindgen::generate!({
        path: "../../../wit",
        world: "plugin",
        runtime_path: "::tidegate_sdk::wit_bindgen::rt",
        generate_all,
    });
}

/// What can be claimed, and what is claimed by it.
pub const LIES: [(&str, Lie); 5] = [
    ("alias", Lie::Alias),
    ("out-of-bounds", Lie::OutOfBounds),
    ("not-utf8", Lie::NotUtf8),
    ("no-such-variant", Lie::NoSuchVariant),
    ("endless-list", Lie::EndlessList),
];

/// A way to lie.
#[derive(Clone, Copy)]
pub enum Lie {
    /// Ten thousand outputs whose payloads are all the same four megabytes: 40 GB, when copied.
    Alias,
    /// A payload beyond the end of memory.
    OutOfBounds,
    /// A topic that is not UTF-8.
    NotUtf8,
    /// The 250th kind of decision.
    NoSuchVariant,
    /// A list of 4,294,967,295 decisions.
    EndlessList,
}

const ALIASED_BYTES: usize = 4 << 20;
const ALIASED_OUTPUTS: usize = 10_000;
const DECISION_SIZE: usize = 12;
const OUTPUT_SIZE: usize = 20;
const CHANGE_SIZE: usize = 24;

std::thread_local! {
    static LIE: std::cell::Cell<Lie> = const { std::cell::Cell::new(Lie::Alias) };
}

/// Little-endian words at offsets of a zeroed block that is never given back: the gateway throws the instance away.
struct Block(&'static mut [u8]);

impl Block {
    fn new(size: usize) -> Self {
        Self(vec![0; size].leak())
    }

    fn byte(&mut self, at: usize, value: u8) {
        self.0[at] = value;
    }

    fn word(&mut self, at: usize, value: usize) {
        self.0[at..at + 4].copy_from_slice(&u32::try_from(value).unwrap_or(u32::MAX).to_le_bytes());
    }

    fn address(&self) -> usize {
        self.0.as_ptr() as usize
    }
}

/// `configure`: finds the lie by its name.
#[cfg_attr(target_arch = "wasm32", unsafe(export_name = "tidegate:gateway/handler@1.0.0#configure"))]
extern "C" fn configure(config: *const u8, len: usize) -> usize {
    // SAFETY: the host wrote `len` bytes there by `cabi_realloc`.
    let config = unsafe { std::slice::from_raw_parts(config, len) };
    let config = String::from_utf8_lossy(config);
    if let Some((_, lie)) = LIES.iter().find(|(name, _)| config.contains(name)) {
        LIE.set(*lie);
    }
    let mut verdict = Block::new(12);
    verdict.byte(0, 1); // accepted
    verdict.address()
}

/// `handle`: as many decisions as messages, but for the lie.
#[cfg_attr(target_arch = "wasm32", unsafe(export_name = "tidegate:gateway/handler@1.0.0#handle"))]
extern "C" fn handle(_source: *const u8, _source_len: usize, _messages: *const u8, count: usize) -> usize {
    let lie = LIE.get();
    let outputs_count = if matches!(lie, Lie::Alias) { ALIASED_OUTPUTS } else { 1 };
    let payload = Block::new(if matches!(lie, Lie::Alias) { ALIASED_BYTES } else { 4 });
    // One change, which all outputs point at: case, then pointer and length at 8.
    let mut change = Block::new(CHANGE_SIZE);
    match lie {
        Lie::NotUtf8 => {
            let mut topic = Block::new(4);
            topic.word(0, 0xffff_ffff);
            change.word(8, topic.address());
            change.word(12, 4);
        }
        _ => {
            change.byte(0, 1); // payload
            change.word(8, if matches!(lie, Lie::OutOfBounds) { 0xffff_0000 } else { payload.address() });
            change.word(12, payload.0.len());
        }
    }
    let mut outputs = Block::new(outputs_count * OUTPUT_SIZE);
    for output in (0..outputs_count).map(|i| i * OUTPUT_SIZE) {
        outputs.byte(output, 1); // onward
        outputs.word(output + 12, change.address());
        outputs.word(output + 16, 1);
    }
    let mut decisions = Block::new(count * DECISION_SIZE);
    for decision in (0..count).map(|i| i * DECISION_SIZE) {
        decisions.byte(decision, if matches!(lie, Lie::NoSuchVariant) { 250 } else { 1 }); // forward
        decisions.word(decision + 4, outputs.address());
        decisions.word(decision + 8, outputs_count);
    }
    let mut list = Block::new(8);
    list.word(0, decisions.address());
    list.word(4, if matches!(lie, Lie::EndlessList) { usize::MAX } else { count });
    list.address()
}
