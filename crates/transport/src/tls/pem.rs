//! Certificates and keys from PEM files (RFC 7468), and words about files that hold something else.

use super::error::{KEY, TlsError};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, CertificateRevocationListDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use std::io::Read;
use std::path::Path;

/// The largest file that is read, in bytes: all certificates that anybody trusts are a quarter of this.
const MAX_FILE_BYTES: u64 = 1024 * 1024;

/// What Windows editors put in front of a text.
const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

const CERTIFICATE: &str = "CERTIFICATE";
const TRUSTED: &str = "TRUSTED CERTIFICATE";
const ENCRYPTED: &str = "ENCRYPTED PRIVATE KEY";

/// All certificates of a file; at least one. `what` is what they are for.
pub(super) fn certificates(what: &'static str, path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let wrong = |words: String| TlsError::file(what, path, words);
    let bytes = read(what, path)?;
    let text = without_mark(&bytes);
    let found = CertificateDer::pem_slice_iter(text).collect::<Result<Vec<_>, _>>();
    let found = found.map_err(|error| wrong(format!("a certificate in it is damaged: {error:?}")))?;
    if found.is_empty() {
        return Err(wrong(no_certificate(text, path)));
    }
    Ok(found)
}

/// All lists of revoked certificates of a file; at least one. `what` is what they are for.
pub(super) fn revoked(what: &'static str, path: &Path) -> Result<Vec<CertificateRevocationListDer<'static>>, TlsError> {
    let wrong = |words: String| TlsError::file(what, path, words);
    let bytes = read(what, path)?;
    let found = CertificateRevocationListDer::pem_slice_iter(without_mark(&bytes)).collect::<Result<Vec<_>, _>>();
    let found = found.map_err(|error| wrong(format!("a list in it is damaged: {error:?}")))?;
    if found.is_empty() {
        return Err(wrong("there is no `X509 CRL` in it; is it the right file, and PEM?".to_owned()));
    }
    Ok(found)
}

/// The first private key of a file, opened with `password` if it is encrypted.
pub(super) fn private_key(path: &Path, password: Option<&[u8]>) -> Result<PrivateKeyDer<'static>, TlsError> {
    let wrong = |words: String| TlsError::file(KEY, path, words);
    let bytes = read(KEY, path)?;
    let text = without_mark(&bytes);
    let labels = labels(text);
    let shown = path.display();
    if let Some(key) = labels.iter().find(|label| label.ends_with("PRIVATE KEY")) {
        if *key == ENCRYPTED {
            let Some(password) = password else {
                return Err(wrong(format!(
                    "it has a passphrase; say where that is with `key_password`, or take it off with `openssl pkey -in \
                     {shown} -out NEW`"
                )));
            };
            return decrypted(text, password).map_err(wrong);
        }
        if contains(text, b"DEK-Info:") {
            return Err(wrong(format!(
                "it has a passphrase in a form of old that is not read; convert it with `openssl pkcs8 -topk8 -in {shown} \
                 -out NEW`, and say where the passphrase is with `key_password`"
            )));
        }
        return PrivateKeyDer::from_pem_slice(text)
            .map_err(|error| wrong(format!("the key in it is damaged: {error:?}")));
    }
    Err(wrong(match labels.first() {
        _ if text.trim_ascii().is_empty() => "it is empty".to_owned(),
        _ if is_der(text) => format!("it is not PEM but DER; convert it with `openssl pkey -in {shown} -out NEW`"),
        Some(label) if label.contains(CERTIFICATE) => {
            "there is a certificate in it and no key; are `cert` and `key` exchanged?".to_owned()
        }
        Some(label) => format!("there is a `{label}` in it and no private key; is it the right file?"),
        None => "there is no PEM in it; is it the right file?".to_owned(),
    }))
}

/// Opens `ENCRYPTED PRIVATE KEY` (PKCS #8, RFC 5958 section 3).
fn decrypted(text: &[u8], password: &[u8]) -> Result<PrivateKeyDer<'static>, String> {
    // The reader of PEM knows no such label, but all that it does is the same.
    let plain = String::from_utf8_lossy(text).replace(ENCRYPTED, "PRIVATE KEY");
    let damaged = |error: &dyn std::fmt::Debug| format!("the key in it is damaged: {error:?}");
    let sealed = PrivatePkcs8KeyDer::from_pem_slice(plain.as_bytes()).map_err(|error| damaged(&error))?;
    let sealed = pkcs8::EncryptedPrivateKeyInfoRef::try_from(sealed.secret_pkcs8_der()).map_err(|error| {
        format!("how it is encrypted is not known here ({error}); convert it with `openssl pkcs8 -topk8`")
    })?;
    let opened = sealed.decrypt(password).map_err(|error| match error {
        pkcs8::Error::EncryptedPrivateKey(pkcs8::pkcs5::Error::DecryptFailed) => {
            "the passphrase that `key_password` names does not open it".to_owned()
        }
        other => format!("it cannot be opened ({other}); convert it with `openssl pkcs8 -topk8`"),
    })?;
    Ok(PrivateKeyDer::Pkcs8(opened.as_bytes().to_vec().into()))
}

fn no_certificate(text: &[u8], path: &Path) -> String {
    let shown = path.display();
    let labels = labels(text);
    match labels.first() {
        _ if text.trim_ascii().is_empty() => "it is empty".to_owned(),
        _ if is_der(text) => {
            format!("it is not PEM but DER; convert it with `openssl x509 -inform DER -in {shown} -out NEW`")
        }
        _ if labels.iter().any(|label| label == TRUSTED) => {
            format!(
                "it is a TRUSTED CERTIFICATE, which says what OpenSSL is to trust it for; convert it with `openssl x509 -in {shown} -out NEW`"
            )
        }
        Some(label) if label.ends_with("PRIVATE KEY") => {
            "there is a key in it and no certificate; are `cert` and `key` exchanged?".to_owned()
        }
        Some(label) => format!("there is a `{label}` in it and no certificate; is it the right file?"),
        None => "there is no PEM certificate in it; is it the right file?".to_owned(),
    }
}

