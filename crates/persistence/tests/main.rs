//! Tests of what the box's own broker keeps over a restart, on a disk that forgets, tears and fills up. The index:
//!
//! | module | what it shows |
//! |---|---|
//! | `stories` | stories of everything that a broker writes down, told against a model: closed, killed, the power cut; the log stays short |
//! | `crash` | the power is cut after every operation on disk of some stories, and whatever may be left is opened |
//! | `format` | files of format 1 as they were written once (`golden/1`); files of a later one are refused untouched |
//! | `trial`, `model` | a store, and what may have come of everything that was written |
//! | `disk` | the simulated disk behind the store's door, that of the spool's tests |

mod crash;
#[path = "../../spool/tests/disk.rs"]
#[allow(dead_code)] // some of it opens spools
mod disk;
mod format;
mod model;
mod stories;
mod trial;
