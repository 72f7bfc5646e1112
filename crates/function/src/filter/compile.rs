//! From pattern text to matchers.

use serde_json::{Map, Value};

use super::FilterError;
use super::matcher::{Cidr, Comparison, Matcher, Range, Text, Wildcard};
use crate::limits::FILTER_DEPTH;

/// An object of a pattern: every field, and one branch of every `$or`, must match.
#[derive(Clone, Debug, Default)]
pub(super) struct Fields {
    pub(super) fields: Vec<(String, Field)>,
    pub(super) either: Vec<Vec<Fields>>,
}

/// What a field of the event must be.
#[derive(Clone, Debug)]
pub(super) enum Field {
    /// An object (or an array with one) whose fields match.
    Nested(Fields),
    /// A value that one of these accepts.
    AnyOf(Vec<Matcher>),
}

/// Compiles a whole pattern.
pub(super) fn pattern(value: &Value) -> Result<Fields, FilterError> {
    let place = Place("$".to_owned());
    match value {
        Value::Object(object) => fields(object, &place, FILTER_DEPTH),
        _ => Err(place.invalid("a pattern is an object")),
    }
}

fn fields(object: &Map<String, Value>, place: &Place, depth: usize) -> Result<Fields, FilterError> {
    if object.is_empty() {
        return Err(place.invalid("an empty object matches nothing"));
    }
    if depth == 0 {
        return Err(place.invalid("the pattern is nested too deeply"));
    }
    let mut compiled = Fields::default();
    for (name, value) in object {
        let place = place.field(name);
        if name == "$or" {
            compiled.either.push(branches(value, &place, depth - 1)?);
            continue;
        }
        let field = match value {
            Value::Object(object) => Field::Nested(fields(object, &place, depth - 1)?),
            Value::Array(alternatives) if alternatives.is_empty() => {
                return Err(place.invalid("an empty array matches nothing"));
            }
            Value::Array(alternatives) => Field::AnyOf(
                alternatives
                    .iter()
                    .enumerate()
                    .map(|(index, value)| alternative(value, &place.item(index)))
                    .collect::<Result<_, _>>()?,
            ),
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {
                return Err(place.invalid("use an object, or an array of alternatives"));
            }
        };
        compiled.fields.push((name.clone(), field));
    }
    Ok(compiled)
}

fn branches(value: &Value, place: &Place, depth: usize) -> Result<Vec<Fields>, FilterError> {
    match value {
        Value::Array(branches) if branches.len() >= 2 => branches
            .iter()
            .enumerate()
            .map(|(index, branch)| match branch {
                Value::Object(object) => fields(object, &place.item(index), depth),
                _ => Err(place
                    .item(index)
                    .invalid("a branch of $or is a pattern object")),
            })
            .collect(),
        _ => Err(place.invalid("$or is an array of at least two pattern objects")),
    }
}

fn alternative(value: &Value, place: &Place) -> Result<Matcher, FilterError> {
    match value {
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {
            Ok(Matcher::Exact(value.clone()))
        }
        Value::Array(_) => Err(place.invalid("an alternative is a value or a match object")),
        Value::Object(object) => {
            let (operator, operand) = single(object, place)?;
            let place = place.field(operator);
            match operator {
                "exists" => match operand {
                    Value::Bool(exists) => Ok(Matcher::Exists(*exists)),
                    _ => Err(place.invalid("exists is true or false")),
                },
                "anything-but" => anything_but(operand, &place),
                "numeric" => numeric(operand, &place).map(Matcher::Numeric),
                "cidr" => Cidr::parse(text(operand, &place)?)
                    .map(Matcher::Cidr)
                    .ok_or_else(|| place.invalid("cidr is an address block such as 10.0.0.0/24")),
                _ => text_match(operator, operand, &place).map(Matcher::Text),
            }
        }
    }
}

