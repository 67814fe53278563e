//! TLS, as keys and values.

use super::keys::Keys;
use crate::model::{ListenTls, ServerCertificate, Tls};

impl Keys {
    pub(super) fn tls(&mut self, tls: &Tls) {
        let Tls { ca, cert, key, key_password, fingerprint, server_name, alpn } = tls;
        for (name, file) in [("ca", ca), ("cert", cert), ("key", key)] {
            file.iter().for_each(|path| self.told(name, path.display()));
        }
        key_password.iter().for_each(|secret| self.kept("key_password", format!("{secret:?}")));
        if let Some(print) = fingerprint {
            self.told("fingerprint", print.iter().map(|byte| format!("{byte:02x}")).collect::<String>());
        }
        server_name.iter().for_each(|name| self.told("server_name", name));
        self.list("alpn", alpn);
    }

    pub(super) fn listen_tls(&mut self, tls: &ListenTls) {
        let ListenTls { certificates, client_ca, client_crl, client_optional, identity } = tls;
        for (at, ServerCertificate { cert, key, key_password }) in certificates.iter().enumerate() {
            let one = |keys: &mut Self| {
                keys.told("cert", cert.display());
                keys.told("key", key.display());
                key_password.iter().for_each(|secret| keys.kept("key_password", format!("{secret:?}")));
            };
            if at == 0 { one(self) } else { self.section(&format!("certificates.{at}"), one) }
        }
        for (name, file) in [("client_ca", client_ca), ("client_crl", client_crl)] {
            file.iter().for_each(|path| self.told(name, path.display()));
        }
        if client_ca.is_some() {
            self.told("client_certificate", if *client_optional { "optional" } else { "required" });
        }
        identity.iter().for_each(|identity| self.told("identity", identity.word()));
    }
}
