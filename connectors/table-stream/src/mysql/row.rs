//! Rows as the log packs them, to the text that the server would write for them.

use bytes::Bytes;
use mysql_async::binlog::jsonb;
use mysql_async::binlog::value::BinlogValue;
use mysql_common::io::ParseBuf;

use super::charset::Charset;
use super::event::{Parts, RowChange, RowLayout, Rows, TooShort};
use super::mapped::Mapped;
use super::value::Kind;
use crate::table::{Cell, Tuple};

/// How the values of a column are packed.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Shape {
    Signed {
        bytes: usize,
    },
    Unsigned {
        bytes: usize,
    },
    Float,
    Double,
    Decimal {
        digits: usize,
        scale: usize,
    },
    Year,
    Date,
    /// Times without fractions, as they were packed before 2013.
    OldTime,
    OldDateTime,
    OldTimestamp,
    Time {
        fraction: usize,
    },
    DateTime {
        fraction: usize,
    },
    Timestamp {
        fraction: usize,
    },
    Bits {
        bytes: usize,
    },
    Text {
        /// Bytes of the count before it.
        count_bytes: usize,
        /// Bytes of a column of fixed length, whose padding is not packed.
        padded_to: Option<usize>,
        charset: Charset,
    },
    Json,
    Enum {
        bytes: usize,
        words: Vec<Bytes>,
    },
    Set {
        bytes: usize,
        words: Vec<Bytes>,
    },
}

#[derive(Debug, thiserror::Error)]
pub(super) enum RowError {
    #[error("{0}")]
    TooShort(#[from] TooShort),
    #[error("rows without all of their columns (binlog_row_image was not FULL)")]
    Partial,
    #[error("rows of {found} columns for a table of {expected}")]
    Width { found: usize, expected: usize },
    #[error("a JSON document that cannot be read")]
    Json,
}

/// A row before and after a change.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Images {
    pub(super) before: Option<Tuple>,
    pub(super) after: Option<Tuple>,
    /// Where in the packet's body it begins.
    pub(super) offset: usize,
}

/// Rows of one packet that are read one by one.
#[derive(Debug)]
pub(super) struct Reading<'a> {
    parts: Parts<'a>,
    whole: usize,
    change: RowChange,
    shapes: &'a [Shape],
}

/// The number of the table whose rows a packet has.
pub(super) fn table_of(body: &[u8]) -> Result<u64, TooShort> {
    Parts(body).number(6)
}

impl<'a> Reading<'a> {
    pub(super) fn begin(body: &'a [u8], rows: Rows, mapped: &'a Mapped) -> Result<Self, RowError> {
        let mut parts = Parts(body);
        parts.take(8)?;
        match rows.layout {
            RowLayout::First => {}
            RowLayout::Second => {
                let extra = usize::from(parts.u16()?);
                parts.take(extra.checked_sub(2).ok_or(TooShort)?)?;
            }
        }
        let found = parts.counted()?;
        let expected = mapped.shapes.len();
        if found != expected {
            return Err(RowError::Width { found, expected });
        }
        let images = match rows.change {
            RowChange::Update => 2,
            RowChange::Write | RowChange::Delete => 1,
        };
        for _ in 0..images {
            let present = parts.take(expected.div_ceil(8))?;
            if (0..expected).any(|column| !bit(present, column)) {
                return Err(RowError::Partial);
            }
        }
        Ok(Self {
            parts,
            whole: body.len(),
            change: rows.change,
            shapes: &mapped.shapes,
        })
    }

    /// The next row; none at the end.
    pub(super) fn next(&mut self) -> Result<Option<Images>, RowError> {
        if self.parts.0.is_empty() {
            return Ok(None);
        }
        let offset = self.whole - self.parts.0.len();
        let (before, after) = match self.change {
            RowChange::Write => (None, Some(self.image()?)),
            RowChange::Delete => (Some(self.image()?), None),
            RowChange::Update => (Some(self.image()?), Some(self.image()?)),
        };
        Ok(Some(Images {
            before,
            after,
            offset,
        }))
    }

    fn image(&mut self) -> Result<Tuple, RowError> {
        let nulls = self.parts.take(self.shapes.len().div_ceil(8))?;
        let shapes = self.shapes.iter().enumerate();
        shapes
            .map(|(column, shape)| match bit(nulls, column) {
                true => Ok(Cell::Null),
                false => shape.read(&mut self.parts).map(Cell::Text),
            })
            .collect()
    }
}

fn bit(bits: &[u8], place: usize) -> bool {
    bits.get(place / 8)
        .is_some_and(|byte| byte & (1 << (place % 8)) != 0)
}

