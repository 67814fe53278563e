//! A look into a component, before it is put anywhere.

use std::fmt::Write as _;
use std::path::Path;
use std::time::Instant;
use tidegate_plugin::{Host, Plugin, Spec, StateGrant};

const STATE: &str = "tidegate:gateway/state@";
const PACKED: &str = "tidegate:gateway/packed@";
const WASI: &str = "wasi:";
/// Of WASI, and served.
const MESSAGING: &str = "wasi:messaging/";

/// What a component is, needs and takes, as lines for people.
///
/// # Errors
/// It cannot be read, or is no plugin, in words.
pub fn inspect(host: &Host, path: &Path) -> Result<String, String> {
    let bytes = std::fs::read(path).map_err(|error| format!("{}: {error}", path.display()))?;
    let here = |error: tidegate_plugin::Error| format!("{}: {error}", path.display());
    let (_, missed) = host.cache_hits_and_misses();
    let began = Instant::now();
    let component = host.compile(&bytes).map_err(here)?;
    let took = began.elapsed();
    let was_compiled = host.cache_hits_and_misses().1 > missed;
    let (imports, exports) = (component.imports(), component.exports());
    let wants_state = imports.iter().any(|name| name.starts_with(STATE));
    let mut spec = Spec::new("plugin");
    if wants_state {
        spec.grants.state = StateGrant::Granted;
    }
    let plugin = Plugin::new(host, &component, spec).map_err(here)?;

    let mut told = String::new();
    let mut line = |name: &str, value: &str| {
        let _ = writeln!(told, "{name:<10} {value}");
    };
    line("contract", plugin.contract());
    line("digest", component.digest());
    let size = component.size_bytes();
    line("size", &format!("{size} bytes"));
    let how = if was_compiled { "compiled" } else { "found compiled in the cache" };
    line("compile", &format!("{:.2} s, {how}", took.as_secs_f64()));
    line("timer", if plugin.has_timer() { "yes: set `tick` on its route" } else { "no" });
    line("packed", if exports.iter().any(|name| name.starts_with(PACKED)) { "yes" } else { "no" });
    line(
        "grants",
        if wants_state { "state = true" } else { "none by what it imports; targets and topics by what it does" },
    );
    match plugin.instantiate() {
        Ok(instance) => {
            line("memory", &format!("{} KiB after it was configured with {{}}", instance.memory_bytes() / 1024))
        }
        Err(error) => line("memory", &format!("unknown: with an empty configuration, {error}")),
    }
    let (wasi, ours): (Vec<_>, Vec<_>) =
        imports.iter().partition(|name| name.starts_with(WASI) && !name.starts_with(MESSAGING));
    for name in ours {
        line("imports", name);
    }
    for name in &exports {
        line("exports", name);
    }
    if !wasi.is_empty() {
        let words = "interfaces of WASI, which find an empty world: no files, no network, no environment";
        line("WASI", &format!("{} {words}", wasi.len()));
    }
    Ok(told)
}
