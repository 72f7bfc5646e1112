//! What the server and a worker say to each other: frames over one connection.
//!
//! A frame is its length (four bytes, little endian, what follows it) and a body: one byte that says
//! what it is, and its fields. Numbers are little endian; text and bytes have their length before
//! them. Both ends are of one build, which the worker's [`Report::Hello`] shows.
//!
//! A worker is somebody else's code as soon as its engine has a bug: whatever it sends is read with
//! bounds, and believed only of the invocation that it names.

use std::time::Duration;

use bytes::{Buf, BufMut, Bytes, BytesMut};

/// The longest frame, in bytes: a compiled module, or a response with its log.
pub const MAX_FRAME: usize = 512 << 20;

/// What the server asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Order {
    /// Compile the module or component at this path, of the worker's own root. Answered by [`Report::Compiled`] or
    /// [`Report::Refused`].
    Compile {
        /// Absolute.
        path: String,
    },
    /// Make a compiled module ready to run. Answered by [`Report::Loaded`].
    Load {
        /// By which it is named from now on.
        module: u32,
        /// The artifact's path, absolute, of the worker's own root.
        artifact: String,
        /// How much linear memory an instance may have, in bytes.
        memory: u64,
        /// How long an invocation may take.
        timeout: Duration,
        /// What every instance finds in its environment, `NAME=value`.
        environment: Vec<String>,
    },
    /// Forget a module. What runs goes on.
    Unload {
        /// Which one.
        module: u32,
    },
    /// Run a loaded module once, on a fresh instance. Answered by [`Report::Done`], after any number
    /// of [`Report::Log`].
    Invoke {
        /// By which the invocation is named; never used again.
        id: u64,
        /// Of which module.
        module: u32,
        /// What this instance finds in its environment besides, `NAME=value`.
        environment: Vec<String>,
        /// What it reads from its standard input, or is handed.
        event: Bytes,
    },
    /// End an invocation; nothing more is said of it. One that has ended is not there any more.
    Cancel {
        /// Which one.
        id: u64,
    },
}

/// What a worker answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Report {
    /// First of all.
    Hello {
        /// The engine's version and settings, as a file name: artifacts of equal ones are exchangeable.
        engine: String,
    },
    /// A module has been compiled.
    Compiled {
        /// What [`Order::Load`] reads.
        artifact: Bytes,
    },
    /// A module cannot be a function.
    Refused {
        /// Why, for its author.
        reason: String,
    },
    /// [`Order::Load`] has been carried out, or not.
    Loaded {
        /// Which module.
        module: u32,
        /// Why not.
        error: Option<String>,
    },
    /// What an invocation has printed to its standard error, as it came.
    Log {
        /// Which invocation.
        id: u64,
        /// Not always whole lines.
        text: Bytes,
    },
    /// An invocation has ended.
    Done {
        /// Which one.
        id: u64,
        /// How.
        ending: Ending,
        /// What it took, instantiation included.
        duration: Duration,
        /// The most linear memory that it has had, in bytes.
        memory: u64,
        /// How many bytes of its log were left out, because there were too many.
        unlogged: u64,
        /// The rest of what it printed to its standard error.
        log: Bytes,
        /// How many bytes it wrote to its standard output or returned, of which `output` has the first
        /// [`crate::MAX_RESPONSE_BYTES`].
        written: u64,
        /// What it wrote to its standard output or returned.
        output: Bytes,
    },
}

/// How an instance ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ending {
    /// With this status; zero when it has returned.
    Exit(u32),
    /// It has returned an error, which is its output.
    Failed,
    /// It has not kept to the interface of its kind, in these words.
    Broken(String),
    /// By a trap.
    Trap(String),
    /// It was refused memory beyond the function's, and has ended because of it.
    OutOfMemory,
    /// It was refused memory because the worker has no more.
    Crowded,
    /// It took too long.
    Timeout,
    /// It could not be started.
    NotStarted(String),
}

/// Why a frame could not be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Malformed {
    /// Longer than [`MAX_FRAME`].
    #[error("a frame of {0} bytes is too long")]
    TooLong(usize),
    /// A field is missing, or is not what it should be.
    #[error("a frame of kind {0} is not what it should be")]
    Body(u8),
}

