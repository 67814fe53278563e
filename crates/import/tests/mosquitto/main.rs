//! Whole files through the public interface.
#![allow(clippy::expect_used, clippy::unwrap_used)]

mod any_text;
mod golden;

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use tidegate_import::{Files, Problems, Translation, Wishes, parse, translate};

/// Files by their paths.
#[derive(Default)]
pub(crate) struct InMemory(pub(crate) BTreeMap<PathBuf, Vec<u8>>);

impl Files for InMemory {
    fn read(&self, path: &Path) -> io::Result<Vec<u8>> {
        self.0.get(path).cloned().ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    fn list(&self, folder: &Path) -> io::Result<Vec<String>> {
        let files = self.0.keys().filter(|path| path.parent() == Some(folder));
        Ok(files.filter_map(|path| path.file_name()?.to_str().map(str::to_owned)).collect())
    }
}

/// What comes of `mosquitto.conf` among these files, on a machine called `cottage`.
pub(crate) fn import(files: &InMemory, own: bool) -> Result<Translation, Problems> {
    let file = Path::new("mosquitto.conf");
    let mosquitto = parse(file, files)?;
    let wishes = Wishes { own, host_name: "cottage".to_owned(), base: "/etc/mosquitto".into() };
    Ok(translate(&mosquitto, file, &wishes))
}

/// All that a person is told.
pub(crate) fn said(translation: &Translation) -> String {
    let lost = translation.lost.iter().map(|lost| format!("lost: {lost}\n"));
    let remarks = translation.remarks.iter().map(|remark| format!("remark: {remark}\n"));
    let steps = translation.steps.iter().map(|step| format!("step: {step}\n"));
    let secrets = translation.secrets.iter().map(|secret| format!("secret: {secret:?}\n"));
    lost.chain(remarks).chain(steps).chain(secrets).collect()
}
