//! End-to-end tests of Tidegate; the tests are in `main.rs` and its modules.
