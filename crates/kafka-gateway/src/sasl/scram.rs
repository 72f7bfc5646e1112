//! SCRAM (RFC 5802, RFC 7677): the client shows that it knows the secret without sending it.

use std::fmt;
use std::marker::PhantomData;

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use hmac::{Hmac, Mac};
use sha2::Digest;
use subtle::ConstantTimeEq;

use super::{Denied, Gate, Step};

/// Rounds of PBKDF2. Kafka's and RFC 7677's floor: generated secrets have more entropy than any
/// guess, and every client connection pays for the rounds.
const ROUNDS: u32 = 4_096;

/// The hash of a mechanism.
pub(crate) trait Hash: fmt::Debug {
    /// Its digest.
    type Output: AsRef<[u8]>;

    /// The digest of some bytes.
    fn hash(data: &[u8]) -> Self::Output;
    /// The keyed digest of some bytes.
    fn hmac(key: &[u8], data: &[u8]) -> Self::Output;
    /// PBKDF2 of a password.
    fn stretch(password: &[u8], salt: &[u8]) -> Self::Output;
}

/// SHA-256.
#[derive(Debug)]
pub(crate) struct Sha256;

/// SHA-512.
#[derive(Debug)]
pub(crate) struct Sha512;

/// What a server needs to know of a secret.
pub(crate) struct Stored<H: Hash> {
    stored_key: H::Output,
    server_key: H::Output,
}

/// How far a client has come.
#[derive(Debug)]
pub(crate) struct Exchange<H> {
    stage: Stage,
    nonce: String,
    hash: PhantomData<H>,
}

#[derive(Debug)]
enum Stage {
    /// Nothing was said yet.
    First,
    /// The client has been given salt and nonce.
    Final(Challenge),
    /// It was let in or not.
    Over,
}

/// What was agreed on in the first round.
#[derive(Debug)]
struct Challenge {
    /// Whether the name that was given is the login's.
    user: User,
    /// The header that the client must repeat, encoded.
    binding: String,
    /// The client's own nonce.
    client_nonce: String,
    /// Both nonces, one after the other.
    nonce: String,
    /// `client-first-message-bare "," server-first-message`.
    said: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum User {
    Known,
    Unknown,
}

impl<H: Hash> Stored<H> {
    pub(super) fn derive(secret: &str, salt: &[u8]) -> Self {
        let salted = H::stretch(secret.as_bytes(), salt);
        let client_key = H::hmac(salted.as_ref(), b"Client Key");
        Self {
            stored_key: H::hash(client_key.as_ref()),
            server_key: H::hmac(salted.as_ref(), b"Server Key"),
        }
    }
}

impl<H: Hash> fmt::Debug for Stored<H> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Stored").finish_non_exhaustive()
    }
}

impl<H: Hash> Exchange<H> {
    pub(super) fn new(nonce: String) -> Self {
        Self {
            stage: Stage::First,
            nonce,
            hash: PhantomData,
        }
    }

    pub(super) fn step(
        &mut self,
        gate: &Gate,
        stored: &Stored<H>,
        token: &[u8],
    ) -> Result<Step, Denied> {
        let text = std::str::from_utf8(token).map_err(|_| Denied::Malformed)?;
        match std::mem::replace(&mut self.stage, Stage::Over) {
            Stage::First => {
                let (challenge, answer) = first(gate, text, &self.nonce)?;
                self.stage = Stage::Final(challenge);
                Ok(Step::Continue(answer.into_bytes()))
            }
            Stage::Final(challenge) => {
                let answer = last(&challenge, stored, text)?;
                Ok(Step::Done(answer.into_bytes()))
            }
            Stage::Over => Err(Denied::Malformed),
        }
    }
}

/// `gs2-header client-first-message-bare`, for example `n,,n=user,r=nonce`.
fn first(gate: &Gate, text: &str, server_nonce: &str) -> Result<(Challenge, String), Denied> {
    let (flag, rest) = text.split_once(',').ok_or(Denied::Malformed)?;
    match flag {
        // The client can bind to the channel and believes that we cannot: it is right.
        "n" | "y" => {}
        flag if flag.starts_with("p=") => return Err(Denied::ChannelBinding),
        _ => return Err(Denied::Malformed),
    }
    let (identity, bare) = rest.split_once(',').ok_or(Denied::Malformed)?;
    let mut fields = bare.split(',');
    let mut field = || fields.next().unwrap_or_default();
    let name = match field() {
        mandatory if mandatory.starts_with("m=") => return Err(Denied::Extension),
        other => other.strip_prefix("n=").ok_or(Denied::Malformed)?,
    };
    let client_nonce = field().strip_prefix("r=").ok_or(Denied::Malformed)?;
    if client_nonce.is_empty() || !client_nonce.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err(Denied::Malformed);
    }
    // Kafka's delegation tokens come as an extension; further ones may be ignored.
    if fields.any(|extension| extension == "tokenauth=true") {
        return Err(Denied::Extension);
    }
    let user = decoded(name)?;
    let identity = match identity {
        "" => None,
        other => Some(decoded(other.strip_prefix("a=").ok_or(Denied::Malformed)?)?),
    };
    if identity.is_some_and(|identity| identity != user) {
        return Err(Denied::OtherUser);
    }
    let nonce = format!("{client_nonce}{server_nonce}");
    let salt = BASE64.encode(gate.salt(&user));
    let answer = format!("r={nonce},s={salt},i={ROUNDS}");
    let known = user.as_bytes().ct_eq(gate.logins.login().user().as_bytes());
    let challenge = Challenge {
        user: if known.into() {
            User::Known
        } else {
            User::Unknown
        },
        binding: BASE64.encode(&text[..text.len() - bare.len()]),
        client_nonce: client_nonce.to_owned(),
        nonce,
        said: format!("{bare},{answer}"),
    };
    Ok((challenge, answer))
}

