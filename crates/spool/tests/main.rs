//! Tests of the spool from outside, on a disk that forgets, tears, fills up and fails. The index:
//!
//! | module | what it shows |
//! |---|---|
//! | `stories` | 10,000 stories (`TIDEGATE_CASES=1000000` for more) of appending, finishing, closing, killing and losing power, each told against the model |
//! | `crash` | the power is cut after every operation on disk of twelve stories, 100,000 states that may be left, each opened, checked and worked on with |
//! | `faults` | a write, an fsync or a read fails, or the disk is full for a moment or for good, at every operation |
//! | `rot` | 10,000 bits turned over in closed spools, one at a time: one record is lost at most, and counted |
//! | `format` | files of format 1 as they were written once (`golden/1`); files of a later one are refused untouched |
//! | `tools` | `verify`, `export` and the `Editor` |
//! | `threads` | the real threads on a real folder, with more than memory is given for |
//! | `trial`, `model` | a spool and the list of what happened that it is compared with; `script`: stories that are the same every time; `raw`: a reader of the log of the tests' own; `disk`: the simulated disk behind the spool's door |
//!
//! That these tests can fail: see `docs/mutants.md`.

mod crash;
mod disk;
mod faults;
mod format;
mod model;
mod raw;
mod rot;
mod script;
mod stories;
mod threads;
mod tools;
mod trial;