/// A frame that waits in `buffer`, taken out of it; `None` while it is not whole.
///
/// # Errors
/// When it is longer than any frame may be.
pub fn take_frame(buffer: &mut BytesMut) -> Result<Option<Bytes>, Malformed> {
    let Some(length) = buffer.first_chunk::<4>() else {
        return Ok(None);
    };
    let length = u32::from_le_bytes(*length) as usize;
    if length > MAX_FRAME {
        return Err(Malformed::TooLong(length));
    }
    if buffer.len() - 4 < length {
        buffer.reserve(4 + length - buffer.len());
        return Ok(None);
    }
    buffer.advance(4);
    Ok(Some(buffer.split_to(length).freeze()))
}

/// Whether a frame of this many bytes of payload can be sent.
#[must_use]
pub const fn fits(bytes: usize) -> bool {
    bytes < MAX_FRAME - (1 << 20)
}

impl Order {
    /// Appends the frame to `buffer`.
    pub fn write(&self, buffer: &mut BytesMut) {
        frame(buffer, |buffer| match self {
            Self::Compile { path } => {
                buffer.put_u8(1);
                put_text(buffer, path);
            }
            Self::Load {
                module,
                artifact,
                memory,
                timeout,
                environment,
            } => {
                buffer.put_u8(2);
                buffer.put_u32_le(*module);
                put_text(buffer, artifact);
                buffer.put_u64_le(*memory);
                put_duration(buffer, *timeout);
                put_texts(buffer, environment);
            }
            Self::Unload { module } => {
                buffer.put_u8(3);
                buffer.put_u32_le(*module);
            }
            Self::Invoke {
                id,
                module,
                environment,
                event,
            } => {
                buffer.put_u8(4);
                buffer.put_u64_le(*id);
                buffer.put_u32_le(*module);
                put_texts(buffer, environment);
                put_bytes(buffer, event);
            }
            Self::Cancel { id } => {
                buffer.put_u8(5);
                buffer.put_u64_le(*id);
            }
        });
    }

    /// Reads the body of a frame.
    ///
    /// # Errors
    /// When it is none of ours.
    pub fn read(body: Bytes) -> Result<Self, Malformed> {
        read(body, |kind, fields| {
            Some(match kind {
                1 => Self::Compile {
                    path: fields.text()?,
                },
                2 => Self::Load {
                    module: fields.small()?,
                    artifact: fields.text()?,
                    memory: fields.number()?,
                    timeout: fields.duration()?,
                    environment: fields.texts()?,
                },
                3 => Self::Unload {
                    module: fields.small()?,
                },
                4 => Self::Invoke {
                    id: fields.number()?,
                    module: fields.small()?,
                    environment: fields.texts()?,
                    event: fields.bytes()?,
                },
                5 => Self::Cancel {
                    id: fields.number()?,
                },
                _ => return None,
            })
        })
    }
}

impl Report {
    /// Appends the frame to `buffer`.
    pub fn write(&self, buffer: &mut BytesMut) {
        frame(buffer, |buffer| match self {
            Self::Hello { engine } => {
                buffer.put_u8(1);
                put_text(buffer, engine);
            }
            Self::Compiled { artifact } => {
                buffer.put_u8(2);
                put_bytes(buffer, artifact);
            }
            Self::Refused { reason } => {
                buffer.put_u8(3);
                put_text(buffer, reason);
            }
            Self::Loaded { module, error } => {
                buffer.put_u8(4);
                buffer.put_u32_le(*module);
                put_texts(buffer, error.as_slice());
            }
            Self::Log { id, text } => {
                buffer.put_u8(5);
                buffer.put_u64_le(*id);
                put_bytes(buffer, text);
            }
            Self::Done {
                id,
                ending,
                duration,
                memory,
                unlogged,
                log,
                written,
                output,
            } => {
                buffer.put_u8(6);
                buffer.put_u64_le(*id);
                ending.write(buffer);
                put_duration(buffer, *duration);
                buffer.put_u64_le(*memory);
                buffer.put_u64_le(*unlogged);
                put_bytes(buffer, log);
                buffer.put_u64_le(*written);
                put_bytes(buffer, output);
            }
        });
    }

