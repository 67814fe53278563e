//! A configuration of several files, and variables in it.

use std::path::{Path, PathBuf};
use tidegate_config::{Config, Loaded, Problems, Sources, load};

/// Files in a folder of their own; the first is the main one.
struct Files(tempfile::TempDir);

impl Files {
    fn new(files: &[(&str, &str)]) -> Self {
        let dir = tempfile::tempdir().unwrap();
        for (name, text) in files {
            let path = dir.path().join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        }
        Self(dir)
    }

    fn main(&self) -> PathBuf {
        self.0.path().join("gw.toml")
    }

    fn load(&self) -> Result<Loaded, Problems> {
        load(&self.main())
    }

    fn config(&self) -> Config {
        self.load().unwrap_or_else(|problems| panic!("{problems}")).config
    }

    /// The lines of what is wrong, without the folder.
    fn refused(&self) -> String {
        let root = format!("{}/", self.0.path().display());
        self.load().unwrap_err().to_string().replace(&root, "")
    }
}

const MAIN: &str = r#"include = ["routes.d/*.toml", "more/office.toml"]
[gateway]
name = "g"
data_dir = "data"
[brokers.home]
embedded = true
listen = ["mqtt://127.0.0.1:0"]
"#;

const OFFICE: &str = "[brokers.office]\nurl = \"mqtt://127.0.0.1:1\"\n";

fn route(name: &str) -> String {
    format!(
        "[[routes]]\nname = \"{name}\"\nfrom = {{ broker = \"home\", topics = [\"{name}/#\"] }}\nto = [\"office\"]\n"
    )
}

#[test]
fn sections_of_all_files_are_one_configuration_in_the_order_of_their_names() {
    let (b, a) = (route("b"), route("a"));
    let files = Files::new(&[
        ("gw.toml", MAIN),
        ("more/office.toml", OFFICE),
        ("routes.d/20-b.toml", &b),
        ("routes.d/10-a.toml", &a),
        ("routes.d/.30-c.toml", "this is not TOML"),
        ("routes.d/30-c.toml~", "nor is this"),
    ]);
    let config = files.config();
    assert_eq!(config.routes.iter().map(|route| &*route.name).collect::<Vec<_>>(), ["a", "b"]);
    assert_eq!(config.brokers.keys().collect::<Vec<_>>(), ["home", "office"]);
    let text = std::fs::read_to_string(files.main()).unwrap();
    let sources = Sources::of(&text, &files.main()).unwrap();
    let found: Vec<PathBuf> = sources.files().collect();
    let at = |name: &str| files.0.path().join(name);
    assert_eq!(found, [at("routes.d/10-a.toml"), at("routes.d/20-b.toml"), at("more/office.toml")]);
    assert_eq!(sources.included().len(), 2);
}

#[test]
fn a_problem_names_the_file_that_it_is_in_and_its_line() {
    let wrong = format!("{}persist = true\n", route("a"));
    let files = Files::new(&[
        ("gw.toml", MAIN),
        ("more/office.toml", "[gateway]\nname = \"other\"\n[brokers.home]\nurl = \"mqtt://127.0.0.1:1\"\n"),
        ("routes.d/1.toml", &wrong),
        ("routes.d/2.toml", &wrong),
        ("routes.d/3.toml", "include = [\"x\"]\n[plugins.p]\npath = \"p.wasm\"\n"),
    ]);
    let unknown = "unknown key `persist` in [[routes]]; did you mean `persist_qos0`?";
    let said = files.refused();
    let expected = [
        format!("routes.d/1.toml:5:1: {unknown}"),
        "routes.d/2.toml:2:8: there is a route `a` in routes.d/1.toml:2 already; give this one another name".to_owned(),
        format!("routes.d/2.toml:5:1: {unknown}"),
        "routes.d/3.toml:1:1: a file that is included includes no others; name all files in the one that the gateway runs with".to_owned(),
        "more/office.toml:1:2: `[gateway]` stands in gw.toml:2 already; keep one of the two".to_owned(),
        "more/office.toml:3:10: `[brokers.home]` stands in gw.toml:5 already; keep one of the two".to_owned(),
    ];
    for line in &expected {
        assert!(said.lines().any(|said| said == line), "{line}\n in\n{said}");
    }
    // Its path is relative to the file that names it.
    assert!(said.contains("routes.d/3.toml:3:8: there is no file"), "{said}");
    assert!(said.contains("routes.d/p.wasm`"), "{said}");
    let order: Vec<_> = said.lines().map(|line| line.split(':').next().unwrap().to_owned()).collect();
    let mut once = order.clone();
    once.dedup();
    assert_eq!(once.iter().filter(|file| *file == "routes.d/2.toml").count(), 1, "in the order of the files: {said}");
}

