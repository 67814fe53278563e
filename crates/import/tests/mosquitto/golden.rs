//! Each folder of `golden` has a mosquitto.conf and what becomes of it; one whose name begins with `own` is imported with
//! `--own`.
//!
//! `TIDEGATE_BLESS=1` writes what comes out to the expected files; read the difference before you believe it.

use super::{InMemory, import, said};
use std::path::{Path, PathBuf};

fn cases() -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden");
    let mut cases: Vec<PathBuf> = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    cases.sort();
    cases
}

fn files(folder: &Path, below: &Path, into: &mut InMemory) {
    for entry in std::fs::read_dir(folder.join(below)).unwrap() {
        let path = below.join(entry.unwrap().file_name());
        match folder.join(&path).is_dir() {
            true => files(folder, &path, into),
            false => {
                into.0.insert(path.clone(), std::fs::read(folder.join(&path)).unwrap());
            }
        }
    }
}

#[test]
fn habits_of_real_configurations_become_what_they_should() {
    let mut wrong = String::new();
    for case in cases() {
        let name = case.file_name().unwrap().to_string_lossy().into_owned();
        let mut all = InMemory::default();
        files(&case, Path::new(""), &mut all);
        let (document, told) = match import(&all, name.starts_with("own")) {
            Ok(translation) => (translation.document.to_toml(), said(&translation)),
            Err(problems) => (String::new(), format!("{problems}\n")),
        };
        let mut told = told;
        if !document.is_empty() {
            match tidegate_config::parse(&document, Path::new("/etc/tidegate/gateway.toml")) {
                Ok((_, warnings)) => warnings.iter().for_each(|warning| told += &format!("check: {warning}\n")),
                Err(problems) => panic!("{name}: {problems}\n{document}"),
            }
        }
        for (file, found) in [("expected.toml", document), ("expected.txt", told)] {
            let expected = case.join(file);
            if std::env::var_os("TIDEGATE_BLESS").is_some() {
                std::fs::write(&expected, &found).unwrap();
            } else if std::fs::read_to_string(&expected).unwrap_or_default() != found {
                wrong += &format!("--- {}\n{found}", expected.display());
            }
        }
    }
    assert!(wrong.is_empty(), "these came out instead:\n{wrong}");
    assert!(cases().len() >= 7, "the cases were found");
}
