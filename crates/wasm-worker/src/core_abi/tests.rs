//! Modules that say whatever they like.

use std::pin::pin;
use std::sync::LazyLock;
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use proptest::prelude::*;
use wasmtime::Engine;

use super::*;
use crate::entry::{Call, Given, World};
use crate::limits::{Budget, Limits};
use crate::module::{Entry, Imports};

static ENGINE: LazyLock<Engine> = LazyLock::new(|| crate::engine::new(16).unwrap());

const MEMORY_BYTES: u64 = 65_536;

/// What a module says, whatever it is asked.
#[derive(Clone, Copy, Debug)]
struct Says {
    /// Where the room for the event is.
    room: u32,
    /// The text that it logs.
    text: (u32, u32),
    answer: (u32, u32),
    is_error: bool,
}

impl Says {
    /// A module with a page of memory that says so.
    fn module(self) -> Vec<u8> {
        let low = self.answer.1 | u32::from(self.is_error) << 31;
        let answer = u64::from(self.answer.0) << 32 | u64::from(low);
        let mut alloc = vec![0];
        constant(&mut alloc, 0x41, i64::from(self.room.cast_signed()));
        alloc.push(0x0b);
        let mut handle = vec![0];
        constant(&mut handle, 0x41, i64::from(self.text.0.cast_signed()));
        constant(&mut handle, 0x41, i64::from(self.text.1.cast_signed()));
        handle.extend([0x10, 0]);
        constant(&mut handle, 0x42, answer.cast_signed());
        handle.push(0x0b);
        let (small, large, function) = (0x7f, 0x7e, 0x60);
        let types = [
            3, function, 2, small, small, 0, function, 1, small, 1, small, function, 2, small,
            small, 1, large,
        ];
        let mut imports = vec![1];
        name(&mut imports, MODULE);
        name(&mut imports, LOG);
        imports.extend([0, 0]);
        let mut exports = vec![3];
        for (exported, kind, index) in [(MEMORY, 2, 0), (ALLOC, 0, 1), (HANDLE, 0, 2)] {
            name(&mut exports, exported);
            exports.extend([kind, index]);
        }
        let mut code = vec![2];
        for body in [alloc, handle] {
            code.push(u8::try_from(body.len()).unwrap());
            code.extend(body);
        }
        let mut module = b"\0asm\x01\0\0\0".to_vec();
        for (id, section) in [
            (1, types.to_vec()),
            (2, imports),
            (3, vec![2, 1, 2]),
            (5, vec![1, 0, 1]),
            (7, exports),
            (10, code),
        ] {
            module.extend([id, u8::try_from(section.len()).unwrap()]);
            module.extend(section);
        }
        module
    }

    /// What comes of it.
    fn run(self, event: &[u8]) -> Result<(Said, Bytes), wasmtime::Error> {
        let module = Module::new(&ENGINE, self.module()).unwrap();
        let entry = Imports::new(&ENGINE).unwrap().entry(&module).unwrap();
        assert!(matches!(entry, Entry::Core(_)));
        let limits = Limits::new(u64::MAX, Budget::of(u64::MAX));
        let host = Host::new(Given {
            event: Bytes::copy_from_slice(event),
            environment: Vec::new(),
            limits,
            log: None,
        });
        let mut store = Store::new(&ENGINE, host);
        store.set_epoch_deadline(1);
        let said = {
            let call = pin!(entry.call(&mut store));
            match call.poll(&mut Context::from_waker(Waker::noop())) {
                Poll::Ready(said) => said?,
                Poll::Pending => panic!("it waits"),
            }
        };
        Ok((said, store.data_mut().take_output().1))
    }

