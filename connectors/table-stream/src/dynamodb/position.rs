//! What is known up to a place, beside the place itself.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// What has been handed over up to a place. The place's `log` counts what was handed over.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct State {
    /// The stream's ARN.
    pub(super) stream: String,
    /// Where each of its shards stands, by id. Those that were read to their end go when the stream
    /// does not list them any more.
    pub(super) shards: BTreeMap<String, Reached>,
}

/// How far a shard was read.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Reached {
    /// Nothing of it: everything that the stream still has comes next, whatever it has dropped.
    Horizon,
    /// Nothing of it: this sequence number comes next, and was dropped if the stream has it no more.
    At(String),
    /// This sequence number and those before it.
    After(String),
    /// All of it.
    End,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::position::{Place, read, resumable};

    #[test]
    fn golden_bytes_of_a_position() {
        let shard = |name: &str, reached| (format!("shardId-{name}"), reached);
        let state = State {
            stream: "arn:s".to_owned(),
            shards: [
                shard("1", Reached::End),
                shard("2", Reached::After("100".to_owned())),
                shard("3", Reached::At("7".to_owned())),
                shard("4", Reached::Horizon),
            ]
            .into(),
        };
        let place = Place::beginning(1, 10);
        let position = resumable(place, &state);
        let mut golden =
            hex::decode("00000001000000000000000a00000000000000000000000000000000").unwrap();
        golden.extend_from_slice(
            br#"{"stream":"arn:s","shards":{"shardId-1":"end","shardId-2":{"after":"100"},"shardId-3":{"at":"7"},"shardId-4":"horizon"}}"#,
        );
        assert_eq!(
            String::from_utf8_lossy(position.as_bytes()),
            String::from_utf8_lossy(&golden)
        );
        assert_eq!(read(&position).unwrap(), (place, state));
    }
}
