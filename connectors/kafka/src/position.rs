//! The resume token, and where it leads in the topic that is there now.
//!
//! In text: the offset after the last record copied; how often reading began anew; the topic's id; and the
//! last record's offset, time and hash. What is not known is a dash. A bare offset, as it once was, is read
//! as one of which nothing else is known.

use std::fmt;

use bytes::Bytes;
use event::{Record, SourcePosition};
use sha2::{Digest as _, Sha256};

use crate::Start;

/// What was reached.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Reached {
    /// How often reading began anew because the topic, or what it held, was another.
    pub(crate) renewals: u32,
    /// The next offset to read.
    pub(crate) next: i64,
    /// The topic's id, as the cluster has it.
    pub(crate) topic: Option<String>,
    /// The last record that was copied.
    pub(crate) last: Option<Fingerprint>,
}

/// By which a record is known again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Fingerprint {
    pub(crate) offset: i64,
    /// Milliseconds since 1970.
    time: i64,
    /// Of key and value.
    hash: u64,
}

/// What the cluster says of a partition now: it holds `first..end`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Now {
    pub(crate) topic: Option<String>,
    pub(crate) first: i64,
    pub(crate) end: i64,
}

/// Whether the last record that was copied is still where it was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Last {
    /// As far as is known.
    Untouched,
    /// There is another at its offset.
    Replaced,
}

/// Where to begin reading.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Begin {
    pub(crate) reached: Reached,
    /// To be seen again before anything is handed over.
    pub(crate) verify: Option<Fingerprint>,
    /// What was not copied and never will be.
    pub(crate) gap: Option<Gap>,
}

/// What was lost, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Gap {
    /// The cluster dropped so many offsets before they were copied.
    Expired { lost: u64, resumed_at: i64 },
    /// The topic is another.
    OtherTopic { reached: i64 },
    /// The partition ends before what was reached, and the topic is the same.
    CutOff { reached: i64, end: i64 },
    /// Another record is where one was copied, and the topic is the same.
    Rewritten { reached: i64 },
}

#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("the stored position cannot be read")]
pub(crate) struct Unreadable;

impl Reached {
    /// The same place in the order of the source, without what it is verified by.
    pub(crate) fn place(&self) -> SourcePosition {
        SourcePosition::new(format!("{} {} - -", self.next, self.renewals))
    }

    pub(crate) fn position(&self) -> SourcePosition {
        SourcePosition::new(self.to_string())
    }

    pub(crate) fn read(position: &SourcePosition) -> Result<Self, Unreadable> {
        let text = std::str::from_utf8(position.as_bytes()).map_err(|_| Unreadable)?;
        Self::parse(text).ok_or(Unreadable)
    }

    fn parse(text: &str) -> Option<Self> {
        let mut words = text.split(' ');
        let next = words.next()?.parse().ok().filter(|next| *next >= 0)?;
        let Some(renewals) = words.next() else {
            return Some(Self {
                next,
                ..Self::default()
            });
        };
        let known = |word: &&str| *word != "-";
        let topic = words.next()?;
        let last = words.next()?;
        Some(Self {
            renewals: renewals.parse().ok()?,
            next,
            topic: Some(topic).filter(known).map(str::to_owned),
            last: match Some(last).filter(known) {
                Some(word) => Some(Fingerprint::parse(word)?),
                None => None,
            },
        })
        .filter(|_| words.next().is_none())
    }

    /// What positions are ordered by.
    pub(crate) fn order(&self) -> (u32, i64) {
        (self.renewals, self.next)
    }

    fn renewed(&self, next: i64, now: &Now) -> Self {
        Self {
            renewals: self.renewals.saturating_add(1),
            next,
            topic: now.topic.clone(),
            last: None,
        }
    }
}

impl fmt::Display for Reached {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let topic = self.topic.as_deref().unwrap_or("-");
        write!(f, "{} {} {topic} ", self.next, self.renewals)?;
        match &self.last {
            Some(last) => write!(f, "{}:{}:{:016x}", last.offset, last.time, last.hash),
            None => f.write_str("-"),
        }
    }
}