/// `client-final-message`, for example `c=biws,r=nonces,p=proof`.
fn last<H: Hash>(challenge: &Challenge, stored: &Stored<H>, text: &str) -> Result<String, Denied> {
    let (unproven, proof) = text.rsplit_once(",p=").ok_or(Denied::Malformed)?;
    let mut fields = unproven.split(',');
    let binding = fields.next().and_then(|field| field.strip_prefix("c="));
    let nonce = fields.next().and_then(|field| field.strip_prefix("r="));
    // librdkafka before 2.6.1 puts its own nonce before the one that begins with it; brokers let it.
    let is_ours = |nonce: &str| {
        nonce == challenge.nonce
            || nonce.strip_prefix(&challenge.client_nonce) == Some(&challenge.nonce)
    };
    if binding != Some(&challenge.binding) || !nonce.is_some_and(is_ours) {
        return Err(Denied::Malformed);
    }
    let proof = BASE64.decode(proof).map_err(|_| Denied::Malformed)?;
    let said = format!("{},{unproven}", challenge.said);
    let signature = H::hmac(stored.stored_key.as_ref(), said.as_bytes());
    if proof.len() != signature.as_ref().len() {
        return Err(Denied::Malformed);
    }
    let pairs = proof.iter().zip(signature.as_ref());
    let client_key: Vec<u8> = pairs.map(|(proof, sign)| proof ^ sign).collect();
    let right = H::hash(&client_key)
        .as_ref()
        .ct_eq(stored.stored_key.as_ref());
    if !bool::from(right) || challenge.user == User::Unknown {
        return Err(Denied::Wrong);
    }
    let verifier = H::hmac(stored.server_key.as_ref(), said.as_bytes());
    Ok(format!("v={}", BASE64.encode(verifier)))
}

/// A name as it is written in messages: `=2C` for a comma, `=3D` for an equals sign.
fn decoded(name: &str) -> Result<String, Denied> {
    if name.is_empty() {
        return Err(Denied::Malformed);
    }
    let mut parts = name.split('=');
    let mut text = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let (plain, rest) = match part.get(..2) {
            Some("2C") => (',', &part[2..]),
            Some("3D") => ('=', &part[2..]),
            _ => return Err(Denied::Malformed),
        };
        text.push(plain);
        text.push_str(rest);
    }
    Ok(text)
}

macro_rules! hash {
    ($name:ident, $bytes:literal) => {
        impl Hash for $name {
            type Output = [u8; $bytes];

            fn hash(data: &[u8]) -> Self::Output {
                sha2::$name::digest(data).into()
            }

            fn hmac(key: &[u8], data: &[u8]) -> Self::Output {
                let mac = Hmac::<sha2::$name>::new_from_slice(key);
                let mut mac = mac.expect("HMAC takes keys of any length");
                mac.update(data);
                mac.finalize().into_bytes().into()
            }

            fn stretch(password: &[u8], salt: &[u8]) -> Self::Output {
                let mut stretched = [0; $bytes];
                pbkdf2::pbkdf2_hmac::<sha2::$name>(password, salt, ROUNDS, &mut stretched);
                stretched
            }
        }
    };
}

hash!(Sha256, 32);
hash!(Sha512, 64);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_example_of_rfc_7677_is_taken() {
        let salt = BASE64.decode("W22ZaJ0SNY7soEsUEjb6gQ==").unwrap();
        let stored = Stored::<Sha256>::derive("pencil", &salt);
        let nonce = "rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0";
        let challenge = Challenge {
            user: User::Known,
            binding: "biws".to_owned(),
            client_nonce: "rOprNGfwEbeRWgbNEkqO".to_owned(),
            nonce: nonce.to_owned(),
            said: format!(
                "n=user,r=rOprNGfwEbeRWgbNEkqO,r={nonce},s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096"
            ),
        };
        let proof = "dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=";
        let answer = last(&challenge, &stored, &format!("c=biws,r={nonce},p={proof}"));
        assert_eq!(
            answer.unwrap(),
            "v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4="
        );
    }

    #[test]
    fn commas_and_equals_signs_are_written_out_in_names() {
        assert_eq!(decoded("a=2Cb=3Dc").unwrap(), "a,b=c");
        for name in ["", "a=", "a=2", "a=2c", "=é"] {
            assert_eq!(decoded(name), Err(Denied::Malformed), "{name}");
        }
    }
}
