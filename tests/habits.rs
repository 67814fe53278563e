//! What people expect of a command that they live with: tests of a configuration, a schema for the editor, completions, a service
//! that says when it is ready.
//!
//! | Module | What it shows |
//! |---|---|
//! | `tested` | `tidegate test`: messages in, what is sent out, timers, sequences, and every difference in words |
//! | `moved` | `backup`, `restore`, `spool import`, and what version 0.1.0 has left |
//! | `reached` | `check --connect`: what each broker can do, and why one is not reached; no session is disturbed |
//! | `released` | `scripts/release`: a version, its changelog and its tag |
//! | `service` | systemd's protocol: ready when it is, and the watchdog |
//! | `shell` | completions, manual pages, the schema, held against an editor's own reading |

mod moved;
mod reached;
mod released;
mod service;
mod shell;
mod tested;