impl Fingerprint {
    pub(crate) fn of(offset: i64, record: &Record) -> Self {
        let mut hash = Sha256::new();
        for part in [&record.key, &record.value] {
            let length = part.as_ref().map_or(-1, |part: &Bytes| part.len() as i64);
            hash.update(length.to_be_bytes());
            hash.update(part.as_deref().unwrap_or_default());
        }
        let mut first = [0; 8];
        first.copy_from_slice(&hash.finalize()[..8]);
        Self {
            offset,
            time: record.timestamp.as_millis(),
            hash: u64::from_be_bytes(first),
        }
    }

    fn parse(word: &str) -> Option<Self> {
        let mut parts = word.splitn(3, ':');
        Some(Self {
            offset: parts.next()?.parse().ok()?,
            time: parts.next()?.parse().ok()?,
            hash: u64::from_str_radix(parts.next()?, 16).ok()?,
        })
    }
}

/// The next offset that a position stands for, and how often reading had begun anew by then; `None` when
/// it is no position of a partition.
#[must_use]
pub fn offset_of(position: &SourcePosition) -> Option<(i64, u32)> {
    let reached = Reached::read(position).ok()?;
    Some((reached.next, reached.renewals))
}

/// Where to begin in a partition that holds what `now` says, when `reached` was reached before.
pub(crate) fn begin(reached: Option<&Reached>, last: Last, start: Start, now: &Now) -> Begin {
    let Some(reached) = reached else {
        let next = match start {
            Start::Earliest => now.first,
            Start::Latest => now.end,
        };
        return Begin {
            reached: Reached {
                next,
                topic: now.topic.clone(),
                ..Reached::default()
            },
            verify: None,
            gap: None,
        };
    };
    let ids = reached.topic.as_ref().zip(now.topic.as_ref());
    let (is_other, is_same) = ids.map_or((false, false), |(was, is)| (was != is, was == is));
    let next = reached.next;
    let gone = |reached, gap| Begin {
        reached,
        verify: None,
        gap: Some(gap),
    };
    let contradicted = next > now.end || last == Last::Replaced;
    if is_other || (contradicted && !is_same) {
        let gap = Gap::OtherTopic { reached: next };
        return gone(reached.renewed(now.first, now), gap);
    }
    if next > now.end {
        let (reached, end) = (reached.renewed(now.end, now), now.end);
        return gone(reached, Gap::CutOff { reached: next, end });
    }
    if last == Last::Replaced {
        let next = next.max(now.first);
        let gap = Gap::Rewritten { reached: next };
        return gone(reached.renewed(next, now), gap);
    }
    let topic = now.topic.clone().or_else(|| reached.topic.clone());
    if let Ok(lost @ 1..) = u64::try_from(now.first - next) {
        let reached = Reached {
            next: now.first,
            topic,
            last: None,
            ..*reached
        };
        let resumed_at = now.first;
        return gone(reached, Gap::Expired { lost, resumed_at });
    }
    let is_there = |last: &Fingerprint| (now.first..now.end).contains(&last.offset);
    Begin {
        reached: Reached {
            topic,
            ..reached.clone()
        },
        verify: reached.last.filter(is_there),
        gap: None,
    }
}

impl fmt::Display for Gap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Expired { lost, resumed_at } => write!(
                f,
                "the cluster has dropped {lost} records before they were copied; reading goes on at offset {resumed_at}"
            ),
            Self::OtherTopic { reached } => write!(
                f,
                "the topic is not the one of which offset {reached} was reached: what was not copied of that is lost, and this one is read from its beginning"
            ),
            Self::CutOff { reached, end } => write!(
                f,
                "the cluster has lost records: offset {reached} was reached, and the partition ends at {end}, where reading goes on"
            ),
            Self::Rewritten { reached } => write!(
                f,
                "the cluster has lost records and written others in their places; reading goes on at offset {reached}, and of those below none is copied"
            ),
        }
    }
}

#[cfg(test)]
mod tests;
