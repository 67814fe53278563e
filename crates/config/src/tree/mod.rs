//! Keys out of TOML tables by name, and what they say as one of the kinds that are asked for.
//!
//! Deserializing into structs would stop at the first value of the wrong kind. This goes on: a value that cannot be
//! used is reported at its place, and the caller continues without it.

#[cfg(test)]
pub(crate) mod asked;
mod context;
mod json;
mod section;
mod uses;
mod value;

pub(crate) use context::{At, Context};
#[cfg(test)]
pub(crate) use section::BESIDE_NAMES;
pub(crate) use section::Section;
pub(crate) use uses::{FileKind, FileUse};
#[cfg(test)]
pub(crate) use value::ENTRIES;
pub(crate) use value::Value;
