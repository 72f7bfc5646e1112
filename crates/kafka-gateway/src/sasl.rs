//! SASL: how a client proves that it knows the login.
//!
//! An [`Exchange`] is pure: the client's tokens go in, the server's come out. Who carries them is
//! [`crate::admission`]. Comparisons take the same time for every secret, and an unknown user is
//! led through the same steps as a known one with a wrong secret.

mod plain;
mod scram;

use hmac::{Hmac, Mac};
use sha2::Sha256;
use uuid::Uuid;

use crate::Sasl;

/// The mechanisms, as clients are told them.
pub(crate) const MECHANISMS: [&str; 3] = ["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"];

/// What is derived from a login once, so that no exchange has to.
#[derive(Debug)]
pub(crate) struct Gate {
    logins: Sasl,
    /// Makes the salts of users. Made anew with every start.
    salt_key: [u8; 32],
    sha256: scram::Stored<scram::Sha256>,
    sha512: scram::Stored<scram::Sha512>,
}

/// One client on its way to being known: which mechanism, and how far it has come.
#[derive(Debug)]
pub(crate) enum Exchange {
    Plain,
    Sha256(scram::Exchange<scram::Sha256>),
    Sha512(scram::Exchange<scram::Sha512>),
}

/// What to send back.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// One more token is needed.
    Continue(Vec<u8>),
    /// The client is who it says it is.
    Done(Vec<u8>),
}

/// Why a client is not let in. The words go to the client: they tell nothing of what is right.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Denied {
    #[error("authentication failed: the user or the password is wrong")]
    Wrong,
    #[error("authentication failed: the token is malformed")]
    Malformed,
    #[error("authentication failed: acting for another user is not supported")]
    OtherUser,
    #[error("authentication failed: channel binding is not supported")]
    ChannelBinding,
    #[error("authentication failed: a mandatory extension is not supported")]
    Extension,
}

impl Gate {
    pub(crate) fn new(logins: Sasl) -> Self {
        let login = logins.login();
        let mut salt_key = [0; 32];
        salt_key[..16].copy_from_slice(Uuid::new_v4().as_bytes());
        salt_key[16..].copy_from_slice(Uuid::new_v4().as_bytes());
        let salt = salt_of(&salt_key, login.user());
        Self {
            sha256: scram::Stored::derive(login.secret(), &salt),
            sha512: scram::Stored::derive(login.secret(), &salt),
            logins,
            salt_key,
        }
    }

    /// Begins an exchange by a mechanism; `None` when there is none of that name.
    pub(crate) fn begin(&self, mechanism: &str) -> Option<Exchange> {
        match mechanism {
            "PLAIN" => Some(Exchange::Plain),
            "SCRAM-SHA-256" => Some(Exchange::Sha256(scram::Exchange::new(nonce()))),
            "SCRAM-SHA-512" => Some(Exchange::Sha512(scram::Exchange::new(nonce()))),
            _ => None,
        }
    }

    fn salt(&self, user: &str) -> [u8; 32] {
        salt_of(&self.salt_key, user)
    }
}

impl Exchange {
    /// Takes the client's next token.
    ///
    /// # Errors
    /// The client is not let in; the exchange is over.
    pub(crate) fn step(&mut self, gate: &Gate, token: &[u8]) -> Result<Step, Denied> {
        match self {
            Self::Plain => plain::check(&gate.logins, token).map(|()| Step::Done(Vec::new())),
            Self::Sha256(exchange) => exchange.step(gate, &gate.sha256, token),
            Self::Sha512(exchange) => exchange.step(gate, &gate.sha512, token),
        }
    }
}

/// A user's salt: the same for every attempt, and there is one for users that do not exist.
fn salt_of(key: &[u8; 32], user: &str) -> [u8; 32] {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).expect("HMAC takes keys of any length");
    mac.update(user.as_bytes());
    mac.finalize().into_bytes().into()
}

/// Printable, without commas, never used before: 244 random bits.
fn nonce() -> String {
    format!("{}{}", Uuid::new_v4().simple(), Uuid::new_v4().simple())
}

#[cfg(test)]
mod tests;
