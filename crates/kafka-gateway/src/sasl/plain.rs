//! PLAIN (RFC 4616): the secret itself, so it belongs on TLS or loopback.

use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

use super::Denied;
use crate::{Login, Sasl};

/// Checks a token: `[identity] NUL user NUL secret`.
pub(super) fn check(logins: &Sasl, token: &[u8]) -> Result<(), Denied> {
    let mut parts = token.split(|byte| *byte == 0);
    let (Some(identity), Some(user), Some(secret), None) =
        (parts.next(), parts.next(), parts.next(), parts.next())
    else {
        return Err(Denied::Malformed);
    };
    if user.is_empty() || secret.is_empty() {
        return Err(Denied::Malformed);
    }
    if !identity.is_empty() && identity != user {
        return Err(Denied::OtherUser);
    }
    // Digests have one length, so that not even the secret's length shows in the time taken.
    let same = |given: &[u8], right: &str| Sha256::digest(given).ct_eq(&Sha256::digest(right));
    let is = |login: &Login| bool::from(same(user, login.user()) & same(secret, login.secret()));
    let other = std::str::from_utf8(user).ok();
    let other = other.and_then(|user| logins.login_of(user));
    match is(logins.login()) || other.is_some_and(|login| is(&login)) {
        true => Ok(()),
        false => Err(Denied::Wrong),
    }
}
