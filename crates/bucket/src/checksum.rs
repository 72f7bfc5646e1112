//! Checksums of objects, as S3 knows them.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use md5::{Digest, Md5};
use s3s::checksum::ChecksumHasher;
use serde::{Deserialize, Serialize};

/// A checksum algorithm of S3.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[expect(missing_docs, reason = "each variant is the algorithm of that name")]
pub enum ChecksumAlgorithm {
    Crc32,
    Crc32c,
    Crc64Nvme,
    Sha1,
    Sha256,
}

/// What a checksum covers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ChecksumKind {
    /// The object's bytes.
    #[default]
    FullObject,
    /// The checksums of a multipart upload's parts, in order; the value ends in `-<parts>`.
    Composite,
}

/// Checksums of one object or part, in base64 as S3 writes them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Checksums {
    /// What they cover.
    pub kind: ChecksumKind,
    /// The values by algorithm.
    pub values: BTreeMap<ChecksumAlgorithm, String>,
}

/// MD5 and checksums of a stream of bytes.
pub(crate) struct Digester {
    md5: Md5,
    checksums: ChecksumHasher,
}

impl ChecksumAlgorithm {
    /// Every algorithm.
    pub const ALL: [Self; 5] = [
        Self::Crc32,
        Self::Crc32c,
        Self::Crc64Nvme,
        Self::Sha1,
        Self::Sha256,
    ];

    /// The name as S3 writes it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Crc32 => "CRC32",
            Self::Crc32c => "CRC32C",
            Self::Crc64Nvme => "CRC64NVME",
            Self::Sha1 => "SHA1",
            Self::Sha256 => "SHA256",
        }
    }

    /// The algorithm called `name`, in any case.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL
            .into_iter()
            .find(|algorithm| algorithm.name().eq_ignore_ascii_case(name))
    }

    /// What a multipart upload computes when its creator does not say (AWS, "Checking object
    /// integrity", 2026).
    #[must_use]
    pub const fn default_kind(self) -> ChecksumKind {
        match self {
            Self::Crc64Nvme => ChecksumKind::FullObject,
            Self::Crc32 | Self::Crc32c | Self::Sha1 | Self::Sha256 => ChecksumKind::Composite,
        }
    }

    /// Whether parts' checksums of this algorithm add up to one of `kind`.
    #[must_use]
    pub const fn supports(self, kind: ChecksumKind) -> bool {
        match (self, kind) {
            (Self::Crc32 | Self::Crc32c, _)
            | (Self::Crc64Nvme, ChecksumKind::FullObject)
            | (Self::Sha1 | Self::Sha256, ChecksumKind::Composite) => true,
            (Self::Crc64Nvme, ChecksumKind::Composite)
            | (Self::Sha1 | Self::Sha256, ChecksumKind::FullObject) => false,
        }
    }

    /// The checksum of an object from those of its parts with their lengths. `None` when a part has
    /// a garbled one or the algorithm does not support `kind`.
    pub(crate) fn of_parts<'a>(
        self,
        kind: ChecksumKind,
        parts: impl ExactSizeIterator<Item = (&'a str, u64)>,
    ) -> Option<String> {
        match kind {
            ChecksumKind::Composite => self.composite(parts.map(|(value, _)| value)),
            ChecksumKind::FullObject => self.combined(parts),
        }
    }

    fn composite<'a>(self, parts: impl ExactSizeIterator<Item = &'a str>) -> Option<String> {
        let count = parts.len();
        let mut digester = Digester::new(&BTreeSet::from([self]));
        for part in parts {
            digester.update(&BASE64.decode(part).ok()?);
        }
        let (_, checksums) = digester.finish();
        Some(format!("{}-{count}", checksums.values.get(&self)?))
    }

    fn combined<'a>(self, mut parts: impl Iterator<Item = (&'a str, u64)>) -> Option<String> {
        let (algorithm, width) = match self {
            Self::Crc32 => (crc_fast::CrcAlgorithm::Crc32IsoHdlc, 4),
            Self::Crc32c => (crc_fast::CrcAlgorithm::Crc32Iscsi, 4),
            Self::Crc64Nvme => (crc_fast::CrcAlgorithm::Crc64Nvme, 8),
            Self::Sha1 | Self::Sha256 => return None,
        };
        let number = |value: &str| {
            let bytes = BASE64.decode(value).ok()?;
            (bytes.len() == width).then(|| {
                bytes
                    .iter()
                    .fold(0_u64, |number, byte| number << 8 | u64::from(*byte))
            })
        };
        let (first, _) = parts.next()?;
        let mut all = number(first)?;
        for (value, len) in parts {
            all = crc_fast::checksum_combine(algorithm, all, number(value)?, len);
        }
        Some(BASE64.encode(&all.to_be_bytes()[8 - width..]))
    }
}

