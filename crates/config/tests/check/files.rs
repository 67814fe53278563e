//! What only the disk can tell.

use std::path::Path;
use tidegate_config::{Problem, load};

/// A directory with a configuration that names a plugin, a password, certificates and a key.
struct Place(tempfile::TempDir);

const CONFIG: &str = r#"
[gateway]
name = "g"
data_dir = "data"
[brokers.a]
url = "mqtts://a"
username = "u"
password = { file = "a.pass" }
tls = { ca = "ca.pem", cert = "gw.pem", key = "gw.key" }
[plugins.p]
path = "p.wasm"
[[routes]]
name = "r"
from = { broker = "a", topics = ["x/#"] }
plugins = ["p"]
to = ["a"]
remap = { strip = "x/", prefix = "y/" }
"#;

impl Place {
    fn new() -> Self {
        let place = Self(tempfile::tempdir().unwrap());
        place.write("gw.toml", CONFIG, 0o644);
        for (name, mode) in
            [("a.pass", 0o600), ("ca.pem", 0o644), ("gw.pem", 0o644), ("gw.key", 0o600), ("p.wasm", 0o644)]
        {
            place.write(name, "", mode);
        }
        place
    }

    fn path(&self, name: &str) -> std::path::PathBuf {
        self.0.path().join(name)
    }

    fn write(&self, name: &str, text: &str, mode: u32) {
        use std::os::unix::fs::PermissionsExt;
        std::fs::write(self.path(name), text).unwrap();
        std::fs::set_permissions(self.path(name), std::fs::Permissions::from_mode(mode)).unwrap();
    }

    /// The problems, without the directory in front.
    fn problems(&self) -> Vec<String> {
        let problems = match load(&self.path("gw.toml")) {
            Ok(loaded) => loaded.warnings,
            Err(problems) => problems.0,
        };
        let place = format!("{}/", self.0.path().display());
        problems.iter().map(|problem: &Problem| problem.to_string().replace(&place, "")).collect()
    }
}

#[test]
fn what_is_in_order_gives_absolute_paths_and_no_problem() {
    let place = Place::new();
    let loaded = load(&place.path("gw.toml")).unwrap();
    assert_eq!(loaded.warnings, []);
    assert_eq!(loaded.config.plugins["p"].path, place.path("p.wasm"));
    assert_eq!(loaded.config.gateway.data_dir, place.path("data"));
    assert_eq!(loaded.file, place.path("gw.toml"));
}

#[test]
fn missing_files_are_all_named() {
    let place = Place::new();
    for name in ["a.pass", "ca.pem", "gw.key", "p.wasm"] {
        std::fs::remove_file(place.path(name)).unwrap();
    }
    std::fs::create_dir(place.path("p.wasm")).unwrap();
    let hint = "create it, or correct the path, which is relative to this file";
    assert_eq!(
        place.problems(),
        [
            format!("gw.toml:8:21: there is no file `a.pass`; {hint}"),
            format!("gw.toml:9:14: there is no file `ca.pem`; {hint}"),
            format!("gw.toml:9:47: there is no file `gw.key`; {hint}"),
            "gw.toml:11:8: `p.wasm` is a directory; name a file".to_owned(),
        ]
    );
}

#[test]
fn secrets_that_others_can_read_are_refused() {
    let place = Place::new();
    place.write("a.pass", "x", 0o604);
    place.write("gw.key", "x", 0o640);
    assert_eq!(
        place.problems(),
        [
            "gw.toml:8:21: everyone can read the password in `a.pass`; run `chmod 600 a.pass`",
            "gw.toml:9:47: warning: a whole group can read the private key in `gw.key`; run `chmod 600 gw.key`",
        ]
    );
    place.write("a.pass", "x", 0o600);
    assert!(load(&place.path("gw.toml")).is_ok(), "a warning refuses nothing");
}

#[test]
fn a_plugin_that_is_not_the_pinned_one_is_refused() {
    let place = Place::new();
    let empty = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
    place.write("gw.toml", &CONFIG.replace("\"p.wasm\"", &format!("\"p.wasm\"\ndigest = \"sha256:{empty}\"")), 0o644);
    assert_eq!(place.problems(), [""; 0]);
    place.write("p.wasm", "x", 0o644);
    let problems = place.problems();
    assert_eq!(problems.len(), 1);
    assert!(
        problems[0].starts_with("gw.toml:11:8: `p.wasm` is not the plugin that `digest` names; check"),
        "{problems:?}"
    );
}

#[test]
fn a_file_that_cannot_be_read_says_so() {
    let place = Place::new();
    let problem = |path: &Path| load(path).unwrap_err().to_string();
    let missing = problem(&place.path("other.toml"));
    assert!(missing.ends_with("; name the configuration with `--config FILE`"), "{missing}");
    assert!(problem(place.0.path()).contains("cannot read this file"));
    std::fs::write(place.path("gw.toml"), b"a = 1\nb = \"\xff\"\n").unwrap();
    assert!(problem(&place.path("gw.toml")).ends_with("gw.toml: this file is not UTF-8 in line 2; save it as UTF-8"));
    std::fs::write(place.path("gw.toml"), vec![b'#'; 5 << 20]).unwrap();
    assert!(problem(&place.path("gw.toml")).contains("longer than"));
}
