//! What is known up to a place, beside the place itself.

use serde::{Deserialize, Serialize};

use super::Lsn;
use super::view::View;
use crate::coverage::Coverage;

/// What has been handed over up to a place.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct State {
    /// The cluster's own identifier.
    pub(super) system: String,
    /// Transactions whose commit record ends here or earlier are complete.
    pub(super) flushed: Lsn,
    #[serde(flatten)]
    pub(super) coverage: Coverage<View>,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::change::TableName;
    use crate::position::{Place, Progress, read, resumable};

    #[test]
    fn golden_bytes_of_a_position() {
        let table = TableName {
            schema: "public".to_owned(),
            name: "orders".to_owned(),
        };
        let state = State {
            system: "7".to_owned(),
            flushed: Lsn::new(9),
            coverage: Coverage {
                tables: [(table, Progress::UpTo(vec!["5".to_owned()]))].into(),
                windows: Vec::new(),
                gaps: Vec::new(),
            },
        };
        let place = Place {
            generation: 1,
            log: 10,
            change: 2,
            row: 3,
        };
        let position = resumable(place, &state);
        let mut golden =
            hex::decode("00000001000000000000000a00000000000000020000000000000003").unwrap();
        golden.extend_from_slice(
            br#"{"system":"7","flushed":9,"tables":[[{"schema":"public","name":"orders"},{"upto":["5"]}]],"windows":[],"gaps":[]}"#,
        );
        assert_eq!(position.as_bytes(), &golden);
        assert_eq!(read(&position).unwrap(), (place, state));
        assert_eq!(place.sequence(), "100000000000000001000000000020000000003");
        assert!(place.sequence().len() < 40);
    }
}
