//! Checking a request against the keys.

use std::sync::Arc;
use std::time::Duration;

use access::{Caller, Keyring, Known};
use clock::{SharedClock, Timestamp};
use http::request::Parts;
use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq as _;
use time::PrimitiveDateTime;
use time::macros::format_description;

use super::canonical::Signed;
use super::claim::{Claim, Life, incomplete};
use super::{SKEW, SignatureError, Signer, UNSIGNED_PAYLOAD};

/// Verifies requests. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Verifier {
    keys: Arc<Keyring>,
    clock: SharedClock,
}

/// A request that is believed as far as its head goes.
#[derive(Debug)]
#[must_use = "the body is not verified yet"]
pub(super) enum Pending {
    /// The caller's signature holds for a body with this hash.
    Hash(Caller, String),
    /// The caller's signature holds, whatever the body.
    Unsigned(Caller),
    /// The signature covers a body that has to be seen first.
    Body(Box<Claim>),
}

impl Verifier {
    /// A verifier over these keys.
    #[must_use]
    pub fn new(keys: Arc<Keyring>, clock: SharedClock) -> Self {
        Self { keys, clock }
    }

    /// Verifies that a request to `service` was signed, header or query, with one of the keys, for
    /// this moment and with this body. Returns whose key it is.
    ///
    /// # Errors
    /// [`SignatureError`] says what does not hold.
    pub fn verify(
        &self,
        service: &str,
        parts: &Parts,
        body: &[u8],
    ) -> Result<Caller, SignatureError> {
        let pending = self.verify_head(service, parts)?;
        self.verify_body(pending, parts, body)
    }

    /// A signer with the account's key, for URLs that this verifier will believe.
    pub(crate) fn signer<'a>(&'a self, region: &'a str, service: &'a str) -> Signer<'a> {
        let own = self.keys.own();
        Signer {
            access_key_id: &own.id,
            secret_access_key: &own.secret,
            region,
            service,
        }
    }

    /// What can be verified before the body is read: everything, when the request says the body's
    /// hash.
    pub(super) fn verify_head(
        &self,
        service: &str,
        parts: &Parts,
    ) -> Result<Pending, SignatureError> {
        let claim = Claim::read(parts)?;
        if claim.scope.service != service {
            return Err(SignatureError::Scope {
                expected: format!("correct service: '{service}'"),
                found: format!("'{}'", claim.scope.service),
            });
        }
        self.verify_time(&claim)?;
        let stated = parts.headers.get("x-amz-content-sha256");
        let Some(stated) = stated.and_then(|hash| hash.to_str().ok()) else {
            self.known(&claim)?;
            return Ok(Pending::Body(Box::new(claim)));
        };
        let hashed = stated.len() == 64 && stated.bytes().all(|byte| byte.is_ascii_hexdigit());
        if !hashed && stated != UNSIGNED_PAYLOAD {
            return Err(incomplete(
                "x-amz-content-sha256 is a SHA-256 in hexadecimal or UNSIGNED-PAYLOAD",
            ));
        }
        let caller = self.verify_signature(&claim, parts, stated)?;
        Ok(match hashed {
            true => Pending::Hash(caller, stated.to_ascii_lowercase()),
            false => Pending::Unsigned(caller),
        })
    }

    pub(super) fn verify_body(
        &self,
        pending: Pending,
        parts: &Parts,
        body: &[u8],
    ) -> Result<Caller, SignatureError> {
        match pending {
            Pending::Unsigned(caller) => Ok(caller),
            Pending::Hash(caller, stated) if stated == hash(body) => Ok(caller),
            Pending::Hash(..) => Err(SignatureError::Body),
            Pending::Body(claim) => self.verify_signature(&claim, parts, &hash(body)),
        }
    }

    fn verify_signature(
        &self,
        claim: &Claim,
        parts: &Parts,
        payload_hash: &str,
    ) -> Result<Caller, SignatureError> {
        let known = self.known(claim)?;
        let expected = Signed {
            method: parts.method.as_str(),
            uri: &parts.uri,
            headers: &parts.headers,
            signed_headers: &claim.signed_headers,
            payload_hash,
            scope: &claim.scope,
            amz_date: &claim.amz_date,
        }
        .signature(&known.secret);
        let given = hex::decode(&claim.signature).unwrap_or_default();
        match bool::from(expected.as_slice().ct_eq(&given)) {
            true => Ok(known.caller),
            false => Err(SignatureError::Mismatch),
        }
    }

    fn verify_time(&self, claim: &Claim) -> Result<(), SignatureError> {
        let format = format_description!("[year][month][day]T[hour][minute][second]Z");
        let signed = PrimitiveDateTime::parse(&claim.amz_date, format)
            .map_err(|_| incomplete("X-Amz-Date is not written YYYYMMDDTHHMMSSZ"))?
            .assume_utc();
        if claim.amz_date.get(..8) != Some(claim.scope.day.as_str()) {
            return Err(SignatureError::Scope {
                expected: format!("the day of X-Amz-Date, {}", claim.amz_date),
                found: claim.scope.day.clone(),
            });
        }
        let signed = Timestamp::from_millis(signed.unix_timestamp() * 1_000);
        let now = self.clock.now();
        let life = match claim.life {
            Life::Moment => SKEW,
            Life::Presigned(seconds) => Duration::from_secs(seconds),
        };
        if now.since(signed) <= life && signed.since(now) <= SKEW {
            return Ok(());
        }
        match claim.life {
            Life::Presigned(_) if now > signed => Err(SignatureError::Expired {
                until: signed.plus(life).to_rfc3339(),
            }),
            Life::Presigned(_) | Life::Moment => Err(SignatureError::Skewed {
                signed: signed.to_rfc3339(),
                now: now.to_rfc3339(),
            }),
        }
    }

    fn known(&self, claim: &Claim) -> Result<Known, SignatureError> {
        let known = self.keys.find(&claim.access_key_id);
        known.ok_or(SignatureError::UnknownKey)
    }
}

pub(super) fn hash(body: &[u8]) -> String {
    hex::encode(Sha256::digest(body))
}