fn text_match(operator: &str, operand: &Value, place: &Place) -> Result<Text, FilterError> {
    match (operator, operand) {
        ("prefix", Value::Object(object)) => {
            Ok(Text::PrefixIgnoreCase(ignore_case(object, place)?))
        }
        ("suffix", Value::Object(object)) => {
            Ok(Text::SuffixIgnoreCase(ignore_case(object, place)?))
        }
        ("prefix", _) => Ok(Text::Prefix(text(operand, place)?.to_owned())),
        ("suffix", _) => Ok(Text::Suffix(text(operand, place)?.to_owned())),
        ("equals-ignore-case", _) => {
            Ok(Text::EqualsIgnoreCase(text(operand, place)?.to_lowercase()))
        }
        ("wildcard", _) => Wildcard::parse(text(operand, place)?)
            .map(Text::Wildcard)
            .map_err(|reason| place.invalid(reason)),
        _ => Err(place.invalid(
            "the operators are exists, anything-but, numeric, prefix, suffix, \
             equals-ignore-case, wildcard and cidr",
        )),
    }
}

fn ignore_case(object: &Map<String, Value>, place: &Place) -> Result<String, FilterError> {
    match single(object, place)? {
        ("equals-ignore-case", operand) => Ok(text(operand, place)?.to_lowercase()),
        _ => Err(place.invalid("use a string or {\"equals-ignore-case\": string}")),
    }
}

fn anything_but(operand: &Value, place: &Place) -> Result<Matcher, FilterError> {
    match operand {
        Value::String(_) | Value::Number(_) | Value::Bool(_) | Value::Null => {
            Ok(Matcher::AnythingBut(vec![operand.clone()]))
        }
        Value::Array(values) if !values.is_empty() => {
            let scalar = |value: &Value| !value.is_array() && !value.is_object();
            if values.iter().all(scalar) {
                Ok(Matcher::AnythingBut(values.clone()))
            } else {
                Err(place.invalid("anything-but lists plain values"))
            }
        }
        Value::Array(_) => Err(place.invalid("anything-but lists at least one value")),
        Value::Object(object) => {
            let (operator, operand) = single(object, place)?;
            let place = place.field(operator);
            let texts = match operand {
                Value::Array(values) if !values.is_empty() => values
                    .iter()
                    .map(|value| text_match(operator, value, &place))
                    .collect::<Result<_, _>>()?,
                _ => vec![text_match(operator, operand, &place)?],
            };
            Ok(Matcher::AnythingButText(texts))
        }
    }
}

fn numeric(operand: &Value, place: &Place) -> Result<Range, FilterError> {
    let Value::Array(parts) = operand else {
        return Err(place.invalid("numeric is an array such as [\">\", 0, \"<=\", 5]"));
    };
    if !matches!(parts.len(), 2 | 4) {
        return Err(place.invalid("numeric takes one or two comparisons"));
    }
    let comparisons = parts
        .chunks_exact(2)
        .map(|pair| {
            let number = pair[1]
                .as_f64()
                .ok_or_else(|| place.invalid("numeric compares with numbers"))?;
            Comparison::parse(pair[0].as_str().unwrap_or_default(), number)
                .ok_or_else(|| place.invalid("numeric compares by <, <=, =, >= or >"))
        })
        .collect::<Result<_, _>>()?;
    Ok(Range(comparisons))
}

fn single<'a>(
    object: &'a Map<String, Value>,
    place: &Place,
) -> Result<(&'a str, &'a Value), FilterError> {
    let mut entries = object.iter();
    match (entries.next(), entries.next()) {
        (Some((operator, operand)), None) => Ok((operator, operand)),
        _ => Err(place.invalid("a match object has exactly one operator")),
    }
}

fn text<'a>(operand: &'a Value, place: &Place) -> Result<&'a str, FilterError> {
    operand
        .as_str()
        .ok_or_else(|| place.invalid("the operand is a string"))
}

/// A path into the pattern, for messages.
struct Place(String);

impl Place {
    fn field(&self, name: &str) -> Self {
        Self(format!("{}.{name}", self.0))
    }

    fn item(&self, index: usize) -> Self {
        Self(format!("{}[{index}]", self.0))
    }

    fn invalid(&self, reason: &str) -> FilterError {
        FilterError::Invalid {
            place: self.0.clone(),
            reason: reason.to_owned(),
        }
    }
}
