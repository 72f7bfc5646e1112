//! How often a source was told of as a whole, and what was told last.
//!
//! It is kept where positions are, under an id of its own that falls to the source's shard, and written in
//! the settlement of the batch that tells: each gap counts once, whatever crashes, and every node of a cluster
//! can say how many there were.

use clock::Timestamp;
use event::{SourceId, SourcePosition};
use event_log::{EventLog, PositionUpdate, Shard};

use crate::{Notice, NoticeKind};

/// Longest text of a notice that is kept, in bytes.
const LONGEST: usize = 512;

/// What was told of a source since it was first read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Notices {
    /// Events were lost.
    pub gaps: Told,
    /// The source was emptied at once.
    pub truncations: Told,
}

/// Notices of one kind.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Told {
    /// How many.
    pub count: u64,
    /// When the last came into the log, and what it said; `None` when there is none.
    pub last: Option<(Timestamp, String)>,
}

impl Notices {
    /// What the log knows of `source`. Nothing that cannot be read is: it is for people.
    #[must_use]
    pub fn of(log: &dyn EventLog, source: &SourceId) -> Self {
        let kept = log.position(&Self::id(source));
        let text = kept
            .as_ref()
            .and_then(|it| std::str::from_utf8(it.as_bytes()).ok());
        text.map(Self::parse).unwrap_or_default()
    }

    /// Under which name it is kept: the first of a row of names that has the source's shard, since a node
    /// writes positions of its own shards only.
    #[must_use]
    pub fn id(source: &SourceId) -> SourceId {
        let shard = Shard::of_source(source);
        let name = |n: u32| SourceId::new(format!("{source}!{n}"));
        let mut names = (0..).map(name);
        let found = names.find(|name| Shard::of_source(name) == shard);
        found.unwrap_or_else(|| name(0))
    }

    /// These and `new` ones, to be settled.
    pub(crate) fn with<'a>(
        mut self,
        source: &SourceId,
        new: impl Iterator<Item = &'a Notice>,
        now: Timestamp,
    ) -> PositionUpdate {
        for notice in new {
            let told = match notice.kind {
                NoticeKind::Gap => &mut self.gaps,
                NoticeKind::Truncation => &mut self.truncations,
            };
            let mut what = notice.what.replace('\n', " ");
            while what.len() > LONGEST {
                what.pop();
            }
            told.count += 1;
            told.last = Some((now, what));
        }
        PositionUpdate {
            source: Self::id(source),
            position: SourcePosition::new(self.text()),
        }
    }

    /// A line for each kind: its word, how many, the time of the last in milliseconds, what it said.
    fn text(&self) -> String {
        let lines = [("gap", &self.gaps), ("truncation", &self.truncations)];
        let lines = lines.into_iter().filter_map(|(word, told)| {
            let (at, what) = told.last.as_ref()?;
            Some(format!("{word} {} {} {what}", told.count, at.as_millis()))
        });
        lines.collect::<Vec<_>>().join("\n")
    }

    fn parse(text: &str) -> Self {
        let mut notices = Self::default();
        for line in text.lines() {
            let mut words = line.splitn(4, ' ');
            let (Some(word), Some(count), Some(at), Some(what)) =
                (words.next(), words.next(), words.next(), words.next())
            else {
                continue;
            };
            let (Ok(count), Ok(at)) = (count.parse(), at.parse()) else {
                continue;
            };
            let last = Some((Timestamp::from_millis(at), what.to_owned()));
            match word {
                "gap" => notices.gaps = Told { count, last },
                "truncation" => notices.truncations = Told { count, last },
                _ => {}
            }
        }
        notices
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source(n: u32) -> SourceId {
        SourceId::new(format!("/kafka/plant/readings/{n}"))
    }

    fn notice(kind: NoticeKind, what: &str) -> Notice {
        Notice {
            kind,
            what: what.to_owned(),
            position: SourcePosition::new(""),
        }
    }

    #[test]
    fn it_is_kept_in_the_source_s_shard_and_under_no_source_s_name() {
        for n in 0..200 {
            let (source, name) = (source(n), Notices::id(&source(n)));
            assert_eq!(Shard::of_source(&name), Shard::of_source(&source));
            assert!(name.as_str().starts_with(&format!("{source}!")), "{name}");
        }
    }

    #[test]
    fn what_is_kept_is_read_again() {
        let new = [
            notice(NoticeKind::Gap, "one"),
            notice(NoticeKind::Truncation, "table a was\ntruncated"),
            notice(NoticeKind::Gap, &"ä".repeat(400)),
        ];
        let at = Timestamp::from_millis(7);
        let kept = Notices::default().with(&source(1), new.iter(), at);
        let text = std::str::from_utf8(kept.position.as_bytes()).unwrap();
        let notices = Notices::parse(text);
        assert_eq!(notices.gaps.count, 2);
        assert_eq!(notices.gaps.last, Some((at, "ä".repeat(256))));
        let last = Some((at, "table a was truncated".to_owned()));
        assert_eq!(notices.truncations, Told { count: 1, last });
        assert_eq!(Notices::parse("gap x y\n\nother 1 2 3"), Notices::default());
    }
}
