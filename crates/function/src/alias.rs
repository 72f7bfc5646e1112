//! Aliases: names for versions, which may be pointed elsewhere.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use uuid::Uuid;

use crate::{
    AliasName, AsyncPolicy, FunctionName, PolicyStatement, ProvisionedConcurrency, Version,
};

/// A name for one version of a function, or for two of them by weight. One document of the registry.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Alias {
    /// The owning account: twelve digits.
    pub account: String,
    /// The function.
    pub function: FunctionName,
    /// Its name, unique within the function.
    pub name: AliasName,
    /// The version that it points at.
    pub version: Version,
    /// Another version that takes a part of the invocations.
    pub additional: Option<AdditionalVersion>,
    /// Free text.
    pub description: String,
    /// What happens to asynchronous invocations of the alias that fail.
    #[serde(default)]
    pub asynchronous: AsyncPolicy,
    /// Statements of the alias's resource policy, by statement id.
    #[serde(default)]
    pub policy: BTreeMap<String, PolicyStatement>,
    /// How many instances of the versions that it points at are kept initialised.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub provisioned: Option<ProvisionedConcurrency>,
    /// Changes whenever the alias is pointed elsewhere or described anew: the optimistic lock of
    /// updates.
    pub revision: Uuid,
}

/// The second version of an alias.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct AdditionalVersion {
    /// Which.
    pub version: Version,
    /// Its part of the invocations.
    pub weight: Weight,
}

/// A part of all invocations, 0 to 1.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "f64", into = "f64")]
pub struct Weight(f64);

/// A number that is no [`Weight`].
#[derive(Clone, Copy, Debug, PartialEq, thiserror::Error)]
#[error("weight {0} is not between 0 and 1")]
pub struct WeightError(f64);

/// Decides between an alias's two versions. A pure function of what is invoked, so that a replay of an
/// attempt finds the same version while the alias stays as it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Draw(u64);

impl Alias {
    /// The version that serves an invocation.
    #[must_use]
    pub fn choose(&self, draw: Draw) -> Version {
        match self.additional {
            Some(additional) if draw.falls_below(additional.weight) => additional.version,
            Some(_) | None => self.version,
        }
    }

    /// How many instances of each version are to be kept initialised for it, by its weights.
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a part of a number of 32 bits is one"
    )]
    pub(crate) fn shares(&self) -> Vec<(Version, u32)> {
        let all = self.provisioned.map_or(0, |it| it.executions);
        let Some(additional) = self.additional else {
            return vec![(self.version, all)];
        };
        let second = (f64::from(all) * additional.weight.get()).round() as u32;
        vec![(self.version, all - second), (additional.version, second)]
    }

    /// Whether it points at a version, with whatever weight.
    #[must_use]
    pub fn points_at(&self, version: Version) -> bool {
        let additional = self.additional.map(|additional| additional.version);
        self.version == version || additional == Some(version)
    }
}

impl Weight {
    /// Checks and wraps a part.
    ///
    /// # Errors
    /// [`WeightError`] when it is not between 0 and 1, both included.
    pub fn new(part: f64) -> Result<Self, WeightError> {
        match (0.0..=1.0).contains(&part) {
            true => Ok(Self(part)),
            false => Err(WeightError(part)),
        }
    }

    /// The part, 0 to 1.
    #[must_use]
    pub const fn get(self) -> f64 {
        self.0
    }
}

impl Draw {
    /// The draw of one attempt at an event, or of a request, whose id is 1.
    #[must_use]
    pub fn of(event: &str, attempt: u32) -> Self {
        let mut hash = Sha256::new();
        hash.update(event);
        hash.update(attempt.to_be_bytes());
        let hash = hash.finalize();
        let mut first = [0; 8];
        first.copy_from_slice(&hash[..8]);
        Self(u64::from_be_bytes(first))
    }

    #[expect(clippy::cast_precision_loss, reason = "53 bits are exact in a double")]
    fn falls_below(self, weight: Weight) -> bool {
        let part = (self.0 >> 11) as f64 / (1_u64 << 53) as f64;
        part < weight.get()
    }
}

impl TryFrom<f64> for Weight {
    type Error = WeightError;

    fn try_from(part: f64) -> Result<Self, WeightError> {
        Self::new(part)
    }
}

impl From<Weight> for f64 {
    fn from(weight: Weight) -> Self {
        weight.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn alias(weight: f64) -> Alias {
        Alias {
            account: "000000000000".to_owned(),
            function: FunctionName::new("f").unwrap(),
            name: AliasName::new("live").unwrap(),
            version: Version::published(1).unwrap(),
            additional: Some(AdditionalVersion {
                version: Version::published(2).unwrap(),
                weight: Weight::new(weight).unwrap(),
            }),
            description: String::new(),
            asynchronous: AsyncPolicy::default(),
            policy: BTreeMap::new(),
            provisioned: None,
            revision: Uuid::nil(),
        }
    }

    fn share_of_second(weight: f64) -> usize {
        let alias = alias(weight);
        let second = Version::published(2).unwrap();
        let draws = (0..10_000).map(|event| Draw::of(&format!("orders-0@{event}"), 1));
        draws.filter(|draw| alias.choose(*draw) == second).count()
    }

    #[test]
    fn invocations_are_divided_by_weight() {
        assert_eq!(share_of_second(0.0), 0);
        assert_eq!(share_of_second(1.0), 10_000);
        let tenth = share_of_second(0.1);
        assert!((900..1_100).contains(&tenth), "{tenth}");
    }

    #[test]
    fn a_replay_finds_the_same_version_and_another_attempt_draws_again() {
        let draws: Vec<_> = (1..100).map(|attempt| Draw::of("e", attempt)).collect();
        assert_eq!(draws[0], Draw::of("e", 1));
        let versions = draws.iter().map(|draw| alias(0.5).choose(*draw));
        let second = versions.filter(|version| *version != alias(0.5).version);
        assert!((20..80).contains(&second.count()));
    }

    #[test]
    fn a_weight_is_a_part_of_one() {
        for part in [-0.1, 1.1, f64::NAN] {
            assert!(Weight::new(part).is_err());
        }
    }
}
