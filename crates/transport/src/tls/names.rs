//! The names in a certificate: by which a client is known, and for which a server's is meant (RFC 5280 sections 4.1.2.6 and
//! 4.2.1.6).

use super::certificate::Certificate;
use super::der::{Der, OBJECT, SEQUENCE, SET};

/// The names in a client's certificate, which was found good.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PeerNames {
    /// The first common name of the subject.
    pub common_name: Option<String>,
    /// The subject, the innermost part first, as RFC 2253 writes it: `CN=meter 7,O=Plant,C=DE`.
    pub subject: String,
    /// DNS names.
    pub dns: Vec<String>,
    /// Addresses of mail.
    pub emails: Vec<String>,
    /// URIs.
    pub uris: Vec<String>,
}

// Object identifiers of attributes as they are encoded, and how RFC 2253 names them.
const COMMON_NAME: &[u8] = &[0x55, 0x04, 0x03];
const ATTRIBUTES: [(&[u8], &str); 9] = [
    (COMMON_NAME, "CN"),
    (&[0x55, 0x04, 0x07], "L"),
    (&[0x55, 0x04, 0x08], "ST"),
    (&[0x55, 0x04, 0x0a], "O"),
    (&[0x55, 0x04, 0x0b], "OU"),
    (&[0x55, 0x04, 0x06], "C"),
    (&[0x55, 0x04, 0x09], "STREET"),
    (&[0x09, 0x92, 0x26, 0x89, 0x93, 0xf2, 0x2c, 0x64, 0x01, 0x19], "DC"),
    (&[0x09, 0x92, 0x26, 0x89, 0x93, 0xf2, 0x2c, 0x64, 0x01, 0x01], "UID"),
];

// Of subjectAltName.
const EMAIL: u8 = 0x81;
const DNS: u8 = 0x82;
const URI: u8 = 0x86;

// Strings that are not of single bytes.
const BMP_STRING: u8 = 0x1e;
const UNIVERSAL_STRING: u8 = 0x1c;

impl PeerNames {
    /// `None` when it is no certificate, or a name in it is none that can be told: then nobody is to be taken for whom it may
    /// mean.
    pub(crate) fn read(der: &[u8]) -> Option<Self> {
        let certificate = Certificate::read(der)?;
        let mut names = Self::default();
        let mut parts = Vec::new();
        let mut subject = Der(certificate.subject);
        while subject.peek().is_some() {
            let mut together = Der(subject.take(SET)?);
            let mut several = Vec::new();
            while together.peek().is_some() {
                let mut one = Der(together.take(SEQUENCE)?);
                let kind = one.take(OBJECT)?;
                let tag = one.peek()?;
                let value = text(tag, one.take(tag)?)?;
                let name = ATTRIBUTES.iter().find(|(known, _)| *known == kind).map(|(_, name)| (*name).to_owned());
                several.push(format!("{}={}", name.unwrap_or_else(|| dotted(kind)), escaped(&value)));
                if kind == COMMON_NAME {
                    names.common_name.get_or_insert(value);
                }
            }
            parts.push(several.join("+"));
        }
        parts.reverse();
        names.subject = parts.join(",");
        if !certificate.alt_names.is_empty() {
            let mut list = Der(Der(certificate.alt_names).take(SEQUENCE)?);
            while let Some(tag) = list.peek() {
                let content = list.take(tag)?;
                let into = match tag {
                    DNS => &mut names.dns,
                    EMAIL => &mut names.emails,
                    URI => &mut names.uris,
                    _ => continue,
                };
                into.push(plain(std::str::from_utf8(content).ok()?)?);
            }
        }
        Some(names)
    }

    /// Whether a server's certificate is for a host (RFC 6125 section 6.4.3): a `*` stands for the first label.
    pub(crate) fn are_for(&self, host: &str) -> bool {
        let rest = host.split_once('.').map(|(_, rest)| rest);
        self.dns.iter().any(|name| match name.strip_prefix("*.") {
            Some(of) => rest.is_some_and(|rest| rest.eq_ignore_ascii_case(of)),
            None => name.eq_ignore_ascii_case(host),
        })
    }
}

/// A string of DER.
fn text(tag: u8, bytes: &[u8]) -> Option<String> {
    let text = match tag {
        BMP_STRING => {
            let units: Vec<u16> =
                bytes.chunks(2).map(|pair| Some(u16::from_be_bytes(pair.try_into().ok()?))).collect::<Option<_>>()?;
            String::from_utf16(&units).ok()?
        }
        UNIVERSAL_STRING => return None,
        _ => String::from_utf8(bytes.to_vec()).ok()?,
    };
    plain(&text)
}

/// A name with a control character in it means something else to whoever reads only up to there.
fn plain(text: &str) -> Option<String> {
    (!text.is_empty() && !text.chars().any(char::is_control)).then(|| text.to_owned())
}

/// RFC 2253 section 2.4.
fn escaped(value: &str) -> String {
    let mut escaped = String::new();
    let last = value.chars().count().saturating_sub(1);
    for (at, c) in value.chars().enumerate() {
        let is_special = matches!(c, ',' | '+' | '"' | '\\' | '<' | '>' | ';')
            || (c == '#' && at == 0)
            || (c == ' ' && (at == 0 || at == last));
        if is_special {
            escaped.push('\\');
        }
        escaped.push(c);
    }
    escaped
}

/// An object identifier in numbers.
fn dotted(encoded: &[u8]) -> String {
    let mut numbers = Vec::new();
    let mut number = 0u64;
    for byte in encoded {
        number = number << 7 | u64::from(byte & 0x7f);
        if byte & 0x80 == 0 {
            if numbers.is_empty() {
                let first = (number / 40).min(2);
                numbers.extend([first, number - first * 40]);
            } else {
                numbers.push(number);
            }
            number = 0;
        }
    }
    numbers.iter().map(u64::to_string).collect::<Vec<_>>().join(".")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_and_a_piece_of_a_certificate_never_panics() {
        let der = include_bytes!("../../tests/pem/gw.der");
        let names = PeerNames::read(der).unwrap();
        assert_eq!(names.common_name.as_deref(), Some("localhost"));
        assert_eq!(names.subject, "CN=localhost");
        for end in 0..der.len() {
            assert_eq!(PeerNames::read(&der[..end]), None);
        }
        for at in 0..der.len() {
            for byte in [0, 0x1e, 0x31, 0x7f, 0x80, 0x84, 0xff] {
                let mut other = *der;
                other[at] = byte;
                let _ = PeerNames::read(&other);
            }
        }
    }

    #[test]
    fn what_is_special_is_escaped_and_numbers_stand_for_themselves() {
        assert_eq!(escaped("a, b+c"), "a\\, b\\+c");
        assert_eq!(escaped(" #x "), "\\ #x\\ ");
        assert_eq!(escaped("#x"), "\\#x");
        assert_eq!(dotted(&[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d]), "1.2.840.113549");
    }

    #[test]
    fn a_star_stands_for_one_label() {
        let names = PeerNames { dns: vec!["box.example".into(), "*.plant.example".into()], ..PeerNames::default() };
        for host in ["box.example", "BOX.example", "a.plant.example"] {
            assert!(names.are_for(host), "{host}");
        }
        for host in ["plant.example", "a.b.plant.example", "a.box.example", "example"] {
            assert!(!names.are_for(host), "{host}");
        }
    }
}
