use std::fs;
use std::io::Write as _;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};

use proptest::prelude::*;
use tar::{Builder, EntryType, Header};
use tempfile::TempDir;

use super::*;

const AMPLE: Allowance = Allowance {
    bytes: 1 << 20,
    entries: 1000,
};

/// An entry of a layer: its kind, its name, and its content or what it links to.
type Entry<'a> = (EntryType, &'a str, &'a str);

const FILE: EntryType = EntryType::Regular;
const FOLDER: EntryType = EntryType::Directory;
const SYMLINK: EntryType = EntryType::Symlink;
const LINK: EntryType = EntryType::Link;

/// An archive with just these names, whatever a well-meaning writer would say to them.
fn archive(entries: &[Entry<'_>]) -> Vec<u8> {
    let mut archive = Builder::new(Vec::new());
    for (kind, name, text) in entries {
        let mut header = Header::new_gnu();
        header.set_entry_type(*kind);
        let mut content = text.as_bytes();
        if matches!(*kind, EntryType::Symlink | EntryType::Link) {
            header.as_old_mut().linkname[..text.len()].copy_from_slice(content);
            content = b"";
        }
        header.as_old_mut().name[..name.len()].copy_from_slice(name.as_bytes());
        header.set_mode(0o4755);
        header.set_size(content.len() as u64);
        header.set_cksum();
        archive.append(&header, content).unwrap();
    }
    archive.into_inner().unwrap()
}

struct Place {
    folder: TempDir,
}

impl Place {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join("root")).unwrap();
        fs::write(folder.path().join("outside"), "outside").unwrap();
        Self { folder }
    }

    fn root(&self) -> PathBuf {
        self.folder.path().join("root")
    }

    fn layer(&self, archive: &[u8], compression: Compression, packed: &[u8]) -> LayerFile {
        let diff_id = Digest::of(archive);
        let path = self.folder.path().join(diff_id.hex());
        fs::write(&path, packed).unwrap();
        LayerFile {
            path,
            compression,
            diff_id,
        }
    }

    fn unpack_within(&self, layers: &[&[Entry<'_>]], allowance: Allowance) -> Result<(), Error> {
        let layers = layers.iter().map(|entries| {
            let archive = archive(entries);
            self.layer(&archive, Compression::None, &archive)
        });
        unpack(&layers.collect::<Vec<_>>(), &self.root(), allowance)
    }

    fn unpack(&self, layers: &[&[Entry<'_>]]) -> Result<(), Error> {
        let unpacked = self.unpack_within(layers, AMPLE);
        self.nothing_is_outside();
        unpacked
    }

    /// Beside the root are the file that was there and layers, named by their digests.
    fn nothing_is_outside(&self) {
        let outside = fs::read_to_string(self.folder.path().join("outside")).unwrap();
        assert_eq!(outside, "outside");
        for entry in fs::read_dir(self.folder.path()).unwrap() {
            let name = entry.unwrap().file_name().into_string().unwrap();
            assert!(
                name == "root" || name == "outside" || name.len() == 64,
                "{name}"
            );
        }
    }

    /// Every path below the root but for what is always there.
    fn listed(&self) -> Vec<String> {
        fn list(folder: &Path, root: &Path, into: &mut Vec<String>) {
            for entry in fs::read_dir(folder).unwrap() {
                let path = entry.unwrap().path();
                let name = path.strip_prefix(root).unwrap().to_str().unwrap();
                if !["dev", "etc", "proc", "tmp"].contains(&name) {
                    into.push(name.to_owned());
                    if path.symlink_metadata().unwrap().is_dir() {
                        list(&path, root, into);
                    }
                }
            }
        }
        let mut names = Vec::new();
        list(&self.root(), &self.root(), &mut names);
        names.sort();
        names
    }

    fn read(&self, path: &str) -> String {
        fs::read_to_string(self.root().join(path)).unwrap()
    }
}

#[test]
fn layers_of_every_packing_are_laid_over_one_another() {
    let place = Place::new();
    let first = archive(&[
        (FOLDER, "./", ""),
        (FOLDER, "./bin", ""),
        (FILE, "./bin/a", "1"),
        (FILE, "b", "1"),
    ]);
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    gzip.write_all(&first).unwrap();
    let second = archive(&[(FILE, "b", "2"), (FILE, "/c/d", "2"), (LINK, "e", "bin/a")]);
    let zstd = zstd::encode_all(second.as_slice(), 1).unwrap();
    let third = archive(&[(FILE, "bin/a", "3")]);
    let layers = [
        place.layer(&first, Compression::Gzip, &gzip.finish().unwrap()),
        place.layer(&second, Compression::Zstd, &zstd),
        place.layer(&third, Compression::None, &third),
    ];
    unpack(&layers, &place.root(), AMPLE).unwrap();
    assert_eq!(place.listed(), ["b", "bin", "bin/a", "c", "c/d", "e"]);
    // What a link shared is not written through.
    let read = ["b", "bin/a", "c/d", "e"].map(|path| place.read(path));
    assert_eq!(read, ["2", "3", "2", "1"]);
}

#[test]
fn whiteouts_remove_what_is_below_and_nothing_of_their_own_layer() {
    let below: &[Entry<'_>] = &[
        (FILE, "a", "1"),
        (FILE, "d/a", "1"),
        (FILE, "d/b/c", "1"),
        (FILE, "e/a", "1"),
        (FILE, "e/b/a", "1"),
        (FILE, "e/b/b", "1"),
        (FILE, "f/a", "1"),
    ];
    let above: &[Entry<'_>] = &[
        (FILE, ".wh.a", ""),
        (FILE, "d/.wh.b", ""),
        (FILE, "d/.wh.missing", ""),
        (FILE, "gone/.wh.x", ""),
        (FOLDER, "e", ""),
        (FILE, "e/b/b", "2"),
        (FILE, "e/.wh..wh..opq", ""),
        (FILE, "e/n", "2"),
        (FILE, "f/a", "2"),
        (FILE, "f/.wh.a", ""),
        (FILE, ".wh..wh.plnk", ""),
    ];
    let place = Place::new();
    place.unpack(&[below, above]).unwrap();
    let listed = ["d", "d/a", "e", "e/b", "e/b/b", "e/n", "f", "f/a"];
    assert_eq!(place.listed(), listed);
    assert_eq!([place.read("e/b/b"), place.read("f/a")], ["2", "2"]);
}

#[test]
fn names_that_leave_the_image_are_refused() {
    for name in ["../outside", "a/../../outside", "a/..", ".."] {
        for kind in [FILE, FOLDER, SYMLINK, LINK] {
            let refused = Place::new().unpack(&[&[(kind, name, "b")]]).unwrap_err();
            assert!(
                matches!(refused, Error::Invalid { .. }),
                "{name}: {refused}"
            );
        }
    }
    for whiteout in ["../.wh.outside", ".wh..", ".wh...", ".wh."] {
        let refused = Place::new().unpack(&[&[(FILE, whiteout, "")]]).unwrap_err();
        assert!(
            matches!(refused, Error::Invalid { .. }),
            "{whiteout}: {refused}"
        );
    }
}

#[test]
fn links_that_point_outside_are_kept_and_lead_inside() {
    let place = Place::new();
    let outside = place.folder.path().to_str().unwrap();
    let layer: &[Entry<'_>] = &[
        (SYMLINK, "up", "../../../../../../../.."),
        (SYMLINK, "root", "/"),
        (SYMLINK, "away", outside),
        (FILE, "up/x", "1"),
        (FILE, "root/y", "1"),
    ];
    place.unpack(&[layer]).unwrap();
    assert_eq!(place.listed(), ["away", "root", "up", "x", "y"]);
    let target = fs::read_link(place.root().join("away")).unwrap();
    assert_eq!(target, Path::new(outside));
    // A file that takes the place of a link does not go through it.
    let place = Place::new();
    let link: &[Entry<'_>] = &[(SYMLINK, "l", "../outside")];
    place.unpack(&[link, &[(FILE, "l", "new")]]).unwrap();
    assert_eq!(place.read("l"), "new");
    // One that leads to nothing is no way.
    for entry in [(FILE, "away/x", ""), (LINK, "z", "away/x")] {
        let layer = &[(SYMLINK, "away", "/nowhere/at/all"), entry];
        let refused = Place::new().unpack(&[layer]).unwrap_err();
        assert!(matches!(refused, Error::Invalid { .. }), "{refused}");
    }
}

#[test]
fn whiteouts_and_hard_links_go_through_no_link_that_leads_outside() {
    let place = Place::new();
    let away: &[Entry<'_>] = &[(SYMLINK, "up", ".."), (FILE, "outside", "inside")];
    place
        .unpack(&[away, &[(FILE, "up/.wh.outside", "")]])
        .unwrap();
    assert_eq!(place.listed(), ["up"]);
    let place = Place::new();
    place
        .unpack(&[away, &[(LINK, "taken", "up/outside")]])
        .unwrap();
    assert_eq!(place.read("taken"), "inside");
}

#[test]
fn hard_links_to_folders_and_to_nothing_are_refused() {
    for target in ["", "missing", "d", "/", "d/../../outside"] {
        let layer: &[Entry<'_>] = &[(FOLDER, "d", ""), (LINK, "l", target)];
        let refused = Place::new().unpack(&[layer]).unwrap_err();
        assert!(
            matches!(refused, Error::Invalid { .. }),
            "{target}: {refused}"
        );
    }
}

#[test]
fn a_chain_of_links_makes_no_folder_that_is_too_deep() {
    let place = Place::new();
    let deep = "d/".repeat(40);
    let mut names = vec![(FOLDER, deep.clone(), String::new())];
    for step in 0..10 {
        let link = format!("l{step}");
        let before = match step {
            0 => String::new(),
            _ => format!("l{}/", step - 1),
        };
        names.push((SYMLINK, link.clone(), format!("{before}{deep}")));
        names.push((FOLDER, format!("{link}/{deep}"), String::new()));
    }
    let entries: Vec<Entry<'_>> = names
        .iter()
        .map(|(kind, name, target)| (*kind, name.as_str(), target.as_str()))
        .collect();
    let refused = place.unpack(&[&entries]).unwrap_err();
    assert!(matches!(refused, Error::Invalid { .. }), "{refused}");
}

#[test]
fn devices_and_pipes_are_left_out_and_rights_are_everybodys() {
    let place = Place::new();
    let layer: &[Entry<'_>] = &[
        (EntryType::Char, "dev/null", ""),
        (EntryType::Block, "disk", ""),
        (EntryType::Fifo, "pipe", ""),
        (FILE, "program", "x"),
        (FOLDER, "folder", ""),
    ];
    place.unpack(&[layer]).unwrap();
    assert_eq!(place.listed(), ["folder", "program"]);
    let mode = |path: &str| {
        place
            .root()
            .join(path)
            .metadata()
            .unwrap()
            .permissions()
            .mode()
    };
    // Without the bit by which it would run as its owner.
    assert_eq!(
        [mode("program"), mode("folder")].map(|mode| mode & 0o7777),
        [0o755; 2]
    );
    let root = fs::metadata(place.root()).unwrap();
    assert_eq!(root.permissions().mode() & 0o7777, 0o755);
}

#[test]
fn what_sandboxes_show_has_a_place_whatever_the_image_has_there() {
    let place = Place::new();
    let layer: &[Entry<'_>] = &[
        (SYMLINK, "tmp", "../outside"),
        (FILE, "proc", "x"),
        (SYMLINK, "etc/hosts", "/outside"),
        (FOLDER, "etc/resolv.conf", ""),
        (FILE, "etc/resolv.conf/x", ""),
    ];
    place.unpack(&[layer]).unwrap();
    for folder in ["dev", "etc", "proc", "tmp"] {
        assert!(
            place
                .root()
                .join(folder)
                .symlink_metadata()
                .unwrap()
                .is_dir()
        );
    }
    for file in ["etc/hosts", "etc/resolv.conf"] {
        assert!(
            place
                .root()
                .join(file)
                .symlink_metadata()
                .unwrap()
                .is_file()
        );
    }
}

#[test]
fn an_image_that_holds_more_than_is_allowed_is_refused() {
    let little = |bytes, entries| Allowance { bytes, entries };
    let layer: &[Entry<'_>] = &[(FILE, "a", "12345"), (FILE, "b", "67890")];
    Place::new().unpack_within(&[layer], little(10, 2)).unwrap();
    for (layers, allowance) in [
        (vec![layer], little(9, 2)),
        (vec![layer], little(10, 1)),
        // Folders that no entry names are counted.
        (vec![&[(FILE, "a/b/c", "1")]], little(10, 2)),
        // Replacing a file gives nothing back.
        (vec![layer, &layer[..1]], little(14, 3)),
    ] {
        let refused = Place::new().unpack_within(&layers, allowance).unwrap_err();
        assert!(matches!(refused, Error::TooLarge { .. }), "{refused}");
    }
}

#[test]
fn a_bomb_is_refused_when_it_has_come_out_too_far() {
    // A mebibyte of zeros in a kilobyte, and a header that claims as much for a name.
    for kind in [FILE, EntryType::GNULongName, EntryType::XHeader] {
        let zeros = "\0".repeat(2 << 20);
        let archive = archive(&[(kind, "a", &zeros)]);
        let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
        gzip.write_all(&archive).unwrap();
        let packed = gzip.finish().unwrap();
        assert!(packed.len() < 10_000);
        let place = Place::new();
        let layer = place.layer(&archive, Compression::Gzip, &packed);
        let refused = unpack(&[layer], &place.root(), AMPLE).unwrap_err();
        assert!(matches!(
            refused,
            Error::TooLarge { .. } | Error::Invalid { .. }
        ));
        let written = fs::metadata(place.root().join("a")).map_or(0, |file| file.size());
        assert!(written <= AMPLE.bytes + 1);
    }
    // Nothing but what follows the archive's end.
    let mut archive = archive(&[(FILE, "a", "")]);
    archive.resize(8 << 20, 0);
    let place = Place::new();
    let layer = place.layer(&archive, Compression::None, &archive);
    let refused = unpack(&[layer], &place.root(), AMPLE).unwrap_err();
    assert!(matches!(refused, Error::Invalid { .. }), "{refused}");
}

#[test]
fn a_layer_that_is_not_what_its_image_names_is_refused() {
    let place = Place::new();
    let named = archive(&[(FILE, "a", "1")]);
    let other = archive(&[(FILE, "a", "2")]);
    for packed in [
        other.as_slice(),
        &named[..named.len() - 100],
        &named[..600],
        b"",
    ] {
        let layer = place.layer(&named, Compression::None, packed);
        let refused = unpack(&[layer], &place.root(), AMPLE).unwrap_err();
        assert!(matches!(refused, Error::Invalid { .. }), "{refused}");
    }
}

#[test]
fn long_names_are_read_in_both_ways_that_archives_have() {
    let long = format!("{}/file", "folder/".repeat(30).trim_end_matches('/'));
    let record = |keyword: &str, value: &str| {
        let rest = format!(" {keyword}={value}\n");
        let length = (1..).find(|n: &usize| n.to_string().len() + rest.len() == *n);
        format!("{}{rest}", length.unwrap())
    };
    let pax = record("path", &long) + &record("comment", "x");
    let gnu = format!("{long}2\0");
    let layer: &[Entry<'_>] = &[
        (EntryType::XHeader, "x", &pax),
        (FILE, "short", "1"),
        (EntryType::GNULongName, "x", &gnu),
        (FILE, "short", "2"),
        (EntryType::XGlobalHeader, "x", "11 path=no\n"),
        (FILE, "own", "3"),
    ];
    let place = Place::new();
    place.unpack(&[layer]).unwrap();
    let read = [long.clone(), format!("{long}2"), "own".to_owned()].map(|path| place.read(&path));
    assert_eq!(read, ["1", "2", "3"]);
    let escape = record("path", "../outside");
    let sparse = record("GNU.sparse.major", "1");
    let size = record("size", "5");
    for broken in [
        escape.as_str(),
        &sparse,
        &size,
        "x",
        "99 path=a\n",
        "5 a=b",
        "0 \n",
    ] {
        let layer: &[Entry<'_>] = &[(EntryType::XHeader, "x", broken), (FILE, "a", "1")];
        let refused = Place::new().unpack(&[layer]).unwrap_err();
        assert!(
            matches!(refused, Error::Invalid { .. }),
            "{broken}: {refused}"
        );
    }
}

#[test]
fn links_are_followed_while_others_rename() {
    let elsewhere = tempfile::tempdir().unwrap();
    let [one, other] = ["one", "other"].map(|name| elsewhere.path().join(name));
    fs::write(&one, "").unwrap();
    let over = std::sync::atomic::AtomicBool::new(false);
    let relaxed = std::sync::atomic::Ordering::Relaxed;
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !over.load(relaxed) {
                fs::rename(&one, &other).unwrap();
                fs::rename(&other, &one).unwrap();
            }
        });
        let layer: &[Entry<'_>] = &[
            (FILE, "a/b/there", "1"),
            (SYMLINK, "a/up", "../a/../a/b/.."),
            (FILE, "a/up/file", "1"),
        ];
        let unpacked: Vec<_> = (0..100).map(|_| Place::new().unpack(&[layer])).collect();
        over.store(true, relaxed);
        for unpacked in unpacked {
            unpacked.unwrap();
        }
    });
}

fn any_entry() -> impl Strategy<Value = (EntryType, String, String)> {
    let kinds = [FILE, FOLDER, SYMLINK, LINK, EntryType::Fifo];
    let part = prop::sample::select(vec![
        "a",
        "b",
        "..",
        ".wh.a",
        ".wh..wh..opq",
        "/",
        "outside",
    ]);
    let path = prop::collection::vec(part, 1..4).prop_map(|parts| parts.join("/"));
    (prop::sample::select(kinds.to_vec()), path.clone(), path)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn no_order_of_entries_and_links_touches_anything_outside(
        entries in prop::collection::vec(any_entry(), 1..12)
    ) {
        let place = Place::new();
        let entries: Vec<Entry<'_>> = entries
            .iter()
            .map(|(kind, name, target)| (*kind, name.as_str(), target.as_str()))
            .collect();
        // Most are refused at some entry; what counts is what is outside.
        let _ = place.unpack(&[&entries]);
    }
}
