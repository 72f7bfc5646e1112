//! Stored bytes that go wrong: every bit of a segment, and the ways in which disks lose sectors.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, Result, ensure};
use clock::{SharedClock, SystemClock};
use event_log::inspect::{Depth, Inspection};
use event_log::{Error, EventLog, Offset, Topic, TopicPartition};
use log_rigs::{Job, Oracle, Random, Said, open};
use tempfile::TempDir;

use crate::child::Workload;
use crate::folder::{copy, temporary};
use crate::rounds::{rounds, spread};

type Contents = BTreeMap<(TopicPartition, Offset), Vec<u8>>;

/// A log of a few full segments, and everything in it.
struct Sound {
    folder: TempDir,
    contents: Contents,
}

impl Sound {
    async fn new() -> Result<Self> {
        let folder = temporary()?;
        let mut oracle = Oracle::new(9);
        let job = Job::new(folder.path(), 9, Some(9));
        ensure!(Workload::start(&job)?.finish(&mut oracle)?.success());
        oracle.check(folder.path(), None).await?;
        let log = open(folder.path(), None)?;
        let (contents, lost) = read(&*log).await?;
        ensure!(lost == 0);
        log.close().await;
        Ok(Self { folder, contents })
    }

    fn dir(&self) -> &Path {
        self.folder.path()
    }

    /// The segments of the events journal, oldest first.
    fn segments(&self) -> Result<Vec<PathBuf>> {
        let entries = fs::read_dir(self.dir().join("events"))?;
        let mut paths = Vec::new();
        for entry in entries {
            paths.push(entry?.path());
        }
        paths.retain(|path| path.extension().is_some_and(|ending| ending == "seg"));
        paths.sort();
        Ok(paths)
    }

    /// A sealed segment of about 64 KiB.
    fn victim(&self) -> Result<PathBuf> {
        let segments = self.segments()?;
        let sealed = &segments[..segments.len() - 1];
        let largest = sealed.iter().max_by_key(|path| {
            let len = fs::metadata(path).map_or(0, |file| file.len());
            len.min(64 << 10)
        });
        Ok(largest.context("a sealed segment")?.clone())
    }
}

/// Everything that can be read, and how many offsets cannot for damage; any other error is one.
async fn read(log: &dyn EventLog) -> Result<(Contents, u64)> {
    let (mut contents, mut lost) = (Contents::new(), 0);
    for place in log.topics().iter().flat_map(Topic::partitions) {
        let bounds = log.bounds(&place)?;
        let (mut next, mut in_a_row) = (bounds.start, 0);
        while next < bounds.end {
            match log.read(&place, next, 1 << 20).await {
                Ok(chunk) => {
                    in_a_row = 0;
                    for stored in chunk.batches.iter().map(|batch| batch.records()) {
                        for stored in stored?.into_iter().filter(|stored| stored.offset >= next) {
                            let value = stored.record.value.context("a value")?;
                            contents.insert((place.clone(), stored.offset), value.into());
                        }
                    }
                    ensure!(
                        chunk.next > next,
                        "a read of {place} at {next} goes nowhere"
                    );
                    next = chunk.next;
                }
                Err(Error::Corrupt { .. }) => {
                    // Where a lost frame may have used any number of offsets, a great many are skipped.
                    let step = 1 + in_a_row / 64;
                    in_a_row += step;
                    lost += step;
                    next = next.plus(step);
                }
                Err(other) => return Err(other.into()),
            }
        }
    }
    Ok((contents, lost))
}

fn look(dir: &Path) -> Result<Inspection> {
    let clock: SharedClock = Arc::new(SystemClock::new());
    let quiet = Arc::new(|_| {});
    Ok(Inspection::open(dir, Depth::Everything, &clock, quiet)?)
}

/// Nothing that is read differs from what was written.
fn ensure_true(found: &Contents, sound: &Contents) -> Result<()> {
    for (place, value) in found {
        ensure!(sound.get(place) == Some(value), "{place:?} reads wrong");
    }
    Ok(())
}

