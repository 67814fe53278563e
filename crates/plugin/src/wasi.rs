//! An empty world for components that import WASI 0.2, as most language toolchains make them do.
//!
//! There are no files, no network, no environment, no arguments, and nothing to read. Clocks and randomness are real;
//! standard output and error are lines of the plugin's log; a guest that sleeps is cut at its deadline. What cannot be
//! reached in such a world traps when it is called all the same. Any 0.2.x version is served, under the exact names
//! the component imports.

mod io;
mod nothing;

use crate::calls::messaging;
use crate::guest::Guest;
use crate::host::Component;
use crate::log::Level;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};
use wasmtime::component::types::ComponentItem;
use wasmtime::component::{Linker, LinkerInstance, ResourceTable, ResourceType};

/// What all of WASI's package names begin with.
pub(crate) const PACKAGES: &str = "wasi:";

/// Pollables a guest may hold at a time.
const MAX_POLLABLES: usize = 1024;
/// A line of output that does not end is logged in pieces of this many bytes.
const MAX_LINE_BYTES: usize = 1024;

/// What WASI needs to remember of one guest.
#[derive(Debug)]
pub(crate) struct Wasi {
    pollables: ResourceTable,
    /// The zero of the guest's monotonic clock.
    start: Instant,
    /// What the clocks say in place of the time, and what random numbers are made of.
    pub(crate) replayed: Option<Replayed>,
    /// Output that is not a whole line yet: standard output and standard error.
    lines: [Vec<u8>; 2],
}

impl Default for Wasi {
    fn default() -> Self {
        let mut pollables = ResourceTable::new();
        pollables.set_max_capacity(MAX_POLLABLES);
        Self { pollables, start: Instant::now(), replayed: None, lines: Default::default() }
    }
}

/// What the monotonic clock of a replay says first. Go's runtime ends where it says zero.
const REPLAYS_FROM: Duration = Duration::from_secs(1);

/// The time of a guest that decides what was decided before.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Replayed {
    /// Since the epoch, as it was first, and as it is.
    began: Option<Duration>,
    now: Duration,
    random: u64,
}

impl Replayed {
    pub(crate) fn set_now(&mut self, now_ms: u64) {
        // A clock never goes back for a guest.
        self.now = self.now.max(Duration::from_millis(now_ms));
        self.began.get_or_insert(self.now);
    }
}

impl Wasi {
    pub(crate) fn new(replays: bool) -> Self {
        Self { replayed: replays.then(Replayed::default), ..Self::default() }
    }

    /// Since the epoch.
    fn wall(&self) -> Duration {
        let now = || SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        self.replayed.map_or_else(now, |replayed| replayed.now)
    }

    /// Since a zero of its own.
    fn monotonic(&self) -> Duration {
        match &self.replayed {
            Some(replayed) => REPLAYS_FROM + replayed.now.saturating_sub(replayed.began.unwrap_or_default()),
            None => self.start.elapsed(),
        }
    }

    fn fill_random(&mut self, bytes: &mut [u8]) -> Result<(), getrandom::Error> {
        let Some(replayed) = &mut self.replayed else { return getrandom::fill(bytes) };
        for chunk in bytes.chunks_mut(8) {
            // SplitMix64 (Steele, Lea, Flood: Fast Splittable Pseudorandom Number Generators, 2014).
            replayed.random = replayed.random.wrapping_add(0x9e37_79b9_7f4a_7c15);
            let mut mixed = replayed.random;
            mixed = (mixed ^ mixed >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
            mixed ^= mixed >> 31;
            chunk.copy_from_slice(&mixed.to_le_bytes()[..chunk.len()]);
        }
        Ok(())
    }

    fn random_u64(&mut self) -> Result<u64, getrandom::Error> {
        let mut bytes = [0; 8];
        self.fill_random(&mut bytes)?;
        Ok(u64::from_le_bytes(bytes))
    }
}

/// Stands for every resource that cannot be had in an empty world: descriptors, sockets, terminals.
struct Nothing;

/// Defines every `wasi:` interface the component imports, but for those of `wasi:messaging`.
pub(crate) fn add_to_linker(linker: &mut Linker<Guest>, component: &Component) -> wasmtime::Result<()> {
    let engine = component.inner.engine();
    let ty = component.inner.component_type();
    for (name, import) in ty.imports(engine) {
        let ComponentItem::ComponentInstance(interface) = import.ty else { continue };
        if !name.starts_with(PACKAGES) || name.starts_with(messaging::PACKAGE) {
            continue;
        }
        let unversioned = name.split_once('@').map_or(name, |(before, _)| before);
        let mut at = linker.instance(name)?;
        for (item, export) in interface.exports(engine) {
            let defined = match export.ty {
                ComponentItem::Resource(_) => resource(&mut at, item).map(|()| true)?,
                ComponentItem::ComponentFunc(_) => {
                    io::define(&mut at, unversioned, item)? || nothing::define(&mut at, unversioned, item)?
                }
                _ => true, // a type
            };
            if !defined {
                unreachable_here(&mut at, name, item)?;
            }
        }
    }
    Ok(())
}

/// A resource by its name, which means the same in all interfaces of WASI that share it.
fn resource(at: &mut LinkerInstance<'_, Guest>, name: &str) -> wasmtime::Result<()> {
    match name {
        "pollable" => at.resource(name, ResourceType::host::<io::Pollable>(), io::drop_pollable),
        "input-stream" => at.resource(name, ResourceType::host::<io::InputStream>(), |_, _| Ok(())),
        "output-stream" => at.resource(name, ResourceType::host::<io::OutputStream>(), |_, _| Ok(())),
        "error" => at.resource(name, ResourceType::host::<io::IoError>(), |_, _| Ok(())),
        _ => at.resource(name, ResourceType::host::<Nothing>(), |_, _| Ok(())),
    }
}

fn unreachable_here(at: &mut LinkerInstance<'_, Guest>, interface: &str, item: &str) -> wasmtime::Result<()> {
    let name = format!("{interface}#{item}");
    at.func_new(item, move |_, _, _, _| Err(wasmtime::format_err!("`{name}` does not exist in the world of a plugin")))
}

/// Standard output (0), each line of which is one of the log, or standard error (1), which is one line of it a call.
fn print(guest: &mut Guest, stream: usize, bytes: &[u8]) {
    let mut pending = std::mem::take(&mut guest.wasi.lines[stream]);
    for byte in bytes {
        if *byte != b'\n' {
            pending.push(*byte);
        }
        if *byte == b'\n' || pending.len() >= MAX_LINE_BYTES {
            line(guest, stream, &pending);
            pending.clear();
        }
    }
    guest.wasi.lines[stream] = pending;
}

fn line(guest: &mut Guest, stream: usize, bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    match stream {
        _ if text.trim().is_empty() => {}
        0 => guest.line(Level::Info, &text),
        _ => guest.complain(&text),
    }
}

/// A guest that failed ends the line on standard error that it was in.
pub(crate) fn end_line(guest: &mut Guest) {
    let pending = std::mem::take(&mut guest.wasi.lines[1]);
    line(guest, 1, &pending);
}