impl Shape {
    /// How its text is read.
    pub(super) const fn kind(&self) -> Kind {
        match self {
            Self::Signed { .. }
            | Self::Unsigned { .. }
            | Self::Decimal { .. }
            | Self::Year
            | Self::Bits { .. } => Kind::Number,
            Self::Float => Kind::Float,
            Self::Double => Kind::Double,
            Self::Date
            | Self::OldTime
            | Self::OldDateTime
            | Self::OldTimestamp
            | Self::Time { .. }
            | Self::DateTime { .. }
            | Self::Timestamp { .. }
            | Self::Enum { .. }
            | Self::Set { .. } => Kind::Text,
            Self::Text { charset, .. } => match charset {
                Charset::Binary => Kind::Bytes,
                Charset::Utf8
                | Charset::Utf16
                | Charset::Utf16Little
                | Charset::Utf32
                | Charset::Single(_) => Kind::Text,
            },
            Self::Json => Kind::Json,
        }
    }

    fn read(&self, parts: &mut Parts<'_>) -> Result<Bytes, RowError> {
        Ok(match self {
            Self::Signed { bytes } => {
                let number = parts.number(*bytes)?;
                let unused = 64 - 8 * *bytes;
                ((number << unused).cast_signed() >> unused)
                    .to_string()
                    .into()
            }
            Self::Unsigned { bytes } => parts.number(*bytes)?.to_string().into(),
            Self::Float => f64::from(f32::from_bits(parts.u32()?)).to_string().into(),
            Self::Double => f64::from_bits(parts.number(8)?).to_string().into(),
            Self::Decimal { digits, scale } => decimal(parts, *digits, *scale)?.into(),
            Self::Year => match parts.u8()? {
                0 => Bytes::from_static(b"0"),
                year => (1900 + u32::from(year)).to_string().into(),
            },
            Self::Date => {
                let packed = parts.number(3)?;
                let (day, month, year) = (packed & 31, packed >> 5 & 15, packed >> 9);
                format!("{year:04}-{month:02}-{day:02}").into()
            }
            Self::OldTime => {
                let number = parts.number(3)?;
                let number = (number << 40).cast_signed() >> 40;
                let (sign, number) = (sign(number < 0), number.unsigned_abs());
                let (hours, minutes, seconds) = (number / 10_000, number / 100 % 100, number % 100);
                format!("{sign}{hours:02}:{minutes:02}:{seconds:02}").into()
            }
            Self::OldDateTime => {
                let number = parts.number(8)?;
                let (date, time) = (number / 1_000_000, number % 1_000_000);
                format!(
                    "{:04}-{:02}-{:02} {:02}:{:02}:{:02}",
                    date / 10_000,
                    date / 100 % 100,
                    date % 100,
                    time / 10_000,
                    time / 100 % 100,
                    time % 100
                )
                .into()
            }
            Self::OldTimestamp => timestamp(u64::from(parts.u32()?), "").into(),
            Self::Time { fraction } => time(parts, *fraction)?.into(),
            Self::DateTime { fraction } => {
                let packed = big_endian(parts.take(5)?) - (1 << 39);
                let (date, time) = (packed >> 17, packed & 0x1_FFFF);
                let (months, day) = (date >> 5, date & 31);
                let (year, month) = (months / 13, months % 13);
                let (hour, minute, second) = (time >> 12, time >> 6 & 63, time & 63);
                let fraction = fractional(parts, *fraction)?;
                format!("{year:04}-{month:02}-{day:02} {hour:02}:{minute:02}:{second:02}{fraction}")
                    .into()
            }
            Self::Timestamp { fraction } => {
                let seconds = big_endian(parts.take(4)?).unsigned_abs();
                timestamp(seconds, &fractional(parts, *fraction)?).into()
            }
            Self::Bits { bytes } => {
                let bits = parts.take(*bytes)?;
                big_endian(bits).cast_unsigned().to_string().into()
            }
            Self::Text {
                count_bytes,
                padded_to,
                charset,
            } => {
                let count = usize::try_from(parts.number(*count_bytes)?).map_err(|_| TooShort)?;
                let bytes = parts.take(count)?;
                match (padded_to, charset) {
                    (Some(whole), Charset::Binary) => {
                        let mut padded = bytes.to_vec();
                        padded.resize((*whole).max(count), 0);
                        padded.into()
                    }
                    (_, charset) => charset.text(bytes),
                }
            }
            Self::Json => {
                let count = parts.u32()? as usize;
                json(parts.take(count)?)?.into()
            }
            Self::Enum { bytes, words } => {
                // The first word is number one; zero is what was no word.
                let number = usize::try_from(parts.number(*bytes)?).map_err(|_| TooShort)?;
                let word = number.checked_sub(1).and_then(|place| words.get(place));
                word.cloned().unwrap_or_default()
            }
            Self::Set { bytes, words } => {
                let members = parts.number(*bytes)?;
                let chosen = words.iter().enumerate();
                let chosen = chosen.filter(|(place, _)| members >> place & 1 == 1);
                let chosen: Vec<&[u8]> = chosen.map(|(_, word)| word.as_ref()).collect();
                chosen.join(&b","[..]).into()
            }
        })
    }
}