/// Whether a place is in a topic that the workload deletes again.
fn comes_and_goes((partition, _): &(TopicPartition, Offset)) -> bool {
    partition.topic.as_str().starts_with("churn.")
}

#[tokio::test]
async fn every_flipped_bit_of_a_segment_is_detected_and_nothing_reads_wrong() -> Result<()> {
    let sound = Sound::new().await?;
    let victim = sound.victim()?;
    let file = File::options().read(true).write(true).open(&victim)?;
    let len = file.metadata()?.len();
    let bits: Vec<u64> = (0..len * 8).collect();
    // A prime apart, so that every position within a byte comes up.
    let chosen = spread(&bits, rounds(3_001)?);
    let log = open(sound.dir(), None)?;
    let mut unreadable = 0;
    let mut detected = 0u64;
    // Readers of an open log: what they get is true, or an error, and little is lost.
    for bit in &chosen {
        let flipped = flip(&file, *bit)?;
        let (found, lost) = read(&*log).await.with_context(|| format!("bit {bit}"))?;
        ensure_true(&found, &sound.contents).with_context(|| format!("bit {bit}"))?;
        ensure!(
            found.len() as u64 + lost == sound.contents.len() as u64 && lost <= 4,
            "bit {bit}: {lost} offsets are lost"
        );
        unreadable += u64::from(lost > 0);
        file.write_all_at(&[flipped], bit / 8)?;
    }
    log.close().await;
    drop(log);
    // Whoever looks into the folder is told.
    for bit in &chosen {
        let flipped = flip(&file, *bit)?;
        let inspection = look(sound.dir())?;
        ensure!(
            !inspection.damage().is_empty(),
            "bit {bit} of {len} bytes goes unnoticed"
        );
        detected += 1;
        file.write_all_at(&[flipped], bit / 8)?;
    }
    ensure!(look(sound.dir())?.damage().is_empty());
    eprintln!(
        "damage: {detected} of {} flipped bits in a segment of {len} bytes detected, {} chosen; \
         {unreadable} of them cost a reader a batch, none let it read anything wrong",
        bits.len(),
        chosen.len(),
    );
    ensure!(detected == chosen.len() as u64);
    Ok(())
}

/// Flips a bit and returns the byte as it was.
fn flip(file: &File, bit: u64) -> Result<u8> {
    let mut byte = [0];
    file.read_exact_at(&mut byte, bit / 8)?;
    file.write_all_at(&[byte[0] ^ (1 << (bit % 8))], bit / 8)?;
    Ok(byte[0])
}

/// What a disk may do to a file.
#[derive(Clone, Copy, Debug)]
enum Ill {
    ZeroedSector(u64),
    SwappedBlocks(u64, u64),
    Burst(u64),
    Truncated(u64),
    DuplicatedTail(u64),
}

impl Ill {
    fn any(random: &mut Random, len: u64) -> Self {
        let sectors = len.div_ceil(512);
        let blocks = len.div_ceil(4096);
        match random.below(5) {
            0 => Self::ZeroedSector(random.below(sectors)),
            1 => Self::SwappedBlocks(random.below(blocks), random.below(blocks)),
            2 => Self::Burst(random.below(len)),
            3 => Self::Truncated(random.below(len)),
            _ => Self::DuplicatedTail(1 + random.below(len)),
        }
    }

    /// Does it. Returns whether the file changed.
    fn befall(self, path: &Path, random: &mut Random) -> Result<bool> {
        let before = fs::read(path)?;
        let mut bytes = before.clone();
        let len = bytes.len();
        match self {
            Self::ZeroedSector(sector) => {
                let at = sector as usize * 512;
                bytes[at..len.min(at + 512)].fill(0);
            }
            Self::SwappedBlocks(a, b) => {
                let (a, b) = (a.min(b) as usize * 4096, a.max(b) as usize * 4096);
                let both = 4096.min(len - b);
                let (front, back) = bytes.split_at_mut(b);
                if a < b {
                    front[a..a + both].swap_with_slice(&mut back[..both]);
                }
            }
            Self::Burst(at) => {
                let end = len.min(at as usize + 1 + random.below(64) as usize);
                for byte in &mut bytes[at as usize..end] {
                    *byte = random.below(256) as u8;
                }
            }
            Self::Truncated(at) => bytes.truncate(at as usize),
            Self::DuplicatedTail(tail) => bytes.extend_from_within(len - tail as usize..),
        }
        // Room that was set aside and not written yet reads as zeros; more or less of it is no harm.
        let changed = without_zeros(&bytes) != without_zeros(&before);
        fs::write(path, bytes)?;
        Ok(changed)
    }
}