#[test]
fn files_that_cannot_be_included_are_told_where_they_are_named() {
    let main = MAIN.replace(
        "include = [\"routes.d/*.toml\", \"more/office.toml\"]",
        "include = [\"none.d/*.toml\", \"none.toml\", \"*/x.toml\", \"bad.toml\", 1]",
    );
    let files = Files::new(&[("gw.toml", &main), ("bad.toml", "[[routes]\n")]);
    let said = files.refused();
    // A folder that is not there, or has nothing, is no mistake. Of what is not TOML nothing is read.
    assert!(said.contains("bad.toml:1:"), "{said}");
    std::fs::write(files.0.path().join("bad.toml"), b"a = \"\xff\"\n").unwrap();
    let said = files.refused();
    let expected = [
        format!("gw.toml:1:29: there is no file `{}`; create it, or leave it out here", files.0.path().join("none.toml").display()),
        "gw.toml:1:42: `*/x.toml` names no files; write the names of files, such as \"routes.d/*.toml\": `*` and `?` stand behind the last `/` only".to_owned(),
        "gw.toml:1:66: `include` must be a list of strings, and this is a whole number; put it in double quotes".to_owned(),
    ];
    for line in expected {
        let line = line.replace(&format!("{}/", files.0.path().display()), "");
        assert!(said.lines().any(|said| said == line), "{line}\n in\n{said}");
    }
    assert!(said.contains("bad.toml`: this file is not UTF-8 in line 1; save it as UTF-8"), "{said}");
}

#[test]
fn variables_are_put_in_but_into_what_is_a_plugins() {
    let main = r#"[gateway]
name = "${TIDEGATE_TEST_NAME:box}"
data_dir = "${TIDEGATE_TEST_DATA:data}"
[brokers.home]
embedded = true
listen = ["mqtt://${TIDEGATE_TEST_HOST:127.0.0.1}:${TIDEGATE_TEST_PORT:0}"]
[plugins.own]
path = "${TIDEGATE_TEST_DIR:.}/p.wasm"
config = { text = "${TIDEGATE_TEST_NAME}" }
[plugins.ours]
path = "p.wasm"
expand = true
config = { text = "${TIDEGATE_TEST_NAME:x} $${x}", list = ["${TIDEGATE_TEST_NAME:}"] }
[[routes]]
name = "r"
from = { broker = "home", topics = ["${TIDEGATE_TEST_TOPIC:a/#}", "$SYS/#"] }
plugins = ["own", "ours"]
to = ["home"]
remap = { prefix = "x/" }
"#;
    let files = Files::new(&[("gw.toml", main), ("p.wasm", "")]);
    let config = files.config();
    assert_eq!(config.gateway.name, "box");
    assert_eq!(config.plugins["own"].path, files.0.path().join("./p.wasm"));
    assert_eq!(config.plugins["own"].config["text"], "${TIDEGATE_TEST_NAME}");
    assert_eq!(config.plugins["ours"].config["text"], "x ${x}");
    assert_eq!(config.plugins["ours"].config["list"][0], "");
    assert_eq!(config.routes[0].from.topics[0].as_str(), "a/#");
}

#[test]
fn what_a_variable_holds_is_not_repeated() {
    let main =
        "[gateway]\nname = \"${TIDEGATE_TEST_NAME:not a name}\"\n[brokers.a]\nurl = \"mqtt://${TIDEGATE_TEST_NONE}\"\n";
    let files = Files::new(&[("gw.toml", main)]);
    let said = files.refused();
    assert!(said.contains("gw.toml:2:8: `${TIDEGATE_TEST_NAME:not a name}` cannot be the name of a gateway"), "{said}");
    let unset = "gw.toml:4:7: the environment variable `TIDEGATE_TEST_NONE` is not set; set it for the gateway's process, \
                 or say what to take instead: `${TIDEGATE_TEST_NONE:...}`";
    assert!(said.contains(unset), "{said}");
    let (config, _) = tidegate_config::parse(
        "[gateway]\nname = \"${HOME:g}\"\ndata_dir = \"d\"\n[brokers.a]\nembedded = true\n\
        listen = [\"mqtt://127.0.0.1:0\"]\n",
        Path::new("f"),
    )
    .unwrap();
    assert_eq!(config.gateway.name, "g", "without I/O there are none");
}

#[test]
fn a_socket_is_relative_to_the_file_that_names_it() {
    let main = "[gateway]\nname = \"g\"\ndata_dir = \"d\"\n[admin]\nlisten = \"unix:admin.sock\"\n";
    let files = Files::new(&[("gw.toml", main)]);
    let listens = files.config().admin.unwrap().listen;
    assert_eq!(listens.to_string(), format!("unix:{}", files.0.path().join("admin.sock").display()));
}
