use std::io::Write as _;

use zip::ZipWriter;
use zip::write::SimpleFileOptions;

use super::*;

/// An archive of `(name, unix mode, content)`.
fn archive(entries: &[(&str, u32, &[u8])]) -> Vec<u8> {
    let mut zip = ZipWriter::new(Cursor::new(Vec::new()));
    for (name, mode, content) in entries {
        let options = SimpleFileOptions::default().unix_permissions(*mode);
        if mode & 0o170_000 == 0o120_000 {
            zip.add_symlink(*name, std::str::from_utf8(content).unwrap(), options)
                .unwrap();
        } else {
            zip.start_file(*name, options).unwrap();
            zip.write_all(content).unwrap();
        }
    }
    zip.finish().unwrap().into_inner()
}

fn refusal(archive: &[u8]) -> String {
    let folder = tempfile::tempdir().unwrap();
    let inside = folder.path().join("inside");
    fs::create_dir(&inside).unwrap();
    let error = unpack(archive, &inside).unwrap_err().to_string();
    let outside: Vec<_> = fs::read_dir(folder.path()).unwrap().collect();
    assert_eq!(outside.len(), 1, "nothing may appear beside the package");
    error
}

#[test]
fn files_keep_their_content_and_their_executable_bit() {
    let folder = tempfile::tempdir().unwrap();
    let package = archive(&[
        ("bootstrap", 0o755, b"#!/bin/sh"),
        ("lib/a.py", 0o644, b"x = 1"),
        ("lib/b.py", 0o120_777, b"a.py"),
    ]);
    unpack(&package, folder.path()).unwrap();
    let mode = |name: &str| {
        let metadata = fs::metadata(folder.path().join(name)).unwrap();
        metadata.permissions().mode() & 0o777
    };
    // Functions run as users of their own, and the temporary folder was its owner's alone.
    assert_eq!((mode(""), mode("lib")), (0o755, 0o755));
    assert_eq!(mode("bootstrap"), 0o755);
    assert_eq!(mode("lib/a.py"), 0o644);
    assert_eq!(fs::read(folder.path().join("lib/b.py")).unwrap(), b"x = 1");
}

#[test]
fn what_is_no_archive_is_malformed() {
    for bytes in [&b""[..], b"hello", b"PK\x05\x06", &[0; 100]] {
        assert!(refusal(bytes).starts_with("the archive is malformed"));
    }
    assert!(refusal(&archive(&[])).contains("empty"));
}

#[test]
fn a_flipped_bit_in_the_content_is_malformed() {
    let mut package = archive(&[("a.py", 0o644, b"print(41)")]);
    // The content begins after the entry's header of 30 bytes and its name.
    package[30 + 4 + 3] ^= 0x40;
    assert!(refusal(&package).starts_with("the archive is malformed"));
}

#[test]
fn a_name_that_leaves_the_package_is_refused() {
    for name in ["../evil", "a/../../evil", "/etc/evil"] {
        let error = refusal(&archive(&[(name, 0o644, b"x")]));
        assert!(error.contains("is refused"), "{error}");
    }
}

#[test]
fn a_link_that_leaves_the_package_is_refused() {
    for target in ["/etc/passwd", "../evil", "a/../../evil", "nowhere"] {
        let error = refusal(&archive(&[("link", 0o120_777, target.as_bytes())]));
        assert!(error.contains("\"link\" is refused"), "{error}");
    }
    // Harmless one by one: `a/up` is the package itself, so `b` climbs out through it.
    let chained = archive(&[
        ("a/file", 0o644, b"x"),
        ("a/up", 0o120_777, b".."),
        ("b", 0o120_777, b"a/up/.."),
    ]);
    assert!(refusal(&chained).contains("\"b\" is refused"));
}

#[test]
fn nothing_is_written_through_a_link() {
    let through = archive(&[
        ("a", 0o120_777, b"b"),
        ("a/c", 0o644, b"x"),
        ("b/d", 0o644, b""),
    ]);
    assert!(refusal(&through).contains("\"a\" is refused"));
}

