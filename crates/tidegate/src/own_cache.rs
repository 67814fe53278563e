//! Where commands that only look keep what they compile: in the cache of whoever runs them (the XDG Base Directory
//! Specification), never where a gateway keeps its own.

use std::path::PathBuf;

/// `$XDG_CACHE_HOME/tidegate`, or `~/.cache/tidegate`; `None` where neither is known.
pub(crate) fn own_cache() -> Option<PathBuf> {
    let absolute = |name: &str| std::env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
    let base = absolute("XDG_CACHE_HOME").or_else(|| Some(absolute("HOME")?.join(".cache")))?;
    Some(base.join("tidegate"))
}
