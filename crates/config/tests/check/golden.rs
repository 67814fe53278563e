//! Each `golden/<case>.toml` gives the lines of `golden/<case>.expected`.
//!
//! `TIDEGATE_BLESS=1` writes what comes out to the expected files; read the difference before you believe it.

use std::path::{Path, PathBuf};
use tidegate_config::parse;

fn cases() -> Vec<PathBuf> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden");
    let files = std::fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path());
    let mut cases: Vec<_> = files.filter(|file| file.extension().is_some_and(|kind| kind == "toml")).collect();
    cases.sort();
    cases
}

fn lines(text: &str) -> String {
    match parse(text, Path::new("gw.toml")) {
        Ok((_, warnings)) => warnings.iter().map(|warning| format!("{warning}\n")).collect(),
        Err(problems) => format!("{problems}\n"),
    }
}

#[test]
fn every_problem_is_named_with_its_place_and_what_to_do() {
    let mut wrong = String::new();
    for case in cases() {
        let found = lines(&std::fs::read_to_string(&case).unwrap());
        let expected = case.with_extension("expected");
        if std::env::var_os("TIDEGATE_BLESS").is_some() {
            std::fs::write(&expected, &found).unwrap();
        } else if std::fs::read_to_string(&expected).unwrap_or_default() != found {
            wrong += &format!("--- {}\n{found}", case.display());
        }
    }
    assert!(wrong.is_empty(), "these came out instead:\n{wrong}");
    assert!(cases().len() >= 10, "the cases were found");
}

#[test]
fn a_message_never_repeats_a_password() {
    for written in ["password = \"hunter2\"", "password = [\"hunter2\"]", "password = { value = \"hunter2\" }"] {
        let text = format!("[brokers.a]\nurl = \"mqtt://me:hunter2@h\"\nusername = \"me\"\n{written}\n");
        assert!(!lines(&text).contains("hunter2"), "{}", lines(&text));
    }
}
