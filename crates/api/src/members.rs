//! The members of a request's JSON body.
//!
//! Members are taken one by one; whatever is left at the end was not applied, and is refused by
//! name unless it says nothing (null, false, empty).

use std::collections::BTreeMap;
use std::ops::RangeInclusive;

use serde_json::{Map, Value};

use crate::ApiError;

/// An object of the body, and its place in the words of the service model.
#[derive(Debug)]
pub(crate) struct Members {
    place: String,
    members: Map<String, Value>,
}

impl Members {
    /// Reads a body. An empty one has no members.
    pub(crate) fn parse(body: &[u8]) -> Result<Self, ApiError> {
        if body.is_empty() {
            return Ok(Self::new(String::new(), Map::new()));
        }
        match serde_json::from_slice(body) {
            Ok(Value::Object(members)) => Ok(Self::new(String::new(), members)),
            Ok(_) => Err(ApiError::InvalidRequestContent(
                "Could not parse request body into json: it is not an object".to_owned(),
            )),
            Err(error) => Err(ApiError::InvalidRequestContent(format!(
                "Could not parse request body into json: {error}"
            ))),
        }
    }

    fn new(place: String, members: Map<String, Value>) -> Self {
        Self { place, members }
    }

    pub(crate) fn text(&mut self, name: &str) -> Result<Option<String>, ApiError> {
        match self.take(name) {
            None => Ok(None),
            Some(Value::String(text)) => Ok(Some(text)),
            Some(_) => Err(self.not_a(name, "string")),
        }
    }

    /// A text of at most `chars` characters.
    pub(crate) fn short_text(
        &mut self,
        name: &str,
        chars: usize,
    ) -> Result<Option<String>, ApiError> {
        let text = self.text(name)?;
        match text {
            Some(text) if text.chars().count() > chars => Err(self.unsatisfied(
                name,
                &text.chars().take(200).collect::<String>(),
                &format!("have length less than or equal to {chars}"),
            )),
            other => Ok(other),
        }
    }

    pub(crate) fn required_text(&mut self, name: &str) -> Result<String, ApiError> {
        let text = self.text(name)?.filter(|text| !text.is_empty());
        text.ok_or_else(|| {
            ApiError::Validation(format!(
                "Value null at '{}' failed to satisfy constraint: Member must not be null",
                self.path(name)
            ))
        })
    }

    pub(crate) fn integer(
        &mut self,
        name: &str,
        range: RangeInclusive<i64>,
    ) -> Result<Option<i64>, ApiError> {
        let Some(value) = self.take(name) else {
            return Ok(None);
        };
        let Some(number) = value.as_i64() else {
            return Err(self.not_a(name, "integer"));
        };
        let bound = if number < *range.start() {
            format!("have value greater than or equal to {}", range.start())
        } else if number > *range.end() {
            format!("have value less than or equal to {}", range.end())
        } else {
            return Ok(Some(number));
        };
        Err(self.unsatisfied(name, &number.to_string(), &bound))
    }

    /// An integer whose bounds are not negative.
    pub(crate) fn natural(
        &mut self,
        name: &str,
        range: RangeInclusive<u32>,
    ) -> Result<Option<u32>, ApiError> {
        let range = i64::from(*range.start())..=i64::from(*range.end());
        let number = self.integer(name, range)?;
        Ok(number.map(|number| u32::try_from(number).expect("it is within 32-bit bounds")))
    }

