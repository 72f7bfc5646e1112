//! What a user says of a connector.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use anyhow::{Context, bail};
use event_log::{Lifetime, SharedLog};
use serde::{Deserialize, Serialize};

use super::Settings;

/// Bytes of a name: with what is put before it, it stays a legal name of a replication slot.
const NAME_BYTES: usize = 40;

/// A connector as its user defined it.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub(crate) struct Definition {
    /// Its name.
    pub(crate) name: ConnectorName,
    /// What it reads.
    #[serde(flatten)]
    pub(crate) settings: Settings,
}

/// The user's name for a connector: part of topics' names and ARNs. Lower-case letters, digits and
/// hyphens, beginning with a letter.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(try_from = "String", into = "String")]
pub(crate) struct ConnectorName(String);

impl ConnectorName {
    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }
}

impl Definition {
    /// Refuses what cannot be meant; the text names the setting.
    pub(crate) fn check(&self) -> anyhow::Result<()> {
        self.settings.as_kind().check()
    }
}

/// Checks the definitions of a configuration file, each by itself and together.
///
/// # Errors
/// Names the connector and the setting.
pub(crate) fn check_declared(declared: &[Definition]) -> anyhow::Result<()> {
    let mut seen: BTreeMap<&ConnectorName, &Definition> = BTreeMap::new();
    for definition in declared {
        let name = &definition.name;
        definition
            .check()
            .with_context(|| format!("connector {name} in [[connectors]]"))?;
        for other in seen.values() {
            refuse_shared_topics(definition, other)?;
        }
        if seen.insert(name, definition).is_some() {
            bail!("[[connectors]] has two of the name {name}");
        }
    }
    Ok(())
}

/// Refuses a connector that would write to the same topics as another one.
pub(super) fn refuse_shared_topics(one: &Definition, other: &Definition) -> anyhow::Result<()> {
    let topics = one.settings.as_kind().topics(&one.name);
    if one.name != other.name && topics == other.settings.as_kind().topics(&other.name) {
        bail!(
            "connector {} would write to {topics}, as connector {} does",
            one.name,
            other.name
        );
    }
    Ok(())
}

/// Refuses a connector that would write to the topic of a bucket of this server: two buckets of one name
/// would share it.
///
/// # Errors
/// Names the connector and the bucket.
pub(crate) fn refuse_own_bucket(definition: &Definition, log: &SharedLog) -> anyhow::Result<()> {
    let topics = definition.settings.as_kind().topics(&definition.name);
    let ours = log.topics().into_iter().find(|topic| {
        topics.contain(topic.name.as_str()) && topic.config.lifetime == Lifetime::LongLived
    });
    match ours {
        Some(topic) => bail!(
            "connector {}: topic {} belongs to a bucket of this server: remove that bucket, or give the connector's another name",
            definition.name,
            topic.name
        ),
        None => Ok(()),
    }
}

impl FromStr for ConnectorName {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        Self::try_from(text.to_owned())
    }
}

impl TryFrom<String> for ConnectorName {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let legal = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
        let begins = text
            .bytes()
            .next()
            .is_some_and(|byte| byte.is_ascii_lowercase());
        match begins && text.len() <= NAME_BYTES && text.bytes().all(legal) {
            true => Ok(Self(text)),
            false => Err(format!(
                "a connector's name is 1 to {NAME_BYTES} of a-z, 0-9 and -, beginning with a letter, and {text:?} is not"
            )),
        }
    }
}

impl From<ConnectorName> for String {
    fn from(name: ConnectorName) -> Self {
        name.0
    }
}

impl fmt::Display for ConnectorName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(toml: &str) -> Result<Definition, toml::de::Error> {
        toml::from_str(toml)
    }

    const SHOP: &str =
        "name = 'shop'\nkind = 'postgres'\nurl = 'postgres://ada@db/shop'\ntables = ['orders']\n";

    #[test]
    fn a_definition_is_the_same_in_the_file_and_in_the_store() {
        let read = parse(&format!("{SHOP}password = 'env:SHOP'")).unwrap();
        let json = serde_json::to_string(&read).unwrap();
        assert_eq!(serde_json::from_str::<Definition>(&json).unwrap(), read);
        read.check().unwrap();
    }

    #[test]
    fn an_unknown_setting_and_an_unknown_kind_are_refused_by_name() {
        let error = parse(&format!("{SHOP}tabels = ['orders']")).unwrap_err();
        assert!(error.to_string().contains("tabels"), "{error}");
        let error = parse("name = 'shop'\nkind = 'oracle'").unwrap_err();
        assert!(error.to_string().contains("oracle"), "{error}");
    }

    #[test]
    fn names_are_legal_wherever_they_go() {
        for name in ["a", "shop-1", &"a".repeat(40)] {
            assert!(name.parse::<ConnectorName>().is_ok(), "{name}");
        }
        for name in ["", "1a", "-a", "Shop", "a.b", "a_b", "a/b", &"a".repeat(41)] {
            assert!(name.parse::<ConnectorName>().is_err(), "{name}");
        }
    }

    #[test]
    fn two_of_one_name_are_refused() {
        let one = parse(SHOP).unwrap();
        let error = check_declared(&[one.clone(), one]).unwrap_err().to_string();
        assert!(error.contains("two of the name shop"), "{error}");
    }
}
