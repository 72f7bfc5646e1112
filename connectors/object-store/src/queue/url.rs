//! The address of a queue.

use std::fmt;
use std::str::FromStr;

/// Where a queue is: `https://sqs.REGION.amazonaws.com/ACCOUNT/NAME`, or that of another service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QueueUrl(String);

impl QueueUrl {
    /// The address of the service that has it.
    #[must_use]
    pub fn endpoint(&self) -> &str {
        let host = self.host_at();
        let end = self.0[host..]
            .find('/')
            .map_or(self.0.len(), |at| host + at);
        &self.0[..end]
    }

    /// The region that it names, when it is one of AWS's.
    #[must_use]
    pub fn region(&self) -> Option<&str> {
        let host = &self.endpoint()[self.host_at()..];
        let (region, rest) = host.strip_prefix("sqs.")?.split_once('.')?;
        rest.starts_with("amazonaws.com").then_some(region)
    }

    /// It as a whole.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    fn host_at(&self) -> usize {
        self.0.find("://").map_or(0, |at| at + 3)
    }
}

impl FromStr for QueueUrl {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let mut schemes = ["http://", "https://"].iter();
        let Some(rest) = schemes.find_map(|scheme| text.strip_prefix(scheme)) else {
            return Err("the address of a queue begins with http:// or https://");
        };
        if rest.contains(['@', '?', '#']) {
            return Err("the address of a queue has neither credentials nor a query");
        }
        match rest.split_once('/') {
            Some((host, path)) if !host.is_empty() && !path.trim_matches('/').is_empty() => {
                Ok(Self(text.to_owned()))
            }
            Some(_) | None => Err("the address of a queue is that of a host, and a path"),
        }
    }
}

impl fmt::Display for QueueUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_has_a_service_and_perhaps_a_region() {
        let url = |text: &str| text.parse::<QueueUrl>();
        let aws = url("https://sqs.eu-west-1.amazonaws.com/123456789012/told").unwrap();
        assert_eq!(aws.endpoint(), "https://sqs.eu-west-1.amazonaws.com");
        assert_eq!(aws.region(), Some("eu-west-1"));
        let china = url("https://sqs.cn-north-1.amazonaws.com.cn/123456789012/told").unwrap();
        assert_eq!(china.region(), Some("cn-north-1"));
        let other = url("http://127.0.0.1:9324/000000000000/told").unwrap();
        assert_eq!(other.endpoint(), "http://127.0.0.1:9324");
        assert_eq!(other.region(), None);
        for refused in [
            "told",
            "arn:aws:sqs:eu-west-1:123456789012:told",
            "https://sqs.eu-west-1.amazonaws.com",
            "https://sqs.eu-west-1.amazonaws.com/",
            "https://ada:hush@sqs.example.org/1/told",
            "https://sqs.example.org/1/told?X-Amz-Signature=1",
        ] {
            let why = url(refused).unwrap_err();
            assert!(!why.contains("hush"), "{refused}: {why}");
        }
    }
}