    /// A moment: seconds since the epoch, with or without a fraction. In milliseconds.
    pub(crate) fn moment(&mut self, name: &str) -> Result<Option<i64>, ApiError> {
        match self.take(name) {
            None => Ok(None),
            Some(value) => match value.as_f64() {
                #[expect(
                    clippy::cast_possible_truncation,
                    reason = "the bound below is far inside of what both types hold"
                )]
                Some(seconds) if seconds.abs() < 1e11 => Ok(Some((seconds * 1e3).round() as i64)),
                _ => Err(self.not_a(name, "timestamp")),
            },
        }
    }

    pub(crate) fn flag(&mut self, name: &str) -> Result<Option<bool>, ApiError> {
        match self.take(name) {
            None => Ok(None),
            Some(Value::Bool(flag)) => Ok(Some(flag)),
            Some(_) => Err(self.not_a(name, "boolean")),
        }
    }

    pub(crate) fn texts(&mut self, name: &str) -> Result<Option<Vec<String>>, ApiError> {
        match self.list(name)? {
            None => Ok(None),
            Some(items) => items
                .into_iter()
                .map(|item| match item {
                    Value::String(text) => Ok(text),
                    _ => Err(self.not_a(name, "list of strings")),
                })
                .collect::<Result<_, _>>()
                .map(Some),
        }
    }

    pub(crate) fn list(&mut self, name: &str) -> Result<Option<Vec<Value>>, ApiError> {
        match self.take(name) {
            None => Ok(None),
            Some(Value::Array(items)) => Ok(Some(items)),
            Some(_) => Err(self.not_a(name, "list")),
        }
    }

    /// The objects of a list.
    pub(crate) fn objects(&mut self, name: &str) -> Result<Option<Vec<Self>>, ApiError> {
        let Some(items) = self.list(name)? else {
            return Ok(None);
        };
        let objects = items
            .into_iter()
            .enumerate()
            .map(|(index, item)| match item {
                Value::Object(members) => Ok(Self::new(
                    format!("{}[{index}]", self.inside(name)),
                    members,
                )),
                _ => Err(self.not_a(name, "list of structures")),
            });
        objects.collect::<Result<_, _>>().map(Some)
    }

    pub(crate) fn map(&mut self, name: &str) -> Result<Option<BTreeMap<String, String>>, ApiError> {
        let Some(value) = self.take(name) else {
            return Ok(None);
        };
        let Value::Object(entries) = value else {
            return Err(self.not_a(name, "map"));
        };
        entries
            .into_iter()
            .map(|(key, value)| match value {
                Value::String(text) => Ok((key, text)),
                _ => Err(self.not_a(name, "map of strings")),
            })
            .collect::<Result<_, _>>()
            .map(Some)
    }

    /// A map to numbers.
    pub(crate) fn numbers(
        &mut self,
        name: &str,
    ) -> Result<Option<BTreeMap<String, f64>>, ApiError> {
        let Some(value) = self.take(name) else {
            return Ok(None);
        };
        let Value::Object(entries) = value else {
            return Err(self.not_a(name, "map"));
        };
        entries
            .into_iter()
            .map(|(key, value)| match value.as_f64() {
                Some(number) => Ok((key, number)),
                None => Err(self.not_a(name, "map of numbers")),
            })
            .collect::<Result<_, _>>()
            .map(Some)
    }

    pub(crate) fn object(&mut self, name: &str) -> Result<Option<Self>, ApiError> {
        match self.take(name) {
            None => Ok(None),
            Some(Value::Object(members)) => Ok(Some(Self::new(self.inside(name), members))),
            Some(_) => Err(self.not_a(name, "structure")),
        }
    }

    /// Takes a member that may only have this value here.
    pub(crate) fn only(&mut self, name: &str, value: &Value) -> Result<(), ApiError> {
        match self.take(name) {
            Some(found) if found != *value && !says_nothing(&found) => {
                Err(self.not_applied(name, &found, &format!("only {value} is")))
            }
            _ => Ok(()),
        }
    }

    /// Refuses what is left.
    pub(crate) fn finish(self) -> Result<(), ApiError> {
        let left = self.members.iter().find(|(_, value)| !says_nothing(value));
        match left {
            Some((name, value)) => Err(self.not_applied(name, value, "leave it out")),
            None => Ok(()),
        }
    }

    fn not_applied(&self, name: &str, value: &Value, instead: &str) -> ApiError {
        let value = match value {
            Value::Array(_) | Value::Object(_) => String::new(),
            scalar => format!(" {scalar}"),
        };
        let place = self.inside(name);
        ApiError::InvalidParameter(format!(
            "{place}{value} is not supported by this server: {instead}"
        ))
    }

    fn take(&mut self, name: &str) -> Option<Value> {
        self.members.remove(name).filter(|value| !value.is_null())
    }

    fn not_a(&self, name: &str, kind: &str) -> ApiError {
        ApiError::InvalidRequestContent(format!(
            "Could not parse request body into json: {} is not a {kind}",
            self.path(name)
        ))
    }

    /// A validation error in AWS's words.
    pub(crate) fn unsatisfied(&self, name: &str, value: &str, constraint: &str) -> ApiError {
        ApiError::Validation(format!(
            "Value '{value}' at '{}' failed to satisfy constraint: Member must {constraint}",
            self.path(name)
        ))
    }

    /// Where a member is, as the service model writes it: `Code.S3Bucket`.
    fn inside(&self, name: &str) -> String {
        match self.place.as_str() {
            "" => name.to_owned(),
            place => format!("{place}.{name}"),
        }
    }

    /// Where a member is, as AWS's messages write it: `code.s3Bucket`.
    fn path(&self, name: &str) -> String {
        let mut path = String::new();
        let mut first = true;
        for letter in self.inside(name).chars() {
            path.push(if first {
                letter.to_ascii_lowercase()
            } else {
                letter
            });
            first = letter == '.';
        }
        path
    }
}

/// Whether a value is what a client sends for "nothing".
fn says_nothing(value: &Value) -> bool {
    match value {
        Value::Null | Value::Bool(false) => true,
        Value::Bool(true) | Value::Number(_) => false,
        Value::String(text) => text.is_empty(),
        Value::Array(items) => items.is_empty(),
        Value::Object(members) => members.values().all(says_nothing),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn members(value: &Value) -> Members {
        Members::parse(value.to_string().as_bytes()).unwrap()
    }

    #[test]
    fn what_was_not_taken_is_refused_by_name() {
        let body = json!({"A": 1, "VpcConfig": {"SubnetIds": ["s"]}});
        let mut body = members(&body);
        body.integer("A", 0..=5).unwrap();
        let refused = body.finish().unwrap_err().to_string();
        assert_eq!(
            refused,
            "VpcConfig is not supported by this server: leave it out"
        );
    }

    #[test]
    fn what_says_nothing_may_stay() {
        let empty = json!({"VpcConfig": {"SubnetIds": [], "Ipv6": false}, "Layers": [], "K": ""});
        members(&empty).finish().unwrap();
    }

    #[test]
    fn a_number_out_of_bounds_is_told_in_the_words_of_aws() {
        let mut body = members(&json!({"Timeout": 0}));
        assert_eq!(
            body.integer("Timeout", 1..=900).unwrap_err().to_string(),
            "1 validation error detected: Value '0' at 'timeout' failed to satisfy constraint: \
             Member must have value greater than or equal to 1"
        );
    }

    #[test]
    fn a_wrong_kind_of_value_is_no_panic() {
        for value in [json!(1.5), json!("1"), json!([1]), json!({"a": 1})] {
            let body = json!({"X": value});
            assert!(members(&body).natural("X", 0..=5).is_err());
            assert!(members(&body).flag("X").is_err());
            assert!(members(&body).map("X").is_err());
        }
        for body in ["[]", "1", "{", "\u{0}"] {
            assert!(Members::parse(body.as_bytes()).is_err());
        }
    }
}
