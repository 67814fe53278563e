//! The engine: compiles components, keeps compiled code on disk, and owns the clock that cuts guests.

use crate::Error;
use crate::ticker::Ticker;
use sha2::{Digest, Sha256};
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tidegate_config::MAX_COMPONENT_BYTES;
use wasmtime::{Cache, CacheConfig, Config, Engine};

/// The native stack a guest may use. Interpreters parse JSON by recursion: 5,000 opening brackets are 5 KB that any client can
/// send, and must not empty a plugin's memory. It is a fiber's: only what was used once takes memory.
pub const WASM_STACK_BYTES: usize = 2 * 1024 * 1024;

/// What the host's own functions have of a fiber's stack, on top.
const HOST_STACK_BYTES: usize = 512 * 1024;

/// What wasmtime's interpreter is called, of the width of this machine.
const PULLEY: &str = if cfg!(target_pointer_width = "64") { "pulley64" } else { "pulley32" };

/// Compiled code of this many bytes and files is kept; beyond it the longest unused goes.
const CACHE_BYTES: u64 = 256 * 1024 * 1024;
const CACHE_FILES: u64 = 256;
const CACHE_CLEANUP_INTERVAL: Duration = Duration::from_secs(3600);

/// How a [`Host`] is set up.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct HostConfig {
    /// Where compiled code is kept between runs; nothing is kept when `None`. Created with mode 0700 if it does not
    /// exist: who can write there can run code as the gateway.
    pub cache_dir: Option<PathBuf>,
    /// Plugins are interpreted: no memory is made executable, and they are slower by far.
    pub interpreter: bool,
}

/// The engine all plugins of a process share. Clones are the same host.
#[derive(Clone)]
pub struct Host {
    inner: Arc<Inner>,
}

struct Inner {
    // Dropped first, so that nothing ticks an engine that is gone.
    ticker: Ticker,
    engine: Engine,
    cache: Option<Cache>,
}

impl Host {
    /// Sets up the engine and starts its clock, which sleeps until the first call.
    ///
    /// # Errors
    /// [`Error::Engine`] when the machine has no threads or the cache directory cannot be made.
    pub fn new(config: &HostConfig) -> Result<Self, Error> {
        let cache = match &config.cache_dir {
            Some(dir) => Some(
                open_cache(dir).map_err(|error| Error::Engine(format!("cache {}: {error}", dir.display()).into()))?,
            ),
            None => None,
        };
        let engine = Engine::new(&engine_config(cache.clone(), config.interpreter)?)
            .map_err(|error| Error::Engine(error.into_boxed_dyn_error()))?;
        let ticker = Ticker::start(engine.clone()).map_err(|error| Error::Engine(error.into()))?;
        Ok(Self { inner: Arc::new(Inner { ticker, engine, cache }) })
    }

    /// Compiles a component, or loads what was compiled of the same bytes before.
    ///
    /// Takes 1 to 15 ms from the cache and up to many seconds without: never call it where messages wait.
    ///
    /// # Errors
    /// [`Error::Compile`] when these bytes are not a component; [`Error::NoExecutableMemory`] when the system forbids
    /// what every component needs.
    pub fn compile(&self, bytes: &[u8]) -> Result<Component, Error> {
        check_preamble(bytes).map_err(|problem| Error::Compile(problem.to_owned()))?;
        let component =
            wasmtime::component::Component::from_binary(&self.inner.engine, bytes).map_err(|error| refused(&error))?;
        let digest: String = Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect();
        Ok(Component { inner: component, digest: digest.into(), size_bytes: bytes.len() })
    }

    /// How many components were found compiled, and how many had to be compiled.
    pub fn cache_hits_and_misses(&self) -> (usize, usize) {
        self.inner.cache.as_ref().map_or((0, 0), |cache| (cache.cache_hits(), cache.cache_misses()))
    }

    pub(crate) fn engine(&self) -> &Engine {
        &self.inner.engine
    }

    pub(crate) fn ticker(&self) -> &Ticker {
        &self.inner.ticker
    }
}

impl fmt::Debug for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Host").field("cache", &self.inner.cache.as_ref().map(Cache::directory)).finish_non_exhaustive()
    }
}

/// A compiled component, not yet anybody's plugin. Clones share the code.
#[derive(Clone)]
pub struct Component {
    pub(crate) inner: wasmtime::component::Component,
    digest: Arc<str>,
    size_bytes: usize,
}

impl Component {
    /// Of its file.
    pub fn size_bytes(&self) -> usize {
        self.size_bytes
    }

    /// The SHA-256 of the bytes it was compiled from, in hexadecimal.
    pub fn digest(&self) -> &str {
        &self.digest
    }

    pub(crate) fn shared_digest(&self) -> Arc<str> {
        Arc::clone(&self.digest)
    }