#[test]
fn a_name_listed_twice_is_refused() {
    assert!(refusal(&archive(&[("a", 0o644, b"1"), ("./a", 0o644, b"2")])).contains("twice"));
    assert!(refusal(&archive(&[("a", 0o644, b"1"), ("a/b", 0o644, b"2")])).contains("exists"));
    // The writer refuses to repeat a name, so one is changed afterwards in both of its places.
    let mut same = archive(&[("aaaa", 0o644, b"1"), ("bbbb", 0o644, b"2")]);
    for at in 0..same.len() - 4 {
        if &same[at..at + 4] == b"bbbb" {
            same[at..at + 4].copy_from_slice(b"aaaa");
        }
    }
    assert!(refusal(&same).contains("twice"));
}

#[test]
fn a_bomb_is_stopped_by_what_comes_out_of_it() {
    let folder = tempfile::tempdir().unwrap();
    let bomb = archive(&[("a", 0o644, &[0; 600]), ("b", 0o644, &[0; 600])]);
    let allowance = Allowance {
        bytes: 1_000,
        entries: 10,
    };
    let error = unpack_within(&bomb, folder.path(), allowance).unwrap_err();
    assert!(matches!(error, PackageError::TooLarge { limit: 1_000, .. }));
    let written: u64 = ["a", "b"]
        .iter()
        .filter_map(|name| fs::metadata(folder.path().join(name)).ok())
        .map(|file| file.len())
        .sum();
    assert!(written <= 1_001);
}

#[test]
fn too_many_files_are_refused_before_any_is_written() {
    let folder = tempfile::tempdir().unwrap();
    let many = archive(&[("a", 0o644, b""), ("b", 0o644, b"")]);
    let allowance = Allowance {
        bytes: 1_000,
        entries: 1,
    };
    assert!(unpack_within(&many, folder.path(), allowance).is_err());
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
}

#[test]
fn folders_that_only_names_imply_are_counted() {
    let deep = archive(&[("a/b/c/d/file", 0o644, b"x"), ("a/b/other", 0o644, b"x")]);
    for (entries, holds) in [(6, true), (5, false)] {
        let folder = tempfile::tempdir().unwrap();
        let allowance = Allowance {
            bytes: 1_000,
            entries,
        };
        let unpacked = unpack_within(&deep, folder.path(), allowance);
        match unpacked {
            Ok(()) => assert!(holds),
            Err(PackageError::TooLarge { limit: 5, .. }) => assert!(!holds),
            Err(other) => panic!("{other}"),
        }
    }
}

#[test]
fn names_that_no_file_system_takes_are_refused() {
    let long = "n".repeat(256);
    let longer = "n/".repeat(2_000);
    for (name, mode, content) in [
        (&*long, 0o644, &b"x"[..]),
        ("link", 0o120_777, b""),
        ("link", 0o120_777, b"a\0b"),
        ("link", 0o120_777, long.as_bytes()),
        ("link", 0o120_777, longer.as_bytes()),
    ] {
        let error = refusal(&archive(&[(name, mode, content)]));
        assert!(error.contains("is refused"), "{error}");
    }
}

#[test]
fn no_room_is_made_for_more_entries_than_are_allowed() {
    let entries = 1_u64 << 40;
    let mut zip64 = b"PK\x06\x06".to_vec();
    zip64.extend(44_u64.to_le_bytes());
    zip64.extend([45, 0, 45, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
    zip64.extend(
        [entries, entries, 0, entries]
            .map(u64::to_le_bytes)
            .concat(),
    );
    // Where that record is, and one that says to look there.
    zip64.extend(b"PK\x06\x07\0\0\0\0");
    zip64.extend(0_u64.to_le_bytes());
    zip64.extend(1_u32.to_le_bytes());
    zip64.extend(b"PK\x05\x06\0\0\0\0");
    zip64.extend([0xff; 12]);
    zip64.extend([0, 0]);
    assert!(refusal(&zip64).starts_with("the archive holds more than 100000 files"));
}
