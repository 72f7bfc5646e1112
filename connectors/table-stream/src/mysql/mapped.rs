//! A table as the log describes it before its rows.
//!
//! With `binlog_row_metadata = FULL` the description is complete: names, signs, character sets, words of
//! enumerations and keys are those of the moment at which the rows were written, whatever the table
//! has become since.

use std::sync::Arc;

use bytes::Bytes;
use event_log::TopicName;

use super::charset::{Charset, Charsets};
use super::event::{Parts, TooShort};
use super::row::Shape;
use super::value::Kind;
use crate::Naming;
use crate::change::TableName;
use crate::table::{Column, Part, Table};

/// A table and how its rows are packed.
#[derive(Debug)]
pub(super) struct Mapped {
    pub(super) table: Arc<Table<Kind>>,
    pub(super) shapes: Vec<Shape>,
}

#[derive(Debug, thiserror::Error)]
pub(super) enum Unmapped {
    #[error("{0}")]
    TooShort(#[from] TooShort),
    #[error("rows of {0} without the names of its columns (binlog_row_metadata was not FULL)")]
    Nameless(TableName),
    #[error("{table}.{column}, whose type ({kind}) is not supported")]
    Type {
        table: TableName,
        column: String,
        kind: String,
    },
    #[error("{0}, which cannot name a topic")]
    Topic(TableName),
}

/// Which table a description is of, by the number that rows name it by.
pub(super) fn named(body: &[u8]) -> Result<(u64, TableName), TooShort> {
    let mut parts = Parts(body);
    let id = parts.number(6)?;
    parts.take(2)?;
    Ok((id, table_name(&mut parts)?))
}

fn table_name(parts: &mut Parts<'_>) -> Result<TableName, TooShort> {
    let mut name = || {
        let count = usize::from(parts.u8()?);
        let text = String::from_utf8_lossy(parts.take(count)?).into_owned();
        parts.take(1)?;
        Ok(text)
    };
    Ok(TableName {
        schema: name()?,
        name: name()?,
    })
}

/// What is told of columns beside their types; numbers count the columns of a class.
#[derive(Default)]
struct Told {
    unsigned: Vec<u8>,
    charsets: Collations,
    word_charsets: Collations,
    names: Vec<String>,
    set_words: Vec<Vec<Bytes>>,
    enum_words: Vec<Vec<Bytes>>,
    key: Vec<usize>,
}

#[derive(Default)]
struct Collations {
    default: Option<u32>,
    by_column: Vec<(usize, u32)>,
}

impl Collations {
    fn of(&self, column: usize) -> Option<u32> {
        let own = self.by_column.iter().find(|(place, _)| *place == column);
        own.map(|(_, collation)| *collation).or(self.default)
    }
}

impl Mapped {
    /// Reads a description.
    pub(super) fn read(
        body: &[u8],
        charsets: &Charsets,
        naming: &Naming,
    ) -> Result<Self, Unmapped> {
        let mut parts = Parts(body);
        parts.take(8)?;
        let name = table_name(&mut parts)?;
        let count = parts.counted()?;
        let types = parts.take(count)?;
        let mut details = Parts(parts.counted_bytes()?);
        parts.take(count.div_ceil(8))?;
        let told = told(parts)?;
        if told.names.len() != count {
            return Err(Unmapped::Nameless(name));
        }
        let mut place = Places::default();
        let mut shapes = Vec::with_capacity(count);
        let mut columns = Vec::with_capacity(count);
        for (index, (code, column)) in types.iter().zip(&told.names).enumerate() {
            let refused = |kind: String| Unmapped::Type {
                table: name.clone(),
                column: column.clone(),
                kind,
            };
            let shape = shape(*code, &mut details, &mut place, &told, charsets)?;
            let shape = shape.map_err(refused)?;
            let part = match told.key.contains(&index) || told.key.is_empty() {
                true => Part::Key,
                false => Part::Plain,
            };
            columns.push(Column {
                name: column.clone(),
                kind: shape.kind(),
                part,
            });
            shapes.push(shape);
        }
        let topic: Result<TopicName, _> = naming.topic(&name);
        let topic = topic.map_err(|_| Unmapped::Topic(name.clone()))?;
        let table = Arc::new(Table {
            name,
            topic,
            columns,
        });
        Ok(Self { table, shapes })
    }
}

/// How many columns of each class there were before.
#[derive(Default)]
struct Places {
    numeric: usize,
    character: usize,
    words: usize,
    sets: usize,
    enums: usize,
}

impl Places {
    fn next(place: &mut usize) -> usize {
        *place += 1;
        *place - 1
    }
}

/// How values of a type are packed, or the name of a type that is not supported.
fn shape(
    code: u8,
    details: &mut Parts<'_>,
    place: &mut Places,
    told: &Told,
    charsets: &Charsets,
) -> Result<Result<Shape, String>, TooShort> {
    let charset = |collation: Option<u32>| -> Result<Charset, String> {
        let charset = charsets.of(collation.ok_or("text without a character set")?);
        charset.map_err(|name| format!("text in {name}"))
    };
    let mut unsigned = || {
        let index = Places::next(&mut place.numeric);
        let byte = told.unsigned.get(index / 8).copied().unwrap_or(0);
        byte & (0x80 >> (index % 8)) != 0
    };
    let whole = |bytes, unsigned| match unsigned {
        true => Shape::Unsigned { bytes },
        false => Shape::Signed { bytes },
    };
    Ok(Ok(match code {
        1 => whole(1, unsigned()),
        2 => whole(2, unsigned()),
        9 => whole(3, unsigned()),
        3 => whole(4, unsigned()),
        8 => whole(8, unsigned()),
        4 | 5 | 246 => {
            unsigned();
            match code {
                4 => {
                    details.u8()?;
                    Shape::Float
                }
                5 => {
                    details.u8()?;
                    Shape::Double
                }
                _ => Shape::Decimal {
                    digits: usize::from(details.u8()?),
                    scale: usize::from(details.u8()?),
                },
            }
        }
        13 => {
            // A number to the server, with a sign that is told, too.
            unsigned();
            Shape::Year
        }
        10 | 14 => Shape::Date,
        7 => Shape::OldTimestamp,
        11 => Shape::OldTime,
        12 => Shape::OldDateTime,
        17 => Shape::Timestamp {
            fraction: usize::from(details.u8()?),
        },
        18 => Shape::DateTime {
            fraction: usize::from(details.u8()?),
        },
        19 => Shape::Time {
            fraction: usize::from(details.u8()?),
        },
        16 => {
            let (bits, bytes) = (usize::from(details.u8()?), usize::from(details.u8()?));
            Shape::Bits {
                bytes: bytes + bits.div_ceil(8),
            }
        }
        15 | 253 => {
            let most = usize::from(details.u16()?);
            let collation = told.charsets.of(Places::next(&mut place.character));
            match charset(collation) {
                Ok(charset) => Shape::Text {
                    count_bytes: if most < 256 { 1 } else { 2 },
                    padded_to: None,
                    charset,
                },
                Err(kind) => return Ok(Err(kind)),
            }
        }
        252 => {
            let count_bytes = usize::from(details.u8()?);
            let collation = told.charsets.of(Places::next(&mut place.character));
            match charset(collation) {
                Ok(charset) => Shape::Text {
                    count_bytes,
                    padded_to: None,
                    charset,
                },
                Err(kind) => return Ok(Err(kind)),
            }
        }
        245 => {
            details.u8()?;
            Shape::Json
        }
        254 | 247 | 248 => {
            let (real, low) = (details.u8()?, details.u8()?);
            match real {
                247 | 248 => {
                    let collation = told.word_charsets.of(Places::next(&mut place.words));
                    let charset = match charset(collation) {
                        Ok(charset) => charset,
                        Err(kind) => return Ok(Err(kind)),
                    };
                    let (lists, index) = match real {
                        247 => (&told.enum_words, Places::next(&mut place.enums)),
                        _ => (&told.set_words, Places::next(&mut place.sets)),
                    };
                    let words = lists.get(index).ok_or(TooShort)?;
                    let words = words.iter().map(|word| charset.text(word)).collect();
                    let bytes = usize::from(low);
                    match real {
                        247 => Shape::Enum { bytes, words },
                        _ => Shape::Set { bytes, words },
                    }
                }
                _ => {
                    // Two bits of the length are in the type, turned over.
                    let most = usize::from(low) | usize::from((real & 0x30) ^ 0x30) << 4;
                    let collation = told.charsets.of(Places::next(&mut place.character));
                    match charset(collation) {
                        Ok(charset) => Shape::Text {
                            count_bytes: if most < 256 { 1 } else { 2 },
                            padded_to: Some(most),
                            charset,
                        },
                        Err(kind) => return Ok(Err(kind)),
                    }
                }
            }
        }
        255 => return Ok(Err("geometry".to_owned())),
        242 => return Ok(Err("vector".to_owned())),
        140 | 141 => return Ok(Err("a compressed column".to_owned())),
        other => return Ok(Err(format!("number {other}"))),
    }))
}

fn told(mut parts: Parts<'_>) -> Result<Told, TooShort> {
    let mut told = Told::default();
    while !parts.0.is_empty() {
        let field = parts.u8()?;
        let bytes = parts.counted_bytes()?;
        let mut of = Parts(bytes);
        match field {
            1 => told.unsigned = bytes.to_vec(),
            2 | 10 => {
                let mut collations = Collations {
                    default: Some(collation(&mut of)?),
                    by_column: Vec::new(),
                };
                while !of.0.is_empty() {
                    let column = of.counted()?;
                    collations.by_column.push((column, collation(&mut of)?));
                }
                *told.collations(field == 2) = collations;
            }
            3 | 11 => {
                let mut collations = Collations::default();
                while !of.0.is_empty() {
                    let column = collations.by_column.len();
                    collations.by_column.push((column, collation(&mut of)?));
                }
                *told.collations(field == 3) = collations;
            }
            4 => {
                while !of.0.is_empty() {
                    let name = String::from_utf8_lossy(of.counted_bytes()?);
                    told.names.push(name.into_owned());
                }
            }
            5 => told.set_words = word_lists(of)?,
            6 => told.enum_words = word_lists(of)?,
            8 => {
                while !of.0.is_empty() {
                    told.key.push(of.counted()?);
                }
            }
            9 => {
                while !of.0.is_empty() {
                    told.key.push(of.counted()?);
                    of.counted()?;
                }
            }
            // Kinds of geometry, visibility, and what is to come.
            _ => {}
        }
    }
    Ok(told)
}

impl Told {
    fn collations(&mut self, of_text: bool) -> &mut Collations {
        match of_text {
            true => &mut self.charsets,
            false => &mut self.word_charsets,
        }
    }
}

fn collation(parts: &mut Parts<'_>) -> Result<u32, TooShort> {
    u32::try_from(parts.counted()?).map_err(|_| TooShort)
}

fn word_lists(mut parts: Parts<'_>) -> Result<Vec<Vec<Bytes>>, TooShort> {
    let mut lists = Vec::new();
    while !parts.0.is_empty() {
        let count = parts.counted()?;
        let mut words = Vec::new();
        for _ in 0..count {
            words.push(Bytes::copy_from_slice(parts.counted_bytes()?));
        }
        lists.push(words);
    }
    Ok(lists)
}