    /// Whether it acts on time.
    pub fn exports_timer(&self) -> bool {
        self.exports().iter().any(|name| name.starts_with(crate::calls::TIMER))
    }

    /// The interfaces it imports, such as `tidegate:gateway/log@1.0.0`.
    pub fn imports(&self) -> Vec<String> {
        let ty = self.inner.component_type();
        ty.imports(self.inner.engine()).map(|(name, _)| name.to_owned()).collect()
    }

    /// The interfaces and functions it exports.
    pub fn exports(&self) -> Vec<String> {
        let ty = self.inner.component_type();
        ty.exports(self.inner.engine()).map(|(name, _)| name.to_owned()).collect()
    }
}

impl fmt::Debug for Component {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Component").field("digest", &self.digest).finish_non_exhaustive()
    }
}

fn engine_config(cache: Option<Cache>, interpreter: bool) -> Result<Config, Error> {
    let mut config = Config::new();
    if interpreter {
        config.target(PULLEY).map_err(|error| Error::Engine(error.into_boxed_dyn_error()))?;
    }
    config
        .cache(cache)
        .epoch_interruption(true)
        .max_wasm_stack(WASM_STACK_BYTES)
        .async_stack_size(WASM_STACK_BYTES + HOST_STACK_BYTES)
        // A trap is told by its kind; tables to walk a guest's stack would cost memory for every plugin.
        .wasm_backtrace_max_frames(None)
        .generate_address_map(false)
        .native_unwind_info(false)
        // Nothing here is async, and the bookkeeping for it costs on every call.
        .concurrency_support(false);
    Ok(config)
}

fn open_cache(dir: &Path) -> Result<Cache, String> {
    create_private(dir).map_err(|error| error.to_string())?;
    // wasmtime writes aside and renames, and wants the directory absolute.
    let dir = dir.canonicalize().map_err(|error| error.to_string())?;
    let mut config = CacheConfig::new();
    config
        .with_directory(dir)
        .with_cleanup_interval(CACHE_CLEANUP_INTERVAL)
        .with_file_count_soft_limit(CACHE_FILES)
        .with_files_total_size_soft_limit(CACHE_BYTES);
    Cache::new(config).map_err(|error| format!("{error:#}"))
}

fn create_private(dir: &Path) -> std::io::Result<()> {
    let mut builder = std::fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(dir)
}

/// What wasmtime says when it cannot load a component, in words for people. It has no error of its own for memory that
/// may not be made executable: this is the text it puts before what the system said.
fn refused(error: &wasmtime::Error) -> Error {
    const NOT_EXECUTABLE: &str = "unable to make memory executable";
    let mut causes = error.chain().map(ToString::to_string).skip_while(|cause| !cause.contains(NOT_EXECUTABLE));
    match causes.next() {
        // The last cause is the system's own word.
        Some(cause) => Error::NoExecutableMemory(causes.last().unwrap_or(cause)),
        None => Error::Compile(format!("{error:#}")),
    }
}

/// Tells apart what people mistake for a component, so that the message can say what to do.
fn check_preamble(bytes: &[u8]) -> Result<(), &'static str> {
    const MAGIC: &[u8] = b"\0asm";
    const CORE_MODULE: &[u8] = &[1, 0, 0, 0];
    if bytes.len() as u64 > MAX_COMPONENT_BYTES {
        return Err("it is larger than 64 MiB");
    }
    match bytes.split_at_checked(MAGIC.len()) {
        Some((MAGIC, rest)) if rest.starts_with(CORE_MODULE) => Err(
            "it is a core WebAssembly module: build it for wasm32-wasip2, or make a component of it with `wasm-tools \
             component new`",
        ),
        Some((MAGIC, _)) => Ok(()),
        _ => Err("it does not begin with \\0asm, as WebAssembly does"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As wasmtime says it; tried under `PR_SET_MDWE`.
    #[test]
    fn a_process_that_may_not_make_memory_executable_is_told_so_and_not_that_its_plugin_is_bad() {
        let denied = std::io::Error::from(std::io::ErrorKind::PermissionDenied);
        let error = wasmtime::Error::from(denied).context("failed to make memory executable");
        let error = error.context("unable to make memory executable").context("loading");
        let error = refused(&error);
        assert!(matches!(error, Error::NoExecutableMemory(_)), "{error:?}");
        let words = error.to_string();
        assert!(words.starts_with("this process may not make memory executable"), "{words}");
        assert!(words.contains("permission denied") && words.contains("remove MemoryDenyWriteExecute="), "{words}");
        let other = refused(&wasmtime::Error::msg("unexpected end").context("failed to parse"));
        assert_eq!(other.to_string(), "not a component: failed to parse: unexpected end");
    }
}
