//! Values as SQLite stores them, to be remembered and bound again.

use rusqlite::ToSql;
use rusqlite::types::{ToSqlOutput, ValueRef};
use serde::{Deserialize, Serialize};

use crate::change::Value;

/// A value of any storage class, exactly.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Stored {
    Null,
    Integer(i64),
    /// By its bits: JSON's numbers are not always read back as they were.
    Real(u64),
    /// Usually UTF-8; SQLite does not look.
    Text(Vec<u8>),
    Blob(Vec<u8>),
}

impl From<ValueRef<'_>> for Stored {
    fn from(value: ValueRef<'_>) -> Self {
        match value {
            ValueRef::Null => Self::Null,
            ValueRef::Integer(of) => Self::Integer(of),
            ValueRef::Real(of) => Self::Real(of.to_bits()),
            ValueRef::Text(of) => Self::Text(of.to_vec()),
            ValueRef::Blob(of) => Self::Blob(of.to_vec()),
        }
    }
}

impl ToSql for Stored {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(ToSqlOutput::Borrowed(match self {
            Self::Null => ValueRef::Null,
            Self::Integer(of) => ValueRef::Integer(*of),
            Self::Real(of) => ValueRef::Real(f64::from_bits(*of)),
            Self::Text(of) => ValueRef::Text(of),
            Self::Blob(of) => ValueRef::Blob(of),
        }))
    }
}

/// What is handed over for a value. Infinities, for which JSON has no number, are text, and text that
/// is no UTF-8 is bytes.
pub(super) fn value(of: ValueRef<'_>) -> Value<'_> {
    match of {
        ValueRef::Null => Value::Null,
        ValueRef::Integer(of) => Value::Number(of.to_string().into()),
        ValueRef::Real(of) if of.is_finite() => {
            let text = serde_json::to_string(&of).expect("a finite number is one in JSON");
            Value::Number(text.into())
        }
        ValueRef::Real(of) if of > 0.0 => Value::Text("Infinity".into()),
        ValueRef::Real(_) => Value::Text("-Infinity".into()),
        ValueRef::Text(of) => match std::str::from_utf8(of) {
            Ok(text) => Value::Text(text.into()),
            Err(_) => Value::Bytes(of.to_vec()),
        },
        ValueRef::Blob(of) => Value::Bytes(of.to_vec()),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn stored_values_survive_json(integer: i64, real: f64, bytes: Vec<u8>) {
            let values = [
                Stored::Null,
                Stored::Integer(integer),
                Stored::Real(real.to_bits()),
                Stored::Text(bytes.clone()),
                Stored::Blob(bytes),
            ];
            let json = serde_json::to_string(&values).unwrap();
            prop_assert_eq!(serde_json::from_str::<[Stored; 5]>(&json).unwrap(), values);
        }

        #[test]
        fn numbers_keep_every_digit(integer: i64, real in proptest::num::f64::NORMAL) {
            prop_assert_eq!(value(ValueRef::Integer(integer)), Value::Number(integer.to_string().into()));
            let Value::Number(text) = value(ValueRef::Real(real)) else {
                panic!("{real} is a number");
            };
            prop_assert_eq!(text.parse::<f64>().unwrap().to_bits(), real.to_bits());
        }
    }

    #[test]
    fn what_json_has_no_word_for_is_text_or_bytes() {
        assert_eq!(
            value(ValueRef::Real(f64::NEG_INFINITY)),
            Value::Text("-Infinity".into())
        );
        assert_eq!(value(ValueRef::Text(&[0xFF])), Value::Bytes(vec![0xFF]));
        assert_eq!(value(ValueRef::Text(b"a\0b")), Value::Text("a\0b".into()));
    }
}
