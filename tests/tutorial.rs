//! docs/plugins/tutorial.md, word by word: its commands, and what stands under them, in each language.

use crate::languages::compilers_path;
use std::io::Read;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use tempfile::TempDir;
use tidegate_testkit::{Tidegate, free_port};

const PATIENCE: Duration = Duration::from_secs(60);

/// A shell in the reader's folder, and what it has printed so far.
pub(crate) struct Terminal {
    child: Child,
    printed: Arc<Mutex<String>>,
}

impl Terminal {
    pub(crate) fn run(dir: &Path, line: &str) -> Self {
        let binary = Tidegate::binary();
        let own = binary.parent().expect("a folder").to_owned();
        let path =
            std::env::join_paths([own].into_iter().chain(std::env::split_paths(&compilers_path()))).expect("a path");
        let mut command = Command::new("sh");
        command.arg("-c").arg(format!("exec 2>&1; {line}")).current_dir(dir).env("PATH", path).env_remove("RUST_LOG");
        command.env("CARGO_TARGET_DIR", Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/test-env/rust"));
        let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn().expect("a shell");
        let (printed, mut output) = (Arc::<Mutex<String>>::default(), child.stdout.take().expect("a pipe"));
        let to = printed.clone();
        std::thread::spawn(move || {
            let mut block = [0; 4096];
            while let Ok(len @ 1..) = output.read(&mut block) {
                to.lock().expect("no panic").push_str(&String::from_utf8_lossy(&block[..len]));
            }
        });
        Self { child, printed }
    }

    pub(crate) fn text(&self) -> String {
        self.printed.lock().expect("no panic").clone()
    }

    /// It ends, and well.
    #[track_caller]
    pub(crate) fn succeeds(&mut self, command: &str) {
        let status = self.child.wait().expect("it ends");
        assert!(status.success(), "{command}: {}", self.text());
    }

    #[track_caller]
    pub(crate) fn waits_for(&self, words: &str) {
        let until = Instant::now() + PATIENCE;
        while !self.text().contains(words) {
            assert!(Instant::now() < until, "no `{words}` in\n{}", self.text());
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        // The shell has become the command.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[track_caller]
fn the_page_holds(language: &str) {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/plugins/tutorial.md");
    let mut page =
        std::fs::read_to_string(page).expect("the page").replace("--lang python", &format!("--lang {language}"));
    for port in ["18831", "18832", "18833"] {
        page = page.replace(port, &free_port().to_string());
    }
    let dir = TempDir::new().expect("a folder");
    let mut terminals: Vec<Terminal> = Vec::new();
    for block in page.split("\n```").skip(1).step_by(2) {
        let (kind, text) = block.split_once('\n').unwrap_or((block, ""));
        if kind == "toml" {
            std::fs::write(dir.path().join("gateway.toml"), text).expect("written");
            continue;
        }
        assert!(["console", "console background"].contains(&kind), "{kind}");
        let mut last: Option<Terminal> = None;
        for line in text.lines() {
            let Some(command) = line.strip_prefix("$ ") else {
                let shown = last.as_ref().or(terminals.last()).expect("a command before what it prints");
                shown.waits_for(line);
                continue;
            };
            let mut terminal = Terminal::run(dir.path(), &command.replacen("tidegate", "exec tidegate", 1));
            if kind == "console" {
                terminal.succeeds(command);
                last = Some(terminal);
            } else {
                terminals.push(terminal);
            }
        }
    }
    let [gateway, office, alarms] = &terminals[..] else { panic!("three terminals") };
    for words in ["dev/1", "21.1", "dev/2", "65.6", "dev/3"] {
        office.waits_for(words);
    }
    for words in ["alarm/dev/2", "65.6", "alarm/dev/3", "21.1"] {
        alarms.waits_for(words);
    }
    assert!(!alarms.text().contains("alarm/dev/1"), "{}", alarms.text());
    let said = gateway.text();
    assert!(!said.contains("ERROR") && !said.contains("refused"), "{said}");
}

#[test]
fn in_every_language() {
    for language in ["c", "zig", "go", "javascript", "typescript", "rust", "python"] {
        the_page_holds(language);
    }
}
