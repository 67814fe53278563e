//! SCRAM: a client shows that it knows the password without saying it, and the broker that it knows the client (RFC 5802; RFC 7677 for
//! SHA-256; the same with SHA-512).
//!
//! | Message | From | Holds |
//! |---|---|---|
//! | client-first | CONNECT, or AUTH to begin again | `n,,n=USER,r=NONCE` |
//! | server-first | AUTH | `r=NONCE+OURS,s=SALT,i=ITERATIONS` |
//! | client-final | AUTH | `c=biws,r=NONCE+OURS,p=PROOF` |
//! | server-final | CONNACK, or AUTH | `v=SIGNATURE` |
//!
//! Channel binding is not spoken. A name that nobody has is challenged like everybody else, always with the same salt.
//! Names and passwords are taken as they are: no SASLprep, which changes nothing of ASCII.

use crate::scram::{Mechanism, Verifier};
use crate::users::Users;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use tidegate_mqtt::ReasonCode;

/// Of our half of a nonce, before base64.
const NONCE_BYTES: usize = 18;

/// An exchange that waits for the client's proof.
pub(crate) struct Exchange {
    mechanism: Mechanism,
    pub(crate) username: String,
    verifier: Verifier,
    /// There is a user of this name.
    is_known: bool,
    /// What the client has to say again: its header in base64, and both nonces.
    binding: String,
    nonce: String,
    /// What was said so far, of what is signed.
    said: String,
}

impl Exchange {
    /// Reads client-first; returns what is to be asked.
    ///
    /// # Errors
    /// What it says cannot be; nobody could log in so; there is nothing random.
    pub(crate) fn begin(
        users: &Users,
        mechanism: Mechanism,
        client_first: &[u8],
    ) -> Result<(Self, String), ReasonCode> {
        let mut ours = [0; NONCE_BYTES];
        getrandom::fill(&mut ours).map_err(|_| ReasonCode::SERVER_UNAVAILABLE)?;
        Self::begin_with(users, mechanism, client_first, &STANDARD.encode(ours))
    }

    fn begin_with(
        users: &Users,
        mechanism: Mechanism,
        client_first: &[u8],
        ours: &str,
    ) -> Result<(Self, String), ReasonCode> {
        let First { header, bare, username, authorized, nonce } =
            First::read(client_first).ok_or(ReasonCode::NOT_AUTHORIZED)?;
        if authorized.is_some_and(|authorized| authorized != username) {
            return Err(ReasonCode::NOT_AUTHORIZED);
        }
        let (verifier, is_known) = users.verifier(mechanism, &username).ok_or(ReasonCode::BAD_AUTHENTICATION_METHOD)?;
        let nonce = format!("{nonce}{ours}");
        let asked = format!("r={nonce},s={},i={}", STANDARD.encode(&verifier.salt), verifier.iterations);
        let (binding, said) = (STANDARD.encode(header), format!("{bare},{asked}"));
        Ok((Self { mechanism, username, verifier, is_known, binding, nonce, said }, asked))
    }

    /// Reads client-final; returns what shows the client that the broker knows it.
    ///
    /// # Errors
    /// It is not the user that it says.
    pub(crate) fn finish(self, client_final: &[u8]) -> Result<String, ReasonCode> {
        let no = ReasonCode::BAD_USER_NAME_OR_PASSWORD;
        let text = std::str::from_utf8(client_final).map_err(|_| no)?;
        let (without_proof, proof) = text.rsplit_once(",p=").ok_or(no)?;
        let mut parts = without_proof.split(',');
        let (binding, nonce) = (parts.next().and_then(|part| part.strip_prefix("c=")), parts.next());
        let nonce = nonce.and_then(|part| part.strip_prefix("r="));
        let proof = STANDARD.decode(proof).map_err(|_| no)?;
        let Self { mechanism, verifier, .. } = &self;
        let signed = format!("{},{without_proof}", self.said);
        let signature = mechanism.hmac(&verifier.stored_key, signed.as_bytes());
        let client_key: Vec<u8> = proof.iter().zip(&signature).map(|(one, other)| one ^ other).collect();
        let stored_key = mechanism.hash(&client_key);
        // Every byte is looked at, so that time does not tell how many are right.
        let differ = stored_key.iter().zip(&verifier.stored_key).fold(0, |all, (one, other)| all | (one ^ other));
        let is_right = differ == 0
            && proof.len() == signature.len()
            && binding == Some(self.binding.as_str())
            && nonce == Some(self.nonce.as_str());
        if !(is_right && self.is_known) {
            return Err(no);
        }
        Ok(format!("v={}", STANDARD.encode(mechanism.hmac(&verifier.server_key, signed.as_bytes()))))
    }
}

/// A client-first (RFC 5802 section 7).
struct First<'a> {
    header: &'a str,
    bare: &'a str,
    username: String,
    /// As whom it wants to act.
    authorized: Option<String>,
    nonce: &'a str,
}

