//! What a request says of itself, in its header or its query. Nothing here is believed yet.

use http::request::Parts;

use super::canonical::{Scope, decode};
use super::{ALGORITHM, LONGEST_LIFE, SignatureError};

/// A signature as a request carries it.
#[derive(Clone, Debug)]
pub(super) struct Claim {
    pub(super) access_key_id: String,
    pub(super) scope: Scope,
    pub(super) amz_date: String,
    /// Lower case, sorted.
    pub(super) signed_headers: Vec<String>,
    pub(super) signature: String,
    pub(super) life: Life,
}

/// How long a request is good for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Life {
    /// Signed in its headers: now.
    Moment,
    /// Signed in its query, for so many seconds.
    Presigned(u64),
}

/// The service that a request was signed for, read from the credential scope of its header or its
/// query. Nothing is verified: it serves to route a request to whoever verifies it.
#[must_use]
pub fn scope_service(parts: &Parts) -> Option<String> {
    let credential = match authorization(parts) {
        Some(header) => field(header, "Credential")?.to_owned(),
        None => query_value(parts, "X-Amz-Credential")?,
    };
    // The key's id may hold slashes, the rest may not.
    credential.rsplit('/').nth(1).map(str::to_owned)
}

impl Claim {
    pub(super) fn read(parts: &Parts) -> Result<Self, SignatureError> {
        if let Some(header) = authorization(parts) {
            return Self::from_header(parts, header);
        }
        if query_value(parts, "X-Amz-Algorithm").is_some() {
            return Self::from_query(parts);
        }
        match parts.headers.contains_key(http::header::AUTHORIZATION) {
            true => Err(incomplete(format!(
                "the Authorization header does not begin with {ALGORITHM}"
            ))),
            false => Err(SignatureError::Missing),
        }
    }

    fn from_header(parts: &Parts, header: &str) -> Result<Self, SignatureError> {
        let part = |name| {
            let text = field(header, name);
            text.ok_or_else(|| incomplete(format!("the Authorization header lacks {name}")))
        };
        let date = parts.headers.get("x-amz-date");
        let date = date.and_then(|date| date.to_str().ok());
        let date = date.ok_or_else(|| incomplete("the header X-Amz-Date is missing"))?;
        let (access_key_id, scope) = credential(part("Credential")?)?;
        Ok(Self {
            access_key_id,
            scope,
            amz_date: date.to_owned(),
            signed_headers: signed_headers(part("SignedHeaders")?)?,
            signature: part("Signature")?.to_owned(),
            life: Life::Moment,
        })
    }

    fn from_query(parts: &Parts) -> Result<Self, SignatureError> {
        let part = |name| {
            let text = query_value(parts, name);
            text.ok_or_else(|| incomplete(format!("the query lacks {name}")))
        };
        if part("X-Amz-Algorithm")? != ALGORITHM {
            return Err(incomplete(format!("X-Amz-Algorithm must be {ALGORITHM}")));
        }
        let life = part("X-Amz-Expires")?;
        let life = life.parse().ok().filter(|life| *life <= LONGEST_LIFE);
        let life = life.ok_or_else(|| incomplete("X-Amz-Expires is 0 to 604800 seconds"))?;
        let (access_key_id, scope) = credential(&part("X-Amz-Credential")?)?;
        Ok(Self {
            access_key_id,
            scope,
            amz_date: part("X-Amz-Date")?,
            signed_headers: signed_headers(&part("X-Amz-SignedHeaders")?)?,
            signature: part("X-Amz-Signature")?,
            life: Life::Presigned(life),
        })
    }
}

fn authorization(parts: &Parts) -> Option<&str> {
    let header = parts.headers.get(http::header::AUTHORIZATION)?;
    header.to_str().ok()?.trim().strip_prefix(ALGORITHM)
}

/// A field of the header's list `Name=value, Name=value`.
fn field<'a>(list: &'a str, name: &str) -> Option<&'a str> {
    list.split(',')
        .filter_map(|field| field.trim().split_once('='))
        .find_map(|(found, value)| (found == name).then_some(value.trim()))
}

fn query_value(parts: &Parts, name: &str) -> Option<String> {
    let query = parts.uri.query()?;
    let value = query
        .split('&')
        .filter_map(|pair| pair.split_once('='))
        .find_map(|(found, value)| (found == name).then_some(value))?;
    String::from_utf8(decode(value)).ok()
}

fn credential(text: &str) -> Result<(String, Scope), SignatureError> {
    let mut words = text.rsplitn(5, '/');
    let mut word = || words.next().filter(|word| !word.is_empty());
    let parsed = (word(), word(), word(), word(), word());
    match parsed {
        (Some("aws4_request"), Some(service), Some(region), Some(day), Some(id)) => Ok((
            id.to_owned(),
            Scope {
                day: day.to_owned(),
                region: region.to_owned(),
                service: service.to_owned(),
            },
        )),
        _ => Err(incomplete(
            "the credential is not KEY/DAY/REGION/SERVICE/aws4_request",
        )),
    }
}

fn signed_headers(text: &str) -> Result<Vec<String>, SignatureError> {
    let mut names: Vec<String> = text.split(';').map(str::to_ascii_lowercase).collect();
    names.sort();
    if names.iter().any(|name| name == "host") {
        Ok(names)
    } else {
        Err(incomplete("the signed headers must include host"))
    }
}

pub(super) fn incomplete(reason: impl Into<String>) -> SignatureError {
    SignatureError::Incomplete {
        reason: reason.into(),
    }
}