    /// Reads the body of a frame.
    ///
    /// # Errors
    /// When it is none of ours.
    pub fn read(body: Bytes) -> Result<Self, Malformed> {
        read(body, |kind, fields| {
            Some(match kind {
                1 => Self::Hello {
                    engine: fields.text()?,
                },
                2 => Self::Compiled {
                    artifact: fields.bytes()?,
                },
                3 => Self::Refused {
                    reason: fields.text()?,
                },
                4 => Self::Loaded {
                    module: fields.small()?,
                    error: fields.texts()?.pop(),
                },
                5 => Self::Log {
                    id: fields.number()?,
                    text: fields.bytes()?,
                },
                6 => Self::Done {
                    id: fields.number()?,
                    ending: Ending::read(fields)?,
                    duration: fields.duration()?,
                    memory: fields.number()?,
                    unlogged: fields.number()?,
                    log: fields.bytes()?,
                    written: fields.number()?,
                    output: fields.bytes()?,
                },
                _ => return None,
            })
        })
    }
}

impl Ending {
    fn write(&self, buffer: &mut BytesMut) {
        let (kind, status, text) = match self {
            Self::Exit(status) => (1, *status, ""),
            Self::Trap(text) => (2, 0, text.as_str()),
            Self::OutOfMemory => (3, 0, ""),
            Self::Crowded => (4, 0, ""),
            Self::Timeout => (5, 0, ""),
            Self::NotStarted(text) => (6, 0, text.as_str()),
            Self::Failed => (7, 0, ""),
            Self::Broken(text) => (8, 0, text.as_str()),
        };
        buffer.put_u8(kind);
        buffer.put_u32_le(status);
        put_text(buffer, text);
    }

    fn read(fields: &mut Fields) -> Option<Self> {
        let kind = fields.0.try_get_u8().ok()?;
        let (status, text) = (fields.small()?, fields.text()?);
        Some(match kind {
            1 => Self::Exit(status),
            2 => Self::Trap(text),
            3 => Self::OutOfMemory,
            4 => Self::Crowded,
            5 => Self::Timeout,
            6 => Self::NotStarted(text),
            7 => Self::Failed,
            8 => Self::Broken(text),
            _ => return None,
        })
    }
}

/// Puts the length before what `write` appends.
fn frame(buffer: &mut BytesMut, write: impl FnOnce(&mut BytesMut)) {
    let start = buffer.len();
    buffer.put_u32_le(0);
    write(buffer);
    let length = size(buffer.len() - start - 4);
    buffer[start..start + 4].copy_from_slice(&length.to_le_bytes());
}

fn size(bytes: usize) -> u32 {
    u32::try_from(bytes).expect("frames are bounded by their writers")
}

fn put_bytes(buffer: &mut BytesMut, bytes: &[u8]) {
    buffer.put_u32_le(size(bytes.len()));
    buffer.put_slice(bytes);
}

fn put_text(buffer: &mut BytesMut, text: &str) {
    put_bytes(buffer, text.as_bytes());
}

fn put_texts(buffer: &mut BytesMut, texts: &[String]) {
    buffer.put_u32_le(size(texts.len()));
    for text in texts {
        put_text(buffer, text);
    }
}

fn put_duration(buffer: &mut BytesMut, duration: Duration) {
    buffer.put_u64_le(u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX));
}

/// A frame's body, read from its front.
struct Fields(Bytes);

fn read<T>(body: Bytes, fields: impl FnOnce(u8, &mut Fields) -> Option<T>) -> Result<T, Malformed> {
    let mut rest = Fields(body);
    let kind = rest.0.try_get_u8().map_err(|_| Malformed::Body(0))?;
    match fields(kind, &mut rest) {
        Some(it) if rest.0.is_empty() => Ok(it),
        Some(_) | None => Err(Malformed::Body(kind)),
    }
}

impl Fields {
    fn small(&mut self) -> Option<u32> {
        self.0.try_get_u32_le().ok()
    }

    fn number(&mut self) -> Option<u64> {
        self.0.try_get_u64_le().ok()
    }

    fn duration(&mut self) -> Option<Duration> {
        self.number().map(Duration::from_nanos)
    }

    fn bytes(&mut self) -> Option<Bytes> {
        let length = self.small()? as usize;
        (length <= self.0.len()).then(|| self.0.split_to(length))
    }

    fn text(&mut self) -> Option<String> {
        String::from_utf8(self.bytes()?.into()).ok()
    }