impl<'a> First<'a> {
    fn read(client_first: &'a [u8]) -> Option<Self> {
        let text = std::str::from_utf8(client_first).ok()?;
        // `y` is of a client that would bind to the channel, and thinks that we do not.
        let rest = text.strip_prefix("n,").or_else(|| text.strip_prefix("y,"))?;
        let (authorized, bare) = rest.split_once(',')?;
        let authorized = match authorized {
            "" => None,
            other => Some(name(other.strip_prefix("a=")?)?),
        };
        // An extension that we would have to understand stands in front of the name.
        let mut parts = bare.split(',');
        let username = name(parts.next()?.strip_prefix("n=")?)?;
        let nonce = parts.next()?.strip_prefix("r=").filter(|nonce| !nonce.is_empty())?;
        Some(Self { header: &text[..text.len() - bare.len()], bare, username, authorized, nonce })
    }
}

/// A name as it is: `=2C` and `=3D` stand for a comma and an equals sign.
fn name(escaped: &str) -> Option<String> {
    let mut parts = escaped.split('=');
    let mut name = parts.next()?.to_owned();
    for part in parts {
        let (sign, rest) = part.split_at_checked(2)?;
        name.push(match sign {
            "2C" => ',',
            "3D" => '=',
            _ => return None,
        });
        name.push_str(rest);
    }
    Some(name).filter(|name| !name.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;
    use sha2::Sha256;

    /// The exchange of RFC 7677 section 3.
    #[test]
    fn the_example_of_the_standard() {
        let salt = STANDARD.decode("W22ZaJ0SNY7soEsUEjb6gQ==").unwrap();
        let mut salted = [0; 32];
        pbkdf2::pbkdf2_hmac::<Sha256>(b"pencil", &salt, 4096, &mut salted);
        let verifier = Verifier::new(Mechanism::Sha256, 4096, salt, &salted);
        let line = format!(
            "user:SCRAM-SHA-256$4096:{}${}:{}",
            STANDARD.encode(&verifier.salt),
            STANDARD.encode(&verifier.stored_key),
            STANDARD.encode(&verifier.server_key)
        );
        let users = Users::parse(&line).unwrap();
        let begin = || {
            let ours = "%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0";
            Exchange::begin_with(&users, Mechanism::Sha256, b"n,,n=user,r=rOprNGfwEbeRWgbNEkqO", ours).unwrap()
        };
        let nonce = "rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0";
        assert_eq!(begin().1, format!("r={nonce},s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096"));
        let last = format!("c=biws,r={nonce},p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=");
        assert_eq!(begin().0.finish(last.as_bytes()).unwrap(), "v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=");
        for wrong in [
            last.replace("dHzb", "dHzc"),
            last.replace("biws", "eSws"),
            last.replace("r=rO", "r=rP"),
            last.replace("g9zj", ""),
            last.replace("VQ=", ""),
            last.replace(",p=", ",q="),
            String::new(),
        ] {
            let refused = begin().0.finish(wrong.as_bytes());
            assert_eq!(refused, Err(ReasonCode::BAD_USER_NAME_OR_PASSWORD), "{wrong}");
        }
    }

    #[test]
    fn who_says_something_else_first_is_not_asked() {
        let users =
            Users::parse(&crate::users::user_line("a,=b", b"x", crate::UserHash::ScramSha256).unwrap()).unwrap();
        let begin = |first: &str| Exchange::begin_with(&users, Mechanism::Sha256, first.as_bytes(), "ours");
        for good in ["n,,n=a=2C=3Db,r=x", "y,,n=a=2C=3Db,r=x", "n,a=a=2C=3Db,n=a=2C=3Db,r=x", "n,,n=a=2C=3Db,r=x,e=1"] {
            assert_eq!(begin(good).unwrap().0.username, "a,=b", "{good}");
        }
        for bad in [
            "",
            "n,,",
            "n,,n=,r=x",
            "n,,n=a",
            "n,,n=a,r=",
            "p=tls-unique,,n=a,r=x",
            "n,,m=1,n=a,r=x",
            "n,,n=a=2Xb,r=x",
            "n,,n=a=,r=x",
            "n,a=other,n=a,r=x",
            "n,x,n=a,r=x",
            "n=a,r=x",
        ] {
            assert_eq!(begin(bad).map(drop), Err(ReasonCode::NOT_AUTHORIZED), "{bad}");
        }
        assert!(begin("n,,n=\u{e9},r=x").is_ok());
    }

    #[test]
    fn a_name_that_nobody_has_is_always_asked_the_same_and_never_let_in() {
        let line = |name| crate::users::user_line(name, b"x", crate::UserHash::ScramSha256).unwrap();
        let users = Users::parse(&format!("{}\n{}", line("one"), line("two"))).unwrap();
        let asked = |name: &str| {
            let first = format!("n,,n={name},r=x");
            Exchange::begin_with(&users, Mechanism::Sha256, first.as_bytes(), "ours").unwrap().1
        };
        assert_eq!(asked("nobody"), asked("nobody"));
        assert_ne!(asked("nobody"), asked("no one"));
        assert_eq!(asked("nobody").len(), asked("one").len());
        // No hash of the other kind is there.
        let other = Exchange::begin_with(&users, Mechanism::Sha512, b"n,,n=one,r=x", "ours");
        assert_eq!(other.map(drop), Err(ReasonCode::BAD_AUTHENTICATION_METHOD));
    }
}
