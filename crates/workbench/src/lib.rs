//! What the authors of plugins need, without a gateway: [`samples`] that say what a plugin must decide and are tried in the
//! same host, under the same limits; a look into a component ([`inspect()`]).
//!
//! Nothing here sends anything or touches what a gateway keeps. What is printed is made here, as text; who prints it is the
//! command.
//!
//! Start reading at [`samples`].

mod inspect;
pub mod samples;
mod trial;

pub use inspect::inspect;
pub use trial::{Coverage, Report, try_file};