    fn texts(&mut self) -> Option<Vec<String>> {
        // Each takes four bytes at least, so that no count makes room for more than there is.
        let count = self.small()? as usize;
        if count > self.0.len() / 4 {
            return None;
        }
        (0..count).map(|_| self.text()).collect()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn bytes() -> impl Strategy<Value = Bytes> {
        proptest::collection::vec(any::<u8>(), 0..50).prop_map(Bytes::from)
    }

    fn texts() -> impl Strategy<Value = Vec<String>> {
        proptest::collection::vec(".*", 0..4)
    }

    fn duration() -> impl Strategy<Value = Duration> {
        any::<u64>().prop_map(Duration::from_nanos)
    }

    fn order() -> impl Strategy<Value = Order> {
        prop_oneof![
            ".*".prop_map(|path| Order::Compile { path }),
            (any::<u32>(), ".*", any::<u64>(), duration(), texts()).prop_map(
                |(module, artifact, memory, timeout, environment)| Order::Load {
                    module,
                    artifact,
                    memory,
                    timeout,
                    environment,
                }
            ),
            any::<u32>().prop_map(|module| Order::Unload { module }),
            (any::<u64>(), any::<u32>(), texts(), bytes()).prop_map(
                |(id, module, environment, event)| Order::Invoke {
                    id,
                    module,
                    environment,
                    event,
                }
            ),
            any::<u64>().prop_map(|id| Order::Cancel { id }),
        ]
    }

    fn ending() -> impl Strategy<Value = Ending> {
        prop_oneof![
            any::<u32>().prop_map(Ending::Exit),
            ".*".prop_map(Ending::Trap),
            Just(Ending::OutOfMemory),
            Just(Ending::Crowded),
            Just(Ending::Timeout),
            ".*".prop_map(Ending::NotStarted),
            Just(Ending::Failed),
            ".*".prop_map(Ending::Broken),
        ]
    }

    fn report() -> impl Strategy<Value = Report> {
        let numbers = (any::<u64>(), any::<u64>(), any::<u64>(), any::<u64>());
        prop_oneof![
            ".*".prop_map(|engine| Report::Hello { engine }),
            bytes().prop_map(|artifact| Report::Compiled { artifact }),
            ".*".prop_map(|reason| Report::Refused { reason }),
            (any::<u32>(), proptest::option::of(".*"))
                .prop_map(|(module, error)| Report::Loaded { module, error }),
            (any::<u64>(), bytes()).prop_map(|(id, text)| Report::Log { id, text }),
            (numbers, ending(), duration(), bytes(), bytes()).prop_map(
                |((id, memory, unlogged, written), ending, duration, log, output)| {
                    Report::Done {
                        id,
                        ending,
                        duration,
                        memory,
                        unlogged,
                        log,
                        written,
                        output,
                    }
                }
            ),
        ]
    }

    proptest! {
        #[test]
        fn orders_and_reports_are_read_as_they_were_written(order in order(), report in report()) {
            let mut buffer = BytesMut::new();
            order.write(&mut buffer);
            report.write(&mut buffer);
            let mut next = || take_frame(&mut buffer).unwrap().unwrap();
            prop_assert_eq!(Order::read(next()), Ok(order));
            prop_assert_eq!(Report::read(next()), Ok(report));
            prop_assert_eq!(take_frame(&mut buffer), Ok(None));
        }

        #[test]
        fn a_frame_that_is_cut_short_or_made_up_is_refused(
            report in report(), cut in any::<prop::sample::Index>(), noise in bytes(),
        ) {
            let mut buffer = BytesMut::new();
            report.write(&mut buffer);
            let body = take_frame(&mut buffer).unwrap().unwrap();
            prop_assert!(Report::read(body.slice(..cut.index(body.len()))).is_err());
            // Whatever it is, it is read without a panic.
            let _ = (Report::read(noise.clone()), Order::read(noise));
        }
    }

    #[test]
    fn a_frame_longer_than_any_is_refused_before_there_is_room_for_it() {
        let mut buffer = BytesMut::from(&u32::MAX.to_le_bytes()[..]);
        assert_eq!(
            take_frame(&mut buffer),
            Err(Malformed::TooLong(u32::MAX as usize))
        );
    }
}
