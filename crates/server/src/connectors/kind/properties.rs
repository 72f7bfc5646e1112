//! `NAME=VALUE` on the command line, a table in files.

use std::collections::BTreeMap;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// One property of a client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Property<T> {
    pub(crate) name: String,
    pub(crate) value: T,
}

/// As a map, by name.
pub(crate) fn map<T: Clone>(properties: &[Property<T>]) -> BTreeMap<String, T> {
    let pairs = properties.iter();
    let pairs = pairs.map(|property| (property.name.clone(), property.value.clone()));
    pairs.collect()
}

impl<T: FromStr<Err: ToString>> FromStr for Property<T> {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (name, value) = text.split_once('=').ok_or("it is not NAME=VALUE")?;
        Ok(Self {
            name: name.to_owned(),
            value: value.parse().map_err(|error: T::Err| error.to_string())?,
        })
    }
}

pub(crate) fn serialize<T: Clone + Serialize, S: Serializer>(
    properties: &[Property<T>],
    to: S,
) -> Result<S::Ok, S::Error> {
    map(properties).serialize(to)
}

pub(crate) fn deserialize<'de, T: Deserialize<'de>, D: Deserializer<'de>>(
    from: D,
) -> Result<Vec<Property<T>>, D::Error> {
    let map = BTreeMap::<String, T>::deserialize(from)?;
    let properties = map.into_iter();
    Ok(properties
        .map(|(name, value)| Property { name, value })
        .collect())
}
