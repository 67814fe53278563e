//! Tests of the spool from outside, on a disk that forgets, tears and fails. The index:

mod disk;
mod model;
mod raw;
mod stories;
mod world;