    /// What must come of it.
    fn comes_to(self, event: &[u8]) -> Result<(Said, Bytes), Broken> {
        let length = u32::try_from(event.len()).unwrap();
        let fits = |(at, length)| u64::from(at) + u64::from(length) <= MEMORY_BYTES;
        if self.room == 0 && length > 0 {
            return Err(Broken::NoRoom(length));
        }
        if !fits((self.room, length)) {
            return Err(Broken::Room(self.room, length));
        }
        if !fits(self.text) {
            return Err(Broken::Text(self.text.0, self.text.1));
        }
        if !fits(self.answer) {
            return Err(Broken::Answer(self.answer.0, self.answer.1));
        }
        let mut memory = vec![0; usize::try_from(MEMORY_BYTES).unwrap()];
        memory[self.room as usize..][..event.len()].copy_from_slice(event);
        let answer = &memory[self.answer.0 as usize..][..self.answer.1 as usize];
        let said = if self.is_error {
            Said::Error
        } else {
            Said::Result
        };
        Ok((said, Bytes::copy_from_slice(answer)))
    }
}

fn constant(code: &mut Vec<u8>, instruction: u8, mut value: i64) {
    code.push(instruction);
    loop {
        let low = (value & 0x7f).to_le_bytes()[0];
        value >>= 7;
        if (value == 0 && low & 0x40 == 0) || (value == -1 && low & 0x40 != 0) {
            code.push(low);
            return;
        }
        code.push(low | 0x80);
    }
}

fn name(section: &mut Vec<u8>, name: &str) {
    section.push(u8::try_from(name.len()).unwrap());
    section.extend(name.as_bytes());
}

/// Numbers about the ends of the memory and of all that can be said, and any.
fn number() -> impl Strategy<Value = u32> {
    prop_oneof![
        0..40_u32,
        65_500..65_580_u32,
        u32::MAX - 40..=u32::MAX,
        (i32::MAX as u32 - 40)..=(i32::MAX as u32 + 40),
        any::<u32>(),
    ]
}

/// Likewise, as far as a length can be told in an answer.
fn length() -> impl Strategy<Value = u32> {
    number().prop_map(|length| length & !IS_ERROR)
}

fn says() -> impl Strategy<Value = Says> {
    let text = prop_oneof![Just((0, 0)), (number(), number())];
    (number(), text, (number(), length()), any::<bool>()).prop_map(
        |(room, text, answer, is_error)| Says {
            room,
            text,
            answer,
            is_error,
        },
    )
}

proptest! {
    #[test]
    fn whatever_a_module_says_only_its_memory_is_read_and_written(
        says in says(), event in proptest::collection::vec(any::<u8>(), 0..40),
    ) {
        let came = says.run(&event).map_err(|error| error.downcast::<Broken>().unwrap());
        prop_assert_eq!(came, says.comes_to(&event));
    }
}

#[test]
fn an_answer_is_what_lies_where_the_module_says() {
    let says = Says {
        room: 100,
        text: (0, 65_536),
        answer: (102, 3),
        is_error: false,
    };
    assert_eq!(says.run(b"abcdef").unwrap(), (Said::Result, "cde".into()));
    let error = Says {
        is_error: true,
        ..says
    };
    assert_eq!(error.run(b"abcdef").unwrap(), (Said::Error, "cde".into()));
}

#[test]
fn a_module_that_lacks_a_part_of_the_interface_is_refused_by_its_name() {
    let whole = Says {
        room: 1,
        text: (0, 0),
        answer: (0, 0),
        is_error: false,
    };
    let without = |name: &str| {
        let mut module = whole.module();
        let at = module
            .windows(name.len())
            .position(|it| it == name.as_bytes());
        module[at.unwrap()] = b'X';
        let module = Module::new(&ENGINE, module).unwrap();
        let refused = Imports::new(&ENGINE).unwrap().entry(&module);
        refused.err().unwrap()
    };
    assert!(without(HANDLE).contains("neither a WASI command"));
    assert!(without(ALLOC).contains("tidemill_alloc(i32) -> i32"));
    assert!(without(MEMORY).contains("exports no memory"));
    assert!(without(LOG).contains("imports tidemill.Xog, which is not there"));
}
