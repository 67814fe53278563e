//! `--own`: listeners with TLS. Tidegate's own broker has one set of certificates, which all of its listeners with TLS share.

use super::Draft;
use super::local::Entrance;
use crate::document::Toml;
use crate::settings::Find;
use tidegate_config::Identity;

/// What a listener asks of its clients' certificates.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Asks<'m> {
    /// Who signs them, if they are asked for.
    client_ca: Option<&'m str>,
    client_crl: Option<&'m str>,
    identity: Option<Identity>,
}

impl<'m> Entrance<'m> {
    /// What it asks; mosquitto takes `cafile` for that with `require_certificate` only.
    fn asks(&self) -> Asks<'m> {
        let is = |name: &str| self.settings.flag(name) == Some(true);
        let asks = is("require_certificate");
        // Of both, mosquitto takes the common name.
        let identity = match (is("use_identity_as_username"), is("use_subject_as_username")) {
            (true, _) => Some(Identity::CommonName),
            (false, true) => Some(Identity::Subject),
            (false, false) => None,
        };
        Asks {
            client_ca: self.settings.text("cafile").filter(|_| asks),
            client_crl: self.settings.text("crlfile").filter(|_| asks),
            identity: identity.filter(|_| asks),
        }
    }

    /// Whether everybody who comes in there has a name by a certificate.
    pub(super) fn names_by_certificate(&self) -> bool {
        self.asks().client_ca.is_some() && self.asks().identity.is_some()
    }

    /// Whether nobody comes in there without a certificate.
    pub(super) fn requires_certificate(&self) -> bool {
        self.asks().client_ca.is_some()
    }

    /// Why it cannot be a listener with TLS of Tidegate's, `first` being the first that is one.
    pub(super) fn tls_is_lost(&self, first: Option<&Self>) -> Option<&'static str> {
        if self.settings.text("certfile").is_none() || self.settings.text("keyfile").is_none() {
            return Some("a listener has a certificate and its key: keys that are shared before are not known");
        }
        if self.settings.flag("require_certificate") == Some(true) && self.settings.text("cafile").is_none() {
            return Some("name one file with those who sign certificates of clients: `tls.client_ca`");
        }
        let differs = first.is_some_and(|first| first.asks() != self.asks());
        differs.then_some("one broker asks the same certificates of all its clients: make it a second own broker")
    }
}

impl<'a> Draft<'a> {
    /// The table for those listeners.
    pub(super) fn own_tls(&mut self, entrances: &[&Entrance<'a>]) {
        let Some(first) = entrances.first() else { return };
        let mut pairs: Vec<(&str, &str, String)> = Vec::new();
        for entrance in entrances {
            let settings = entrance.settings;
            let (Some(cert), Some(key)) = (settings.text("certfile"), settings.text("keyfile")) else { continue };
            let place = settings.setting("certfile").map(|setting| setting.place.to_string()).unwrap_or_default();
            if !pairs.iter().any(|(known, ..)| *known == cert) {
                pairs.push((cert, key, place));
            }
        }
        let Asks { client_ca, client_crl, identity } = first.asks();
        let place = |name: &str| first.settings.setting(name).map(|one| one.place.to_string()).unwrap_or_default();
        self.document.blank();
        self.document.table(&["brokers", "home", "tls"]);
        let mut pairs = pairs.into_iter();
        if let Some((cert, key, whence)) = pairs.next() {
            self.certificate(cert, key, whence);
        }
        if let Some(ca) = client_ca {
            let ca = self.path(ca);
            self.document.key("client_ca", ca, place("cafile"));
        }
        if let Some(crl) = client_crl {
            let crl = self.path(crl);
            self.document.key("client_crl", crl, place("crlfile"));
        }
        if let Some(identity) = identity {
            let whence = match identity {
                Identity::CommonName => place("use_identity_as_username"),
                _ => place("use_subject_as_username"),
            };
            self.document.key("identity", Toml::text(identity.word()), whence);
        }
        for (cert, key, whence) in pairs {
            self.document.blank();
            self.document.array("brokers.home.tls.certificates");
            self.certificate(cert, key, whence);
        }
    }

    fn certificate(&mut self, cert: &str, key: &str, whence: String) {
        let (cert, key) = (self.path(cert), self.path(key));
        self.document.key("cert", cert, whence);
        self.document.key("key", key, "");
    }
}