impl ChecksumKind {
    /// Whether `actual`, a checksum of this kind, is the one that a client expects. MinIO's clients
    /// announce a composite one without the number of parts that ends it.
    pub(crate) fn is_met(self, actual: &str, expected: &str) -> bool {
        let bare = match self {
            Self::FullObject => None,
            Self::Composite => actual.rsplit_once('-').map(|(value, _)| value),
        };
        actual == expected || bare == Some(expected)
    }
}

impl fmt::Display for ChecksumAlgorithm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl Checksums {
    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.values.is_empty()
    }

    /// The value of one algorithm.
    #[must_use]
    pub fn get(&self, algorithm: ChecksumAlgorithm) -> Option<&str> {
        self.values.get(&algorithm).map(String::as_str)
    }
}

impl Digester {
    pub(crate) fn new(algorithms: &BTreeSet<ChecksumAlgorithm>) -> Self {
        let mut checksums = ChecksumHasher::default();
        for algorithm in algorithms {
            match algorithm {
                ChecksumAlgorithm::Crc32 => checksums.crc32 = Some(Default::default()),
                ChecksumAlgorithm::Crc32c => checksums.crc32c = Some(Default::default()),
                ChecksumAlgorithm::Crc64Nvme => checksums.crc64nvme = Some(Default::default()),
                ChecksumAlgorithm::Sha1 => checksums.sha1 = Some(Default::default()),
                ChecksumAlgorithm::Sha256 => checksums.sha256 = Some(Default::default()),
            }
        }
        Self {
            md5: Md5::new(),
            checksums,
        }
    }

    pub(crate) fn update(&mut self, bytes: &[u8]) {
        self.md5.update(bytes);
        self.checksums.update(bytes);
    }

    pub(crate) fn finish(self) -> ([u8; 16], Checksums) {
        let sums = self.checksums.finalize();
        let values = [
            (ChecksumAlgorithm::Crc32, sums.checksum_crc32),
            (ChecksumAlgorithm::Crc32c, sums.checksum_crc32c),
            (ChecksumAlgorithm::Crc64Nvme, sums.checksum_crc64nvme),
            (ChecksumAlgorithm::Sha1, sums.checksum_sha1),
            (ChecksumAlgorithm::Sha256, sums.checksum_sha256),
        ]
        .into_iter()
        .filter_map(|(algorithm, value)| Some((algorithm, value?)))
        .collect();
        let checksums = Checksums {
            kind: ChecksumKind::FullObject,
            values,
        };
        (self.md5.finalize().into(), checksums)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sums(bytes: &[u8]) -> Checksums {
        let mut digester = Digester::new(&BTreeSet::from(ChecksumAlgorithm::ALL));
        digester.update(bytes);
        digester.finish().1
    }

    #[test]
    fn checksums_agree_with_the_published_check_values() {
        // "123456789": the check input of the CRC catalogue; FIPS 180 implementations for SHA.
        let of = sums(b"123456789");
        assert_eq!(of.get(ChecksumAlgorithm::Crc32), Some("y/Q5Jg=="));
        assert_eq!(of.get(ChecksumAlgorithm::Crc32c), Some("4waSgw=="));
        assert_eq!(of.get(ChecksumAlgorithm::Crc64Nvme), Some("rosUhgp5mIg="));
        let sha1 = hex::decode("f7c3bc1d808e04732adf679965ccc34ca7ae3441").unwrap();
        assert_eq!(
            of.get(ChecksumAlgorithm::Sha1),
            Some(BASE64.encode(sha1).as_str())
        );
    }

    #[test]
    fn crcs_of_parts_combine_to_the_crc_of_the_whole() {
        let whole: Vec<u8> = (0..100_000_u32).map(|n| (n * 7 % 251) as u8).collect();
        let (parts, all) = (
            [&whole[..33_333], &whole[33_333..90_000], &whole[90_000..]],
            sums(&whole),
        );
        for algorithm in ChecksumAlgorithm::ALL {
            let each: Vec<(Checksums, u64)> = parts
                .iter()
                .map(|part| (sums(part), part.len() as u64))
                .collect();
            let combined = algorithm.of_parts(
                ChecksumKind::FullObject,
                each.iter()
                    .map(|(sums, len)| (sums.get(algorithm).unwrap(), *len)),
            );
            if algorithm.supports(ChecksumKind::FullObject) {
                assert_eq!(combined.as_deref(), all.get(algorithm), "{algorithm}");
            } else {
                assert_eq!(combined, None, "{algorithm}");
            }
        }
    }

    #[test]
    fn a_composite_checksum_covers_the_parts_checksums_and_names_their_number() {
        let part = sums(b"abc");
        let sha = part.get(ChecksumAlgorithm::Sha256).unwrap();
        let composite = ChecksumAlgorithm::Sha256
            .of_parts(ChecksumKind::Composite, [(sha, 3), (sha, 3)].into_iter())
            .unwrap();
        let raw = BASE64.decode(sha).unwrap();
        let expected = sums(&[raw.clone(), raw].concat());
        assert_eq!(
            composite,
            format!("{}-2", expected.get(ChecksumAlgorithm::Sha256).unwrap())
        );
    }
}
