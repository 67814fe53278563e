//! `tidegate pub` and `tidegate sub`, and the demo, whose devices are clients of the same kind.
//!
//! | Module | What it shows |
//! |---|---|
//! | `pubsub` | every version, transport and QoS against mosquitto and the own broker; lines, files, retained, JSON |
//! | `refusals` | what is not let in, not allowed or not there: words and exit codes |
//! | `terminal` | the demo on a terminal of 80 columns: nothing smears, reloads are seen, nothing is left behind |

mod pubsub;
mod refusals;
mod terminal;

use crate::fixture::PATIENCE;
use std::io::Write;
use std::process::{Child, Command, Output, Stdio};
use tidegate_testkit::{Tidegate, eventually};

/// Exit codes.
const USAGE: i32 = 64;
const UNAVAILABLE: i32 = 69;
const NOT_PERMITTED: i32 = 77;

fn command(args: &[&str]) -> Command {
    let limit = PATIENCE.as_secs().to_string();
    let mut command = Command::new("timeout");
    command.args(["-k", "1", &limit]).arg(Tidegate::binary()).args(args);
    command.env_remove("RUST_LOG").env_remove("TIDEGATE_PASSWORD");
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

/// Runs a client with this on its standard input to its end.
#[track_caller]
fn run_with(args: &[&str], input: &[u8]) -> Output {
    let mut child = command(args).spawn().expect("timeout runs");
    // One that ends early does not read.
    let _ = child.stdin.take().expect("a pipe").write_all(input);
    child.wait_with_output().expect("it ends")
}

#[track_caller]
fn publish(args: &[&str], input: &[u8]) {
    let output = run_with(&[&["pub"], args].concat(), input);
    assert!(output.status.success(), "pub {args:?}: {output:?}");
}

/// A running `tidegate sub`. Killed when dropped.
struct Sub {
    child: Option<Child>,
    /// Where its stderr goes, so that it can be looked at while it runs.
    errors: tempfile::NamedTempFile,
}

impl Sub {
    /// Starts it, and waits until it says that all of `filters` are subscribed.
    #[track_caller]
    fn start(args: &[&str], filters: usize) -> Self {
        let errors = tempfile::NamedTempFile::new().expect("a file");
        let mut command = command(&[&["sub"], args].concat());
        let child = command.stderr(errors.reopen().expect("the file")).spawn().expect("timeout runs");
        let sub = Self { child: Some(child), errors };
        eventually("it is subscribed", PATIENCE, || sub.errors().matches("subscribed to").count() == filters);
        sub
    }

    fn errors(&self) -> String {
        std::fs::read_to_string(self.errors.path()).expect("its words")
    }

    fn pid(&self) -> i32 {
        self.child.as_ref().expect("it runs").id() as i32
    }

    /// Waits for its end. Gives back its exit code and the lines it printed.
    #[track_caller]
    fn end(mut self) -> (Option<i32>, Vec<String>) {
        let output = self.child.take().expect("it runs").wait_with_output().expect("it ends");
        let printed = String::from_utf8(output.stdout).expect("text");
        (output.status.code(), printed.lines().map(str::to_owned).collect())
    }
}

impl Drop for Sub {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            // `timeout` hands SIGTERM on, and nothing else.
            let _ = Command::new("kill").arg(child.id().to_string()).stderr(Stdio::null()).status();
            let _ = child.wait();
        }
    }
}
