//! Layers of container images: any bytes as an archive, packed or not, and any entries in a sound one.
//!
//! Claims: nothing around the root is read into it, changed or made, and no file in it has a name
//! elsewhere; what is unpacked has no more bytes than the allowance, and of entries no more than that and
//! what every root has; no devices, no rights beyond those of files and programs; nothing of a refused
//! image is left once its folder is removed; memory is bounded. Links may lead anywhere, for they are
//! followed inside.

use std::fs;

use container_image::{Allowance, Compression, Digest, Error, LayerFile, unpack};
use tar::{EntryType, Header};

use crate::memory::most_held;
use crate::plan::{Plan, short};
use crate::yard::{HardLinks, Yard, in_memory};

const ALLOWANCE: Allowance = Allowance {
    bytes: 4096,
    entries: 24,
};
/// Bytes of memory that unpacking takes, however long the archives are and the names in them.
const MEMORY: usize = 4 << 20;
/// `dev`, `proc`, `tmp`, `etc`, and two files in it.
const OWN: u64 = 6;
/// Bytes of a file for each byte of its plan.
const SPREAD: usize = 20;
const BLOCK: usize = 512;
const KINDS: [u8; 16] = *b"0012233456xgLKS5";

thread_local! {
    static YARD: Yard = Yard::new();
    static STORE: tempfile::TempDir = in_memory();
}

pub(crate) fn run(data: &[u8]) {
    let Some((kind, rest)) = data.split_first() else {
        return;
    };
    YARD.with(|yard| {
        let mut layers = Vec::new();
        let mut plan = Plan::new(rest);
        match kind {
            0 => layers.push(layer(0, rest, Compression::None)),
            1 => layers.push(layer(0, rest, Compression::Gzip)),
            2 => layers.push(layer(0, rest, Compression::Zstd)),
            _ => {
                while !plan.is_over() && layers.len() < 4 {
                    let archive = archive(yard, &mut plan);
                    layers.push(layer(layers.len(), &archive, Compression::None));
                }
            }
        }
        let (unpacked, held) = most_held(|| unpack(&layers, &yard.inside(), ALLOWANCE));
        assert!(held <= MEMORY, "{held} bytes held");
        let found = yard.check(HardLinks::Kept);
        let most = match &unpacked {
            Ok(()) => ALLOWANCE.bytes,
            Err(_) => ALLOWANCE.bytes + 1,
        };
        assert!(found.bytes <= most, "{found:?}");
        assert!(found.entries <= ALLOWANCE.entries + OWN, "{found:?}");
        if let Err(Error::Io { path, source }) = &unpacked {
            panic!("a layer made the disk fail at {path:?}: {source}");
        }
        yard.clear();
    });
}

/// A layer in a file. What is packed is said to be what these bytes are if they are not packed at all:
/// the digest is looked at last.
fn layer(number: usize, bytes: &[u8], compression: Compression) -> LayerFile {
    let path = STORE.with(|store| store.path().join(number.to_string()));
    fs::write(&path, bytes).expect("write a layer");
    LayerFile {
        path,
        compression,
        diff_id: Digest::of(bytes),
    }
}

/// A sound archive of strange entries, up to the plan's end or a word that ends it.
fn archive(yard: &Yard, plan: &mut Plan<'_>) -> Vec<u8> {
    let mut archive = Vec::new();
    while !plan.is_over() {
        let kind = plan.byte();
        if kind == u8::MAX {
            break;
        }
        let kind = KINDS[usize::from(kind) % KINDS.len()];
        let mode = u32::from(plan.number());
        let name = yard.meant(plan.short());
        let link = yard.meant(plan.short());
        let content = plan.short();
        let content: Vec<u8> = match kind {
            // Words about the next entry stay as they are.
            b'x' | b'g' | b'L' | b'K' => yard.meant(content),
            _ => content.iter().flat_map(|byte| [*byte; SPREAD]).collect(),
        };
        let mut header = Header::new_gnu();
        header.set_entry_type(EntryType::new(kind));
        header.set_mode(mode);
        header.set_size(content.len() as u64);
        let old = header.as_old_mut();
        let fill = |field: &mut [u8], text: &[u8]| {
            let length = text.len().min(field.len());
            field[..length].copy_from_slice(&text[..length]);
        };
        fill(&mut old.name, &name);
        fill(&mut old.linkname, &link);
        header.set_cksum();
        archive.extend_from_slice(header.as_bytes());
        archive.extend_from_slice(&content);
        archive.resize(archive.len().next_multiple_of(BLOCK), 0);
    }
    archive.resize(archive.len() + 2 * BLOCK, 0);
    archive
}

pub(crate) fn seeds() -> Vec<Vec<u8>> {
    const FILE: u8 = 0;
    const LINK: u8 = 2;
    const SYMLINK: u8 = 3;
    const FOLDER: u8 = 8;
    let file = |name: &str, content: &[u8]| entry(FILE, name, "", content);
    let link = |kind: u8, name: &str, to: &str| entry(kind, name, to, b"");
    let next = vec![u8::MAX];
    let plans = [
        vec![
            link(FOLDER, "bin", ""),
            file("bin/sh", b"x"),
            link(LINK, "bin/bash", "bin/sh"),
        ],
        vec![
            link(SYMLINK, "out", ".."),
            file("out/evil", b"x"),
            link(LINK, "l", "out/file"),
        ],
        vec![
            link(SYMLINK, "out", "\u{1}/neighbours"),
            file("out/evil", b"x"),
        ],
        vec![
            file("a/b", b"1"),
            next.clone(),
            file("a/.wh.b", b""),
            file("a/c", b"2"),
        ],
        vec![
            file("a/b", b"1"),
            next,
            file("a/.wh..wh..opq", b""),
            file("a/d", b"2"),
        ],
        vec![
            link(6, "device", ""),
            link(7, "block", ""),
            link(9, "pipe", ""),
        ],
        vec![
            entry(12, "././@LongLink", "", b"long/name\0"),
            file("x", b"1"),
        ],
        vec![
            entry(10, "pax", "", b"18 path=a/b/c/d/e\n"),
            file("x", b"1"),
        ],
        vec![link(SYMLINK, "etc", "/tmp"), link(SYMLINK, "tmp", "etc")],
        vec![
            file("a/b/c/d/e/f/g/h/i/j/k", &[1; 250]),
            file("../evil", b"x"),
        ],
    ];
    let planned = plans.map(|entries| [&[3], entries.concat().as_slice()].concat());
    let yard = Yard::new();
    let raw = planned.iter().map(|plan| {
        let archive = archive(&yard, &mut Plan::new(&plan[1..]));
        [&[0], archive.as_slice()].concat()
    });
    let raw: Vec<_> = raw.collect();
    planned.into_iter().chain(raw).collect()
}

fn entry(kind: u8, name: &str, link: &str, content: &[u8]) -> Vec<u8> {
    let [low, high] = 0o4755_u16.to_le_bytes();
    [
        &[kind, low, high],
        short(name.as_bytes()).as_slice(),
        &short(link.as_bytes()),
        &short(content),
    ]
    .concat()
}
