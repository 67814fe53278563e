//! What a certificate is like, for words about one that was refused (X.509, RFC 5280 section 4.1).
//!
//! Decides nothing: what is trusted is decided by webpki, which does not say why in words that help.

use super::der::{BIT_STRING, Der, INTEGER, OBJECT, OCTET_STRING, SEQUENCE};

/// What there is to say of a certificate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Certificate<'a> {
    /// 1 to 3.
    pub(crate) version: u8,
    /// Of its key.
    pub(crate) key: Key,
    /// It was signed with SHA-1 or MD5.
    pub(crate) weak_hash: bool,
    /// There are names or addresses in it that count (subjectAltName).
    pub(crate) has_names: bool,
    /// The whole SubjectPublicKeyInfo.
    pub(crate) key_info: &'a [u8],
    /// The names of whom it is for, as they are encoded.
    pub(super) subject: &'a [u8],
    /// The other names (subjectAltName), as they are encoded; empty without them.
    pub(super) alt_names: &'a [u8],
}

/// What kind of key it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Key {
    /// With this many bits.
    Rsa(usize),
    /// On the curve P-521.
    P521,
    /// Another.
    Other,
}

// Object identifiers as they are encoded (RFC 3279, RFC 5480, RFC 5280).
const RSA: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x01];
const EC: &[u8] = &[0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01];
const P521: &[u8] = &[0x2b, 0x81, 0x04, 0x00, 0x23];
const MD5_WITH_RSA: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x04];
const SHA1_WITH_RSA: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x05];
const SHA1_WITH_ECDSA: &[u8] = &[0x2a, 0x86, 0x48, 0xce, 0x3d, 0x04, 0x01];
const ALT_NAMES: &[u8] = &[0x55, 0x1d, 0x11];

const VERSION: u8 = 0xa0;
const EXTENSIONS: u8 = 0xa3;

impl<'a> Certificate<'a> {
    /// `None` when it is no certificate.
    pub(crate) fn read(der: &'a [u8]) -> Option<Self> {
        let mut whole = Der(Der(der).take(SEQUENCE)?);
        let mut body = Der(whole.take(SEQUENCE)?);
        let version = match body.peek() {
            Some(VERSION) => Der(body.take(VERSION)?).take(INTEGER)?.first()?.checked_add(1)?,
            _ => 1,
        };
        body.take(INTEGER)?; // serial number
        let algorithm = Der(body.take(SEQUENCE)?).take(OBJECT)?;
        for _ in ["issuer", "validity"] {
            body.take(SEQUENCE)?;
        }
        let subject = body.take(SEQUENCE)?;
        let before = body.0;
        let info = body.take(SEQUENCE)?;
        let key_info = &before[..before.len() - body.0.len()];
        let mut alt_names = None;
        while let Some(tag) = body.peek() {
            let content = body.take(tag)?;
            if tag == EXTENSIONS {
                alt_names = extension(content, ALT_NAMES)?;
            }
        }
        let weak_hash = [MD5_WITH_RSA, SHA1_WITH_RSA, SHA1_WITH_ECDSA].contains(&algorithm);
        let has_names = alt_names.is_some();
        let alt_names = alt_names.unwrap_or_default();
        Some(Self { version, key: Key::read(info)?, weak_hash, has_names, key_info, subject, alt_names })
    }
}

impl Key {
    fn read(info: &[u8]) -> Option<Self> {
        let mut info = Der(info);
        let mut algorithm = Der(info.take(SEQUENCE)?);
        let bits = info.take(BIT_STRING)?;
        match algorithm.take(OBJECT)? {
            RSA => {
                // Behind the number of unused bits: modulus and exponent (RFC 8017 appendix A.1.1).
                let modulus = Der(Der(bits.get(1..)?).take(SEQUENCE)?).take(INTEGER)?;
                let zeros = modulus.iter().take_while(|byte| **byte == 0).count();
                let first = modulus.get(zeros)?.leading_zeros() as usize;
                Some(Self::Rsa((modulus.len() - zeros) * 8 - first))
            }
            EC if algorithm.take(OBJECT) == Some(P521) => Some(Self::P521),
            _ => Some(Self::Other),
        }
    }
}

/// The value of an extension; nothing in it if it is not there.
fn extension<'a>(extensions: &'a [u8], wanted: &[u8]) -> Option<Option<&'a [u8]>> {
    let mut list = Der(Der(extensions).take(SEQUENCE)?);
    while list.peek().is_some() {
        let mut one = Der(list.take(SEQUENCE)?);
        if one.take(OBJECT)? == wanted {
            // Between the two it may say whether it is critical.
            while let Some(tag) = one.peek() {
                let content = one.take(tag)?;
                if tag == OCTET_STRING {
                    return Some(Some(content));
                }
            }
        }
    }
    Some(None)
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustls::pki_types::CertificateDer;
    use rustls::pki_types::pem::PemObject;

    #[test]
    fn a_certificate_says_what_it_is_like() {
        let read = |pem: &[u8]| {
            let der = CertificateDer::from_pem_slice(pem).unwrap();
            let found = Certificate::read(&der).unwrap();
            (found.version, found.key, found.weak_hash, found.has_names)
        };
        assert_eq!(read(include_bytes!("../../tests/pem/server.pem")), (3, Key::Rsa(2048), false, true));
        assert_eq!(read(include_bytes!("../../tests/pem/rsa1024.pem")), (3, Key::Rsa(1024), false, true));
        assert_eq!(read(include_bytes!("../../tests/pem/sha1.pem")), (3, Key::Rsa(2048), true, true));
        assert_eq!(read(include_bytes!("../../tests/pem/p521.pem")), (3, Key::P521, false, true));
        assert_eq!(read(include_bytes!("../../tests/pem/nameless.pem")), (3, Key::Rsa(2048), false, false));
        assert_eq!(read(include_bytes!("../../tests/pem/version1.pem")), (1, Key::Rsa(2048), false, false));
        assert_eq!(read(include_bytes!("../../tests/pem/gw.pem")), (3, Key::Other, false, false));
    }

    #[test]
    fn a_piece_of_a_certificate_or_another_byte_never_panics() {
        let der = include_bytes!("../../tests/pem/gw.der");
        for end in 0..der.len() {
            assert_eq!(Certificate::read(&der[..end]), None);
        }
        for at in 0..der.len() {
            for byte in [0, 0x7f, 0x80, 0x84, 0xff] {
                let mut other = *der;
                other[at] = byte;
                let _ = Certificate::read(&other);
            }
        }
    }
}
