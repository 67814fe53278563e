//! Tests of the spool from outside, on a disk that forgets, tears and fails. The index:

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
mod world;
