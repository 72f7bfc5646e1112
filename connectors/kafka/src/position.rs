//! The resume token: the offset after the last record copied, in decimal.

use event::SourcePosition;

use crate::Start;

/// Where to begin reading.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Begin {
    /// The first offset to read.
    pub(crate) at: i64,
    /// Records that were to be read and are gone.
    pub(crate) lost: u64,
}

#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum PositionError {
    #[error("the stored position is no offset")]
    Unreadable,
    #[error("offset {next} was reached before and the partition now ends at {end}")]
    BeyondEnd { next: i64, end: i64 },
}

/// The position after everything below `next`.
pub(crate) fn of(next: i64) -> SourcePosition {
    SourcePosition::new(next.to_string())
}

/// The offset that a position stands for.
pub(crate) fn read(position: &SourcePosition) -> Result<i64, PositionError> {
    std::str::from_utf8(position.as_bytes())
        .ok()
        .and_then(|text| text.parse().ok())
        .filter(|next| *next >= 0)
        .ok_or(PositionError::Unreadable)
}

/// Where to begin in a partition that holds `first..end`.
pub(crate) fn begin(
    position: Option<&SourcePosition>,
    start: Start,
    first: i64,
    end: i64,
) -> Result<Begin, PositionError> {
    let at = match (position, start) {
        (None, Start::Earliest) => first,
        (None, Start::Latest) => end,
        (Some(position), _) => read(position)?,
    };
    if at > end {
        return Err(PositionError::BeyondEnd { next: at, end });
    }
    Ok(Begin {
        at: at.max(first),
        lost: u64::try_from(first - at).unwrap_or(0),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_new_source_begins_where_it_is_told() {
        let begun = |start| begin(None, start, 3, 9).map(|begin| (begin.at, begin.lost));
        assert_eq!(begun(Start::Earliest), Ok((3, 0)));
        assert_eq!(begun(Start::Latest), Ok((9, 0)));
    }

    #[test]
    fn a_known_source_resumes_whatever_the_start() {
        let begun = begin(Some(&of(5)), Start::Latest, 3, 9).unwrap();
        assert_eq!(begun, Begin { at: 5, lost: 0 });
        assert_eq!(begin(Some(&of(9)), Start::Earliest, 3, 9).unwrap().at, 9);
    }

    #[test]
    fn records_that_are_gone_are_counted() {
        let begun = begin(Some(&of(1)), Start::Earliest, 3, 9).unwrap();
        assert_eq!(begun, Begin { at: 3, lost: 2 });
    }

    #[test]
    fn a_position_beyond_the_end_is_of_another_topic() {
        let refused = begin(Some(&of(10)), Start::Earliest, 3, 9);
        assert_eq!(refused, Err(PositionError::BeyondEnd { next: 10, end: 9 }));
    }

    #[test]
    fn garbage_is_no_position() {
        for text in ["", "-1", "1.5", "x"] {
            assert_eq!(
                read(&SourcePosition::new(text)),
                Err(PositionError::Unreadable)
            );
        }
        assert_eq!(read(&of(i64::MAX)), Ok(i64::MAX));
    }
}
