//! What the authors of plugins need, without a gateway: [`samples`] that say what a plugin must decide and are tried in the
//! same host, under the same limits; [`scenario`]s that say the same of a whole configuration; a look into a component ([`inspect()`]) and what it costs ([`bench()`]); folders to begin with ([`write()`]) and the
//! compilers that make a component of them ([`build()`]).
//!
//! Nothing here sends anything or touches what a gateway keeps. What is printed is made here, as text; who prints it is the
//! command.
//!
//! Start reading at [`samples`].

mod bench;
mod compare;
mod encode;
mod generate;
mod inspect;
mod live;
mod project;
pub mod samples;
pub mod scenario;
mod template;
mod toolchain;
mod trial;

pub use bench::bench;
pub use compare::{Compared, compare};
pub use inspect::inspect;
pub use live::Live;
pub use project::{Engine, Language, Project, World, sample_files};
pub use template::write;
pub use toolchain::build;
pub use trial::{Coverage, Report, try_file};