const fn sign(negative: bool) -> &'static str {
    if negative { "-" } else { "" }
}

/// A number of up to eight bytes; of eight, its bits.
fn big_endian(bytes: &[u8]) -> i64 {
    bytes
        .iter()
        .fold(0, |number, byte| number << 8 | i64::from(*byte))
}

/// Digits behind the point, with it; two to a byte.
fn fractional(parts: &mut Parts<'_>, digits: usize) -> Result<String, TooShort> {
    if digits == 0 {
        return Ok(String::new());
    }
    let bytes = digits.div_ceil(2);
    let number = big_endian(parts.take(bytes)?);
    let mut text = format!(".{number:0width$}", width = 2 * bytes);
    text.truncate(1 + digits);
    Ok(text)
}

/// Times are packed with an offset, so that their bytes have their order, the fraction as part of them.
fn time(parts: &mut Parts<'_>, digits: usize) -> Result<String, TooShort> {
    let bytes = digits.div_ceil(2);
    let packed = big_endian(parts.take(3 + bytes)?) - (1 << (23 + 8 * bytes));
    let (sign, packed) = (sign(packed < 0), packed.unsigned_abs());
    let whole = packed >> (8 * bytes);
    let (hours, minutes, seconds) = (whole >> 12 & 1023, whole >> 6 & 63, whole & 63);
    let mut text = format!("{sign}{hours:02}:{minutes:02}:{seconds:02}");
    if digits > 0 {
        let fraction = packed & ((1 << (8 * bytes)) - 1);
        text += &format!(".{fraction:0width$}", width = 2 * bytes)[..=digits];
    }
    Ok(text)
}

/// Seconds since the epoch in UTC; none at all is the date that is none.
fn timestamp(seconds: u64, fraction: &str) -> String {
    if seconds == 0 && fraction.trim_matches(['.', '0']).is_empty() {
        return format!("0000-00-00 00:00:00{fraction}");
    }
    let millis = i64::try_from(seconds).unwrap_or(0).saturating_mul(1000);
    let text = clock::Timestamp::from_millis(millis).to_rfc3339();
    let (date, time) = text.split_once('T').unwrap_or((&text, ""));
    let time = time.get(..8).unwrap_or(time);
    format!("{date} {time}{fraction}")
}

/// Nine digits to four bytes, what is left over to fewer, the sign in the first bit and all bits turned
/// over for what is below zero.
fn decimal(parts: &mut Parts<'_>, digits: usize, scale: usize) -> Result<String, TooShort> {
    const BYTES: [usize; 10] = [0, 1, 1, 2, 2, 3, 3, 4, 4, 4];
    let whole = digits.checked_sub(scale).ok_or(TooShort)?;
    let size = |digits: usize| digits / 9 * 4 + BYTES[digits % 9];
    let mut packed = parts.take(size(whole) + size(scale))?.to_vec();
    let first = packed.first_mut().ok_or(TooShort)?;
    let negative = *first & 0x80 == 0;
    *first ^= 0x80;
    if negative {
        packed.iter_mut().for_each(|byte| *byte = !*byte);
    }
    let mut rest = Parts(&packed);
    let mut group = |text: &mut String, digits: usize| -> Result<(), TooShort> {
        if digits > 0 {
            let number = big_endian(rest.take(BYTES[digits])?);
            *text += &format!("{number:0digits$}");
        }
        Ok(())
    };
    let mut integer = String::new();
    group(&mut integer, whole % 9)?;
    for _ in 0..whole / 9 {
        group(&mut integer, 9)?;
    }
    let mut fraction = String::new();
    for _ in 0..scale / 9 {
        group(&mut fraction, 9)?;
    }
    group(&mut fraction, scale % 9)?;
    let integer = match integer.trim_start_matches('0') {
        "" => "0",
        digits => digits,
    };
    let sign = sign(negative);
    Ok(match fraction.is_empty() {
        true => format!("{sign}{integer}"),
        false => format!("{sign}{integer}.{fraction}"),
    })
}

/// MySQL's own packing of documents.
fn json(packed: &[u8]) -> Result<String, RowError> {
    // An update that has made nothing of a document leaves it empty.
    if packed.is_empty() {
        return Ok("null".to_owned());
    }
    let value: jsonb::Value<'_> = ParseBuf(packed).parse(()).map_err(|_| RowError::Json)?;
    match mysql_async::Value::try_from(BinlogValue::Jsonb(value)) {
        Ok(mysql_async::Value::Bytes(bytes)) => {
            String::from_utf8(bytes).map_err(|_| RowError::Json)
        }
        Ok(_) | Err(_) => Err(RowError::Json),
    }
}

#[cfg(test)]
mod tests;
