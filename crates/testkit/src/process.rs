//! A child process whose log is kept, and that does not outlive its value.

use crate::within;
use rustix::process::{Pid, Signal, kill_process};
use std::ffi::OsStr;
use std::io::{BufRead, BufReader, ErrorKind, Read};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// What is kept of a log, in bytes; beyond it the older half is forgotten.
const LOG_BYTES: usize = 8 << 20;

/// What is shown of the log when something fails, in lines.
const SHOWN_LINES: usize = 60;

/// How long a program may be busy because it was only just written.
const BUSY: Duration = Duration::from_secs(5);

/// What was written before the end is read within this.
const LAST_WORDS: Duration = Duration::from_secs(2);

/// A running child. Killed when dropped; its log is printed if that happens while a test fails.
#[derive(Debug)]
pub struct Process {
    name: String,
    child: Child,
    log: Arc<Mutex<String>>,
    readers: Vec<JoinHandle<()>>,
    status: Option<ExitStatus>,
}

impl Process {
    /// Starts `command`, keeping its standard error and output as its log.
    #[track_caller]
    pub fn spawn(name: &str, command: &mut Command) -> Self {
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let end = Instant::now() + BUSY;
        let mut child = loop {
            match command.spawn() {
                Ok(child) => break child,
                // A file written a moment ago is still open in a child that another thread is about to start.
                Err(error) if error.kind() == ErrorKind::ExecutableFileBusy && Instant::now() < end => {
                    std::thread::sleep(Duration::from_millis(5));
                }
                Err(error) => panic!("cannot start {name} ({}): {error}", command.get_program().display()),
            }
        };
        let log = Arc::new(Mutex::new(String::new()));
        let readers = [keep(child.stderr.take(), &log), keep(child.stdout.take(), &log)];
        let readers = readers.into_iter().flatten().collect();
        Self { name: name.to_owned(), child, log, readers, status: None }
    }

    /// The process id, for `/proc`.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// What it has written so far.
    pub fn log(&self) -> String {
        self.log.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// True until it has ended.
    pub fn is_running(&mut self) -> bool {
        self.exit_status().is_none()
    }

    /// How it ended, if it has.
    pub fn exit_status(&mut self) -> Option<ExitStatus> {
        if self.status.is_none() {
            self.status = self.child.try_wait().ok().flatten();
        }
        self.status
    }

    /// Sends a signal; one that has ended does not mind.
    pub fn signal(&mut self, signal: Signal) {
        if self.is_running()
            && let Some(pid) = Pid::from_raw(self.child.id() as i32)
        {
            // It may end in between; then there is nobody to tell.
            let _ = kill_process(pid, signal);
        }
    }

    /// Waits for its end; none if it still runs at the deadline.
    pub fn wait(&mut self, deadline: Duration) -> Option<ExitStatus> {
        within(deadline, || !self.is_running());
        self.status
    }

    /// SIGTERM, then waits for its end; panics if it still runs at the deadline.
    #[track_caller]
    pub fn terminate(&mut self, deadline: Duration) -> ExitStatus {
        self.signal(Signal::TERM);
        match self.wait(deadline) {
            Some(status) => status,
            None => panic!("{} still runs {deadline:?} after SIGTERM{}", self.name, self.tail()),
        }
    }

    /// SIGKILL, and waits for its end.
    pub fn kill(&mut self) {
        if self.is_running() {
            let _ = self.child.kill();
            self.status = self.child.wait().ok();
        }
    }

    /// The end of the log, made to be appended to a panic message.
    pub fn tail(&self) -> String {
        if self.status.is_some() {
            // Its last words may still be in the pipe; a grandchild may hold the pipe open for ever.
            within(LAST_WORDS, || self.readers.iter().all(JoinHandle::is_finished));
        }
        let log = self.log();
        let lines: Vec<&str> = log.lines().collect();
        let from = lines.len().saturating_sub(SHOWN_LINES);
        format!("\n--- log of {} ---\n{}\n---", self.name, lines[from..].join("\n"))
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
        if std::thread::panicking() {
            eprintln!("{}", self.tail());
        }
    }
}

/// A command made of a program and its arguments.
pub(crate) fn command<A: AsRef<OsStr>>(program: impl AsRef<OsStr>, args: impl IntoIterator<Item = A>) -> Command {
    let mut command = Command::new(program);
    command.args(args);
    command
}

fn keep(pipe: Option<impl Read + Send + 'static>, log: &Arc<Mutex<String>>) -> Option<JoinHandle<()>> {
    let pipe = pipe?;
    let log = Arc::clone(log);
    Some(std::thread::spawn(move || {
        let mut pipe = BufReader::new(pipe);
        let mut line = Vec::new();
        while pipe.read_until(b'\n', &mut line).is_ok_and(|read| read > 0) {
            let mut log = log.lock().unwrap_or_else(PoisonError::into_inner);
            if log.len() + line.len() > LOG_BYTES {
                let middle = log.ceil_char_boundary(LOG_BYTES / 2);
                log.drain(..middle);
            }
            log.push_str(&String::from_utf8_lossy(&line));
            line.clear();
        }
    }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::process::ExitStatusExt;
    use std::path::Path;

    const DEADLINE: Duration = Duration::from_secs(10);

    fn shell(script: &str) -> Process {
        Process::spawn("shell", &mut command("sh", ["-c", script]))
    }

    #[test]
    fn both_outputs_are_kept_as_its_log() {
        let mut process = shell("echo one; echo two >&2; exit 3");
        assert_eq!(process.wait(DEADLINE).and_then(|status| status.code()), Some(3));
        crate::eventually("both lines", DEADLINE, || {
            let log = process.log();
            log.contains("one\n") && log.contains("two\n")
        });
        assert!(process.tail().contains("log of shell"));
    }

    #[test]
    fn terminate_waits_for_a_clean_end() {
        let mut process = shell("trap 'exit 7' TERM; echo ready; while :; do sleep 0.02; done");
        crate::eventually("the trap is set", DEADLINE, || process.log().contains("ready"));
        assert_eq!(process.terminate(DEADLINE).code(), Some(7));
    }

    #[test]
    #[should_panic(expected = "after SIGTERM")]
    fn a_process_that_ignores_terminate_is_reported() {
        let mut process = shell("trap '' TERM; echo ready; while :; do sleep 0.02; done");
        crate::eventually("the trap is set", DEADLINE, || process.log().contains("ready"));
        process.terminate(Duration::from_millis(100));
    }

    #[test]
    fn nothing_outlives_its_value() {
        let mut process = shell("exec sleep 1000");
        assert!(process.is_running());
        let proc = format!("/proc/{}", process.pid());
        assert!(Path::new(&proc).exists());
        drop(process);
        assert!(!Path::new(&proc).exists());

        let mut process = shell("exec sleep 1000");
        process.kill();
        assert_eq!(process.exit_status().and_then(|status| status.signal()), Some(9));
    }
}
