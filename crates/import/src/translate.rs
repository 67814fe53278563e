//! From mosquitto's settings to Tidegate's document, with a word for each that does not become a key.

mod bridge;
mod broker_settings;
mod dynamic;
mod flows;
mod local;
mod names;
mod own;
mod own_tls;
mod remote;
mod routes;
#[cfg(test)]
mod tests;

use crate::document::{Document, Toml, harmless};
use crate::problem::Place;
use crate::settings::{Mosquitto, Remark};
use names::Names;
use std::path::{Path, PathBuf};

/// What is asked of a translation.
#[derive(Clone, Debug, Default)]
pub struct Wishes {
    /// Make Tidegate's own broker of the listeners, in place of mosquitto, which otherwise goes on.
    pub own: bool,
    /// The name of the machine, of which mosquitto makes client ids.
    pub host_name: String,
    /// What relative paths are relative to: where mosquitto is started.
    pub base: PathBuf,
}

/// What a configuration has become.
#[derive(Clone, Debug)]
pub struct Translation {
    /// To be written with [`Document::to_toml`].
    pub document: Document,
    /// What has no counterpart, in the order of the document.
    pub lost: Vec<Lost>,
    /// Lines that do not mean what they seem to, and what behaves otherwise than with mosquitto.
    pub remarks: Vec<Remark>,
    /// What is to be done by hand before it can run.
    pub steps: Vec<String>,
    /// Files that the document names for passwords.
    pub secrets: Vec<SecretFile>,
}

/// A setting without a counterpart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lost {
    /// Where it is.
    pub place: Place,
    /// Which one; never a secret.
    pub what: String,
    /// What to do instead.
    pub instead: String,
}

impl std::fmt::Display for Lost {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&harmless(&format!("{}: {}; {}", self.place, self.what, self.instead)))
    }
}

/// A password that a file is to hold.
#[derive(Clone)]
pub struct SecretFile {
    /// Beside the configuration.
    pub name: String,
    /// What it is to hold.
    pub password: String,
    /// Where it stands now.
    pub place: Place,
    /// As the keyword is written there.
    pub keyword: &'static str,
}

impl std::fmt::Debug for SecretFile {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "SecretFile({}, {})", self.name, self.place)
    }
}

/// Makes a configuration of Tidegate's out of one of mosquitto's.
pub fn translate(mosquitto: &Mosquitto, file: &Path, wishes: &Wishes) -> Translation {
    let mut draft = Draft {
        mosquitto,
        wishes,
        document: Document::default(),
        lost: Vec::new(),
        remarks: mosquitto.remarks.clone(),
        steps: Vec::new(),
        secrets: Vec::new(),
        names: Names::default(),
    };
    draft.head(file);
    if wishes.own {
        draft.own_broker();
    } else {
        draft.stays();
    }
    for bridge in &mosquitto.bridges {
        draft.bridge(bridge);
    }
    let Draft { document, lost, remarks, steps, secrets, .. } = draft;
    Translation { document, lost, remarks, steps, secrets }
}

/// A translation that is being made.
struct Draft<'m> {
    mosquitto: &'m Mosquitto,
    wishes: &'m Wishes,
    document: Document,
    lost: Vec<Lost>,
    remarks: Vec<Remark>,
    steps: Vec<String>,
    secrets: Vec<SecretFile>,
    names: Names,
}

impl Draft<'_> {
    fn head(&mut self, file: &Path) {
        let own = if self.wishes.own { " --own" } else { "" };
        self.document.comment(format!(
            "Made by `tidegate import mosquitto{own} {}`. Behind a key stands where it comes from; what has no \
             counterpart stands where it would be.",
            file.display()
        ));
        let remarks = std::mem::take(&mut self.remarks);
        for remark in remarks {
            self.remark(&remark.place, remark.words);
        }
        self.document.blank();
        self.document.table(&["gateway"]);
        let name = names::made_of(&self.wishes.host_name, "gateway");
        self.document.key("name", Toml::text(name), "this machine; unique among gateways");
        self.document.key("data_dir", Toml::text("/var/lib/tidegate"), "what waits for a broker is kept here");
    }

    /// A setting that nothing can be made of.
    fn lose(&mut self, place: &Place, what: impl Into<String>, instead: impl Into<String>) {
        let lost = Lost { place: place.clone(), what: what.into(), instead: instead.into() };
        self.document.comment(format!("{place}: no counterpart: {}; {}", lost.what, lost.instead));
        self.lost.push(lost);
    }

    /// Something that is not as it seems, or will not be as it was.
    fn remark(&mut self, place: &Place, words: impl Into<String>) {
        let remark = Remark { place: place.clone(), words: words.into() };
        self.document.comment(format!("{place}: {}", remark.words));
        self.remarks.push(remark);
    }

    /// Something to be done by hand.
    fn step(&mut self, words: impl Into<String>) {
        let words = words.into();
        self.document.comment(format!("To do: {words}"));
        self.steps.push(words);
    }

    /// A path of mosquitto's, absolute.
    fn path(&self, path: &str) -> Toml {
        Toml::text(self.wishes.base.join(path).display().to_string())
    }
}
