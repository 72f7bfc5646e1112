//! On whose behalf a change is made.

use std::net::{IpAddr, Ipv4Addr};

use uuid::Uuid;

/// Who removes objects by their bucket's rules, in AWS's words.
pub(crate) const LIFECYCLE: &str = "s3.amazonaws.com";

/// Who asked for a change, as the event of it will say.
#[derive(Clone, Debug)]
pub struct Requester {
    /// The caller, for example `AWS:<access key id>`.
    pub principal: String,
    /// The caller's address.
    pub source_ip: IpAddr,
    /// The request's id (`x-amz-request-id`).
    pub request_id: String,
    /// The request's second id (`x-amz-id-2`).
    pub extended_request_id: String,
}

impl Requester {
    /// A request of `principal` from `source_ip` under fresh ids.
    #[must_use]
    pub fn new(principal: impl Into<String>, source_ip: IpAddr) -> Self {
        let id = Uuid::new_v4().simple().to_string();
        Self {
            principal: principal.into(),
            source_ip,
            request_id: id[..16].to_ascii_uppercase(),
            extended_request_id: id,
        }
    }

    /// A change that nobody asked for: a lifecycle rule is the cause.
    pub(crate) fn lifecycle() -> Self {
        Self::new(LIFECYCLE, IpAddr::V4(Ipv4Addr::UNSPECIFIED))
    }

    /// A request of Tidemill's own.
    #[must_use]
    pub fn internal() -> Self {
        Self::new("tidemill", IpAddr::V4(Ipv4Addr::LOCALHOST))
    }
}
