//! Counting, which knows nothing of how a function is called.

use serde_json::{Value, json};

/// The words of a text, or of every record of a batch.
///
/// # Errors
/// When the event is neither.
pub fn count(event: &Value) -> Result<Value, String> {
    if let Some(text) = event["text"].as_str() {
        return Ok(json!({"words": words(text)}));
    }
    let partitions = event["records"]
        .as_object()
        .ok_or("neither a text nor a batch of records")?;
    let values = partitions
        .values()
        .filter_map(Value::as_array)
        .flatten()
        .filter_map(|record| record["value"].as_str());
    let (mut records, mut total) = (0, 0);
    for value in values {
        let text = decode(value).ok_or("a record that is not base64")?;
        eprintln!("a record of {} words", words(&text));
        records += 1;
        total += words(&text);
    }
    Ok(json!({"records": records, "words": total}))
}

fn words(text: &str) -> usize {
    text.split_whitespace().count()
}

/// Base64, as values of records are.
fn decode(text: &str) -> Option<String> {
    let mut bytes = Vec::new();
    let (mut bits, mut held) = (0_u32, 0);
    for letter in text.trim_end_matches('=').bytes() {
        let value = match letter {
            b'A'..=b'Z' => letter - b'A',
            b'a'..=b'z' => letter - b'a' + 26,
            b'0'..=b'9' => letter - b'0' + 52,
            b'+' => 62,
            b'/' => 63,
            _ => return None,
        };
        bits = bits << 6 | u32::from(value);
        held += 6;
        if held >= 8 {
            held -= 8;
            bytes.push((bits >> held) as u8);
            bits &= (1 << held) - 1;
        }
    }
    Some(String::from_utf8_lossy(&bytes).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_of_a_text_and_of_records_are_counted() {
        assert_eq!(
            count(&json!({"text": "a bc  d"})).unwrap(),
            json!({"words": 3})
        );
        let batch = json!({"records": {"t-0": [{"value": "b25lIHR3bw=="}, {"value": "dGhyZWU="}]}});
        assert_eq!(count(&batch).unwrap(), json!({"records": 2, "words": 3}));
    }

    #[test]
    fn another_event_is_an_error() {
        assert!(count(&json!({})).is_err());
    }
}
