//! Packages of code: any bytes as a zip archive, and any names, kinds and contents in a sound one.
//!
//! Claims: nothing around the folder is read into it, changed or made; what is unpacked has no more
//! bytes, files and folders than the allowance, no devices, no rights beyond those of files and programs,
//! and links only that end inside; a refused archive never exceeds the allowance either, and nothing of
//! it is left once its folder is removed; the memory that it takes goes by the archive's length, not by
//! what it claims.

use std::io::{Cursor, Write as _};

use function::{Allowance, PackageError, unpack_within};
use zip::write::SimpleFileOptions;
use zip::{CompressionMethod, ZipWriter};

use crate::memory::most_held;
use crate::plan::{Plan, short};
use crate::yard::{HardLinks, Yard};

const ALLOWANCE: Allowance = Allowance {
    bytes: 4096,
    entries: 24,
};
/// Bytes of memory that unpacking takes, by itself and for each byte of an archive, whatever that claims:
/// room is made for 65,535 entries if an archive says that it has them.
const MEMORY: usize = 16 << 20;
const MEMORY_PER_BYTE: usize = 32;
/// Bytes of an entry for each byte of its plan, so that short plans make long files.
const SPREAD: usize = 64;
const LINK: u32 = 0o120_000;

thread_local! {
    static YARD: Yard = Yard::new();
}

pub(crate) fn run(data: &[u8]) {
    YARD.with(|yard| {
        let Some((kind, rest)) = data.split_first() else {
            return;
        };
        let archive = match kind {
            0 => rest.to_vec(),
            _ => archive(yard, &mut Plan::new(rest)),
        };
        let (unpacked, held) = most_held(|| unpack_within(&archive, &yard.inside(), ALLOWANCE));
        let most = MEMORY + MEMORY_PER_BYTE * archive.len();
        assert!(held <= most, "{held} bytes held for {}", archive.len());
        let found = yard.check(HardLinks::None);
        let most = match &unpacked {
            Ok(()) => {
                yard.links_stay_inside();
                ALLOWANCE.bytes
            }
            // One more is written to see that it is too many.
            Err(_) => ALLOWANCE.bytes + 1,
        };
        assert!(found.bytes <= most, "{found:?}");
        assert!(found.entries <= ALLOWANCE.entries as u64, "{found:?}");
        if let Err(PackageError::Io { path, source }) = &unpacked {
            panic!("an archive made the disk fail at {path:?}: {source}");
        }
        yard.clear();
    });
}

/// A sound archive of strange entries.
fn archive(yard: &Yard, plan: &mut Plan<'_>) -> Vec<u8> {
    let mut zip = ZipWriter::new(Cursor::new(Vec::new()));
    while !plan.is_over() {
        let kind = plan.byte();
        let mode = u32::from(plan.number());
        let name = yard.meant(plan.short());
        // Names need not be UTF-8 in an archive, but this writer takes no others.
        let name = String::from_utf8_lossy(&name);
        let content = plan.short();
        let options = SimpleFileOptions::default()
            .unix_permissions(mode)
            .compression_method(match kind & 1 {
                0 => CompressionMethod::Stored,
                _ => CompressionMethod::Deflated,
            });
        // What the writer refuses, such as a name for the second time, is left out.
        let _ = match kind >> 1 & 3 {
            0 => zip.start_file(name, options).and_then(|()| {
                let spread = content.iter().flat_map(|byte| [*byte; SPREAD]);
                Ok(zip.write_all(&spread.collect::<Vec<_>>())?)
            }),
            1 => zip.add_directory(name, options),
            2 => {
                let target = yard.meant(content);
                zip.add_symlink(name, String::from_utf8_lossy(&target), options)
            }
            // The type of the entry is the plan's, whatever its content.
            _ => {
                let options = options.unix_permissions(mode | LINK);
                zip.start_file(name, options)
                    .and_then(|()| Ok(zip.write_all(content)?))
            }
        };
    }
    zip.finish()
        .map(Cursor::into_inner)
        .expect("an archive in memory")
}

pub(crate) fn seeds() -> Vec<Vec<u8>> {
    let file = |name: &str, mode: u16, content: &[u8]| entry(1, mode, name, content);
    let link = |name: &str, target: &str| entry(4, 0o777, name, target.as_bytes());
    let plans = [
        vec![
            file("bootstrap", 0o755, b"#!"),
            file("lib/a.py", 0o644, b"x"),
        ],
        vec![
            file("a/file", 0o644, b"x"),
            link("a/up", ".."),
            link("b", "a/up/.."),
        ],
        vec![
            link("a", "b"),
            file("a/c", 0o644, b"x"),
            file("b/d", 0o644, b""),
        ],
        vec![file("../evil", 0o6755, b"x")],
        vec![
            file("\u{1}/evil", 0o644, b"x"),
            link("link", "\u{1}/neighbours"),
        ],
        vec![
            entry(3, 0o1777, "folder/", b""),
            file("folder/f", 0o4755, b"x"),
        ],
        vec![
            file("big", 0o644, &[7; 65]),
            file("bigger", 0o644, &[8; 65]),
        ],
        vec![file("a/b/c/d/e/f/g/h/i/j/k/l/m/n", 0o644, b"x")],
        vec![
            file("a", 0o644, b"1"),
            file("./a", 0o644, b"2"),
            file("a/b", 0o644, b"3"),
        ],
        vec![
            file("c\\d", 0o644, b"1"),
            link("l", "./c\\d"),
            link("m", "l"),
        ],
    ];
    let planned = plans.map(|entries| [&[1], entries.concat().as_slice()].concat());
    let yard = Yard::new();
    // The same, as bytes of an archive.
    let raw = planned.iter().map(|plan| {
        let archive = archive(&yard, &mut Plan::new(&plan[1..]));
        [&[0], archive.as_slice()].concat()
    });
    let raw: Vec<_> = raw.collect();
    planned.into_iter().chain(raw).collect()
}

fn entry(kind: u8, mode: u16, name: &str, content: &[u8]) -> Vec<u8> {
    let [low, high] = mode.to_le_bytes();
    [
        &[kind, low, high],
        short(name.as_bytes()).as_slice(),
        &short(content),
    ]
    .concat()
}
