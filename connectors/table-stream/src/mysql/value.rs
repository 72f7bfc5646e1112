//! What the server's text for a value means.
//!
//! Text is that of a connection that speaks UTF-8 and UTC. Dates and times, enumerations and sets stay the
//! text they are.

use std::borrow::Cow;

use crate::change::Value;
use crate::table;

/// How to read a column's text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// A number that the server may have filled up with zeros.
    Number,
    /// One of 32 bits, written with the digits of 64.
    Float,
    Double,
    Text,
    Bytes,
    Json,
}

impl table::Kind for Kind {
    fn read<'a>(&self, bytes: &'a [u8]) -> Option<Value<'a>> {
        if *self == Self::Bytes {
            return Some(Value::Bytes(bytes.to_vec()));
        }
        let text = match std::str::from_utf8(bytes) {
            Ok(text) => text,
            // The server lets such bytes into columns of text, if it is told to.
            Err(_) => return Some(Value::Bytes(bytes.to_vec())),
        };
        Some(match self {
            Self::Number => number(text),
            Self::Float => {
                #[expect(
                    clippy::cast_possible_truncation,
                    reason = "it was one of 32 bits before"
                )]
                let float = text.parse::<f64>().map(|double| double as f32);
                float.map_or(Value::Text(text.into()), |float| written(&float))
            }
            Self::Double => {
                let double = text.parse::<f64>();
                double.map_or(Value::Text(text.into()), |double| written(&double))
            }
            Self::Text | Self::Bytes => Value::Text(text.into()),
            Self::Json => Value::Json(dense(text).into()),
        })
    }
}

fn written(number: &impl serde::Serialize) -> Value<'static> {
    let text = serde_json::to_string(number).expect("a number is written to memory");
    Value::Number(text.into())
}

/// JSON's numbers begin with no zeros but one before a point.
fn number(text: &str) -> Value<'_> {
    let (sign, digits) = match text.strip_prefix('-') {
        Some(digits) => ("-", digits),
        None => ("", text),
    };
    let bare = digits.trim_start_matches('0');
    let short = match bare.bytes().next() {
        Some(b'0'..=b'9') => bare,
        // One before the point, or one alone.
        Some(_) | None => match digits.len() > bare.len() {
            true => &digits[digits.len() - bare.len() - 1..],
            false => return Value::Number(Cow::Owned(format!("{sign}0{bare}"))),
        },
    };
    Value::Number(match short.len() == digits.len() {
        true => text.into(),
        false => Cow::Owned(format!("{sign}{short}")),
    })
}

/// A document without the spaces between its parts: the log has none, and the server's text does.
fn dense(text: &str) -> String {
    let mut dense = String::with_capacity(text.len());
    let (mut quoted, mut escaped) = (false, false);
    for char in text.chars() {
        if quoted || !char.is_ascii_whitespace() {
            dense.push(char);
        }
        match char {
            _ if escaped => escaped = false,
            '\\' => escaped = quoted,
            '"' => quoted = !quoted,
            _ => {}
        }
    }
    dense
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::table::Kind as _;

    #[test]
    fn numbers_are_those_of_json() {
        for (text, expected) in [
            ("7", "7"),
            ("-7", "-7"),
            ("00042", "42"),
            ("0", "0"),
            ("0000", "0"),
            ("0.50", "0.50"),
            ("000.50", "0.50"),
            ("-0.5", "-0.5"),
            ("-.5", "-0.5"),
            ("18446744073709551615", "18446744073709551615"),
        ] {
            let read = Kind::Number.read(text.as_bytes()).unwrap();
            assert_eq!(read, Value::Number(expected.into()), "{text}");
        }
        let read = |kind: Kind, text: &'static str| kind.read(text.as_bytes()).unwrap();
        assert_eq!(
            read(Kind::Float, "0.10000000149011612"),
            Value::Number("0.1".into())
        );
        assert_eq!(read(Kind::Double, "1e300"), Value::Number("1e+300".into()));
    }

    #[test]
    fn documents_lose_spaces_between_their_parts_only() {
        let text = r#"{"a b": [1, "c \" d"], "e": "\\"}"#;
        assert_eq!(
            Kind::Json.read(text.as_bytes()).unwrap(),
            Value::Json(r#"{"a b":[1,"c \" d"],"e":"\\"}"#.into())
        );
    }

    #[test]
    fn text_that_is_none_is_bytes() {
        assert_eq!(Kind::Text.read(b"\xFF").unwrap(), Value::Bytes(vec![0xFF]));
    }
}
