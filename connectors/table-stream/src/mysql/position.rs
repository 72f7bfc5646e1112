//! What is known up to a place, beside the place itself.

use serde::{Deserialize, Serialize};

use super::logged::LogPlace;
use crate::coverage::Coverage;
use crate::window;

/// What has been handed over up to a place.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct State {
    /// Where the stream goes on.
    pub(super) from: Mark,
    #[serde(flatten)]
    pub(super) coverage: Coverage<View>,
}

/// A place in the log between transactions, and the file that it is in.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Mark {
    pub(super) place: LogPlace,
    /// What the files' names begin with.
    pub(super) base: String,
    /// What the file says of itself; `None` when it was not read yet.
    pub(super) origin: Option<Origin>,
}

/// What tells a file of the log from another one with its name: who began it, and when.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Origin {
    pub(super) server: u32,
    /// Seconds since the epoch.
    pub(super) begun: u32,
}

/// What a snapshot shows: the transactions that begin in the log before a place.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct View {
    pub(super) until: LogPlace,
}

impl window::View for View {
    /// Where it begins; of one that was prepared, where its commit does.
    type Transaction = LogPlace;

    fn sees(&self, begin: LogPlace) -> bool {
        begin < self.until
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::change::TableName;
    use crate::position::{Place, Progress, read, resumable};
    use crate::window::Window;

    #[test]
    fn golden_bytes_of_a_position() {
        let name = TableName {
            schema: "shop".to_owned(),
            name: "orders".to_owned(),
        };
        let at = |byte| LogPlace { file: 7, byte };
        let state = State {
            from: Mark {
                place: at(9),
                base: "binlog".to_owned(),
                origin: Some(Origin {
                    server: 1,
                    begun: 5,
                }),
            },
            coverage: Coverage {
                tables: [(name.clone(), Progress::UpTo(vec!["5".to_owned()]))].into(),
                windows: vec![Window {
                    table: name,
                    key: Vec::new(),
                    after: None,
                    to: Some(vec!["5".to_owned()]),
                    view: View { until: at(8) },
                }],
                gaps: Vec::new(),
            },
        };
        let place = Place {
            generation: 1,
            log: at(10).number(),
            change: 2,
            row: 3,
        };
        let position = resumable(place, &state);
        let mut golden =
            hex::decode("00000001000000070000000a00000000000000020000000000000003").unwrap();
        golden.extend_from_slice(
            br#"{"from":{"place":{"file":7,"byte":9},"base":"binlog","origin":{"server":1,"begun":5}},"tables":[[{"schema":"shop","name":"orders"},{"upto":["5"]}]],"windows":[{"table":{"schema":"shop","name":"orders"},"key":[],"after":null,"to":["5"],"until":{"file":7,"byte":8}}],"gaps":[]}"#,
        );
        assert_eq!(
            String::from_utf8_lossy(position.as_bytes()),
            String::from_utf8_lossy(&golden)
        );
        assert_eq!(read(&position).unwrap(), (place, state));
    }
}