fn read(what: &'static str, path: &Path) -> Result<Vec<u8>, TlsError> {
    let mut bytes = Vec::new();
    std::fs::File::open(path)
        .and_then(|file| file.take(MAX_FILE_BYTES + 1).read_to_end(&mut bytes))
        .map_err(|error| TlsError::caused(what, path, error))?;
    if bytes.len() as u64 > MAX_FILE_BYTES {
        return Err(TlsError::file(
            what,
            path,
            format!("it is longer than {MAX_FILE_BYTES} bytes; is it the right file?"),
        ));
    }
    Ok(bytes)
}

fn without_mark(bytes: &[u8]) -> &[u8] {
    bytes.strip_prefix(BYTE_ORDER_MARK).unwrap_or(bytes)
}

/// DER of a certificate or a key begins with a sequence.
fn is_der(bytes: &[u8]) -> bool {
    bytes.first() == Some(&0x30)
        && bytes.get(1).is_some_and(|length| *length >= 0x40)
        && !contains(bytes, b"-----BEGIN")
}

fn contains(bytes: &[u8], part: &[u8]) -> bool {
    bytes.windows(part.len()).any(|window| window == part)
}

/// What stands behind each `-----BEGIN`.
fn labels(text: &[u8]) -> Vec<String> {
    let label = |line: &[u8]| {
        let line = line.trim_ascii().strip_prefix(b"-----BEGIN ")?.strip_suffix(b"-----")?;
        std::str::from_utf8(line).ok().map(str::to_owned)
    };
    text.split(|byte| matches!(byte, b'\n' | b'\r')).filter_map(label).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::PathBuf;

    fn pem(name: &str) -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/pem").join(name)
    }

    fn written(bytes: &[u8]) -> tempfile::NamedTempFile {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), bytes).unwrap();
        file
    }

    #[test]
    fn a_key_with_a_passphrase_is_opened_by_it_and_by_nothing_else() {
        let plain = private_key(&pem("gw.key"), None).unwrap();
        for name in ["gw.encrypted.key", "gw.old.key", "gw.scrypt.key"] {
            let opened = private_key(&pem(name), Some(b"secret")).unwrap();
            assert_eq!(opened.secret_der(), plain.secret_der(), "{name}");
            let wrong = private_key(&pem(name), Some(b"other")).unwrap_err().to_string();
            assert!(wrong.contains("does not open it"), "{wrong}");
            let none = private_key(&pem(name), None).unwrap_err().to_string();
            assert!(none.contains("`key_password`") && none.contains("openssl pkey"), "{none}");
        }
        assert_eq!(private_key(&pem("gw.key"), Some(b"x")).unwrap().secret_der(), plain.secret_der(), "it needs none");
        let old = private_key(&pem("gw.traditional.key"), Some(b"secret")).unwrap_err().to_string();
        assert!(old.contains("openssl pkcs8 -topk8"), "{old}");
        assert!(private_key(&pem("gw.sec1.key"), None).is_ok());
    }

    #[test]
    fn a_byte_order_mark_and_line_ends_of_windows_are_taken() {
        let text = String::from_utf8(std::fs::read(pem("gw.pem")).unwrap()).unwrap().replace('\n', "\r\n");
        let marked = written(&[BYTE_ORDER_MARK, text.as_bytes()].concat());
        assert_eq!(certificates("client certificate", marked.path()).unwrap().len(), 1);
        let sealed = std::fs::read(pem("gw.encrypted.key")).unwrap();
        let sealed = written(&[BYTE_ORDER_MARK, &sealed].concat());
        assert!(private_key(sealed.path(), Some(b"secret")).is_ok());
    }

    #[test]
    fn what_is_no_certificate_or_key_says_what_it_is() {
        let cert = |path: &Path| certificates("client certificate", path).unwrap_err().to_string();
        let key = |path: &Path| private_key(path, None).unwrap_err().to_string();
        for (words, part) in [
            (cert(&pem("gw.der")), "openssl x509 -inform DER"),
            (cert(&pem("gw.trusted.pem")), "openssl x509 -in"),
            (cert(&pem("gw.key")), "exchanged"),
            (cert(written(b" \n").path()), "it is empty"),
            (cert(written(b"\xef\xbb\xbf").path()), "it is empty"),
            (cert(written(b"hello").path()), "no PEM certificate"),
            (cert(Path::new("/nowhere/at/all")), "No such file"),
            (cert(written(&[b'x'; MAX_FILE_BYTES as usize + 1]).path()), "longer than"),
            (key(&pem("gw.pem")), "exchanged"),
            (key(&pem("gw.der")), "openssl pkey"),
            (key(written(b"").path()), "it is empty"),
            (key(written(b"0 is a number and not DER").path()), "no PEM in it"),
            (key(written(b"-----BEGIN PUBLIC KEY-----\n").path()), "`PUBLIC KEY`"),
            (key(written(b"-----BEGIN PRIVATE KEY-----\n!\n-----END PRIVATE KEY-----\n").path()), "damaged"),
            (key(written(b"-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n-----END").path()), "passphrase"),
        ] {
            assert!(words.contains(part), "{words}, not {part}");
        }
    }
}