fn without_zeros(bytes: &[u8]) -> &[u8] {
    let end = bytes.iter().rposition(|byte| *byte != 0);
    &bytes[..end.map_or(0, |last| last + 1)]
}

#[tokio::test]
async fn damage_is_quarantined_and_the_rest_is_served_and_written_on() -> Result<()> {
    let sound = Sound::new().await?;
    let mut random = Random::of(13, 0, 0);
    let sealed = sound.victim()?;
    let segments = sound.segments()?;
    let active = segments.last().context("an active segment")?;
    let rounds = rounds(60)?.min(20_000);
    let (mut damaged, mut offsets) = (0, 0);
    for round in 0..rounds {
        let folder = temporary()?;
        let dir = folder.path();
        copy(sound.dir(), dir)?;
        let victim = if round % 3 == 2 { active } else { &sealed };
        let victim = victim.strip_prefix(sound.dir())?;
        // Half of the starts have to read the segment, the others go by its catalog.
        if round % 2 == 0 && round % 3 != 2 {
            fs::remove_file(dir.join(victim).with_extension("idx"))?;
        }
        let len = fs::metadata(dir.join(victim))?.len();
        let ill = Ill::any(&mut random, len);
        let changed = ill.befall(&dir.join(victim), &mut random)?;
        let what = format!("round {round}: {ill:?} of {len} bytes");
        let inspection = look(dir).with_context(|| what.clone())?;
        // What follows the end of the active segment is a torn tail, which is told too.
        let told = !inspection.damage().is_empty() || !inspection.notes().is_empty();
        ensure!(!changed || told, "{what} goes unnoticed");
        drop(inspection);
        damaged += u64::from(changed);

        let log = open(dir, None).with_context(|| what.clone())?;
        let (mut found, lost) = read(&*log).await.with_context(|| what.clone())?;
        if round % 3 == 2 {
            // Nothing follows the newest segment that could tell again which topics are gone: one
            // whose end was said there and damaged is back.
            found.retain(|place, _| sound.contents.contains_key(place) || !comes_and_goes(place));
        }
        ensure_true(&found, &sound.contents).with_context(|| what.clone())?;
        offsets += lost;
        ensure!(
            found.len() * 2 > sound.contents.len(),
            "{what}: little is served"
        );
        log.close().await;
        drop(log);
        // Writers go on where they were: nothing of the ledger was lost with sealed records.
        let job = Job {
            writers: vec![0, 1, 4],
            churn_from: 1_000,
            ..Job::new(dir, 9, Some(2))
        };
        let mut workload = Workload::start(&job)?;
        // An oracle would want to know what came before the damage; the answers are enough.
        let mut settled = 0;
        while let Some(said) = workload.next_unjudged()? {
            settled += usize::from(matches!(said, Said::Settled(..)));
        }
        ensure!(settled == 6, "{what}: {settled} settlements are accepted");
        let log = open(dir, None).with_context(|| what.clone())?;
        let (again, _) = read(&*log).await.with_context(|| what.clone())?;
        let kept = found.keys().all(|place| again.contains_key(place));
        ensure!(
            kept && again.len() > found.len(),
            "{what}: writing on cost records"
        );
        log.close().await;
    }
    eprintln!(
        "damage: {damaged} damaged segments, all noticed; {offsets} offsets answered with an error, \
         no other and none with a wrong record"
    );
    Ok(())
}
