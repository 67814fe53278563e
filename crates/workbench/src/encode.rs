//! From a core module to a component: what compilers of C, Zig and Go leave to be done, so that nobody has to install another tool.

use std::path::PathBuf;
use wasi_preview1_component_adapter_provider::{
    WASI_SNAPSHOT_PREVIEW1_ADAPTER_NAME as ADAPTER, WASI_SNAPSHOT_PREVIEW1_REACTOR_ADAPTER as REACTOR,
};
use wit_component::{ComponentEncoder, StringEncoding, embed_component_metadata};
use wit_parser::Resolve;

/// Makes a component of a module that was built for a world of the contract in a folder; without one the module says it
/// itself. WASI of the first preview becomes that of the second.
///
/// # Errors
/// The world is not there, or the module does not export what it asks for, in words.
pub(crate) fn encode(mut module: Vec<u8>, world: Option<(PathBuf, &str)>) -> Result<Vec<u8>, String> {
    if let Some((wit, world)) = world {
        let mut resolve = Resolve::default();
        resolve
            .push_path(&wit)
            .and_then(|(package, _)| resolve.select_world(&[package], Some(world)))
            .and_then(|world| embed_component_metadata(&mut module, &resolve, world, StringEncoding::UTF8))
            .map_err(|error| format!("{}: {error:#}", wit.display()))?;
    }
    ComponentEncoder::default()
        .validate(true)
        .module(&module)
        .and_then(|encoder| encoder.adapter(ADAPTER, REACTOR))
        .and_then(|mut encoder| encoder.encode())
        .map_err(|error| format!("the module is no plugin yet: {error:#}"))
}
