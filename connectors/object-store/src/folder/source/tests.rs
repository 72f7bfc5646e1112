#![expect(
    clippy::disallowed_methods,
    reason = "what a writer does between two writes is nothing but time that passes"
)]

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs::File;
use std::io::Write as _;
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;

use clock::SystemClock;
use connector::{Runner, Settings};
use event::{Event, Place};
use event_log::{MemoryLog, Offset, Partition, SharedLog};
use tempfile::TempDir;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::*;
use crate::Config;

/// Shorter than it is for users, so that tests are.
const SETTLED: Duration = Duration::from_millis(200);

const PATIENCE: Duration = Duration::from_secs(60);

/// A folder, the log that it is read into, and the task that reads it, if it runs.
struct Inbox {
    folder: TempDir,
    log: SharedLog,
    hints: Hints,
    interval: Duration,
    task: Option<JoinHandle<Result<(), connector::Error>>>,
}

impl Drop for Inbox {
    fn drop(&mut self) {
        self.crash();
    }
}

impl Inbox {
    fn new() -> Self {
        Self {
            folder: tempfile::tempdir().unwrap(),
            log: MemoryLog::new(),
            hints: Hints::Wanted,
            interval: Duration::from_secs(30),
            task: None,
        }
    }

    /// One that hears of nothing, and looks often.
    fn deaf() -> Self {
        let mut inbox = Self::new();
        inbox.hints = Hints::Lost;
        inbox.interval = Duration::from_millis(50);
        inbox
    }

    fn start(&mut self) {
        let bucket = Config {
            bucket: "inbox".to_owned(),
            prefix: None,
            region: "us-east-1".to_owned(),
            account: "000000000000".to_owned(),
            partitions: 1,
        };
        let config = FolderConfig {
            bucket,
            path: self.folder.path().to_owned(),
            interval: self.interval,
        };
        let clock = Arc::new(SystemClock::new());
        let mut source = FolderSource::new(config, clock.clone()).unwrap();
        source.hints = self.hints;
        source.settled_after = SETTLED;
        let settings = Settings {
            max_bytes: 2_000,
            ..Settings::default()
        };
        let runner = Runner::new(Box::new(source), Arc::clone(&self.log), clock, settings);
        self.task = Some(tokio::spawn(runner.run(CancellationToken::new())));
    }

    fn crash(&mut self) {
        if let Some(task) = self.task.take() {
            task.abort();
        }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Runs a program in the folder, with what `from` holds outside of it.
    fn run(&self, program: &str, arguments: &[&OsStr]) {
        let mut command = Command::new(program);
        command.current_dir(self.folder.path()).args(arguments);
        assert!(command.status().unwrap().success(), "{command:?}");
    }

    /// What happened to which key, and its size.
    async fn events(&self) -> Vec<(String, String, u64)> {
        let name = TopicName::new("bucket.inbox").unwrap();
        let mut events = Vec::new();
        if self.log.topic(&name).is_none() {
            return events;
        }
        let partition = name.partition(Partition::new(0));
        let mut from = Offset::ZERO;
        while from < self.log.bounds(&partition).unwrap().end {
            let chunk = self.log.read(&partition, from, usize::MAX).await.unwrap();
            for batch in &chunk.batches {
                for stored in batch.records().unwrap() {
                    events.push(told(stored.record));
                }
            }
            from = chunk.next;
        }
        events
    }

    /// Waits for so many events, and for one of a last file, which shows that there are no more.
    async fn after(&self, count: usize) -> Vec<(String, String, u64)> {
        let wait = async |count: usize| {
            let found = async {
                loop {
                    let events = self.events().await;
                    if events.len() >= count {
                        return events;
                    }
                    tokio::time::sleep(Duration::from_millis(5)).await;
                }
            };
            match tokio::time::timeout(PATIENCE, found).await {
                Ok(events) => events,
                Err(_) => panic!("never {count} events: {:?}", self.events().await),
            }
        };
        wait(count).await;
        std::fs::write(self.path("~last"), "").unwrap();
        let mut events = wait(count + 1).await;
        std::fs::remove_file(self.path("~last")).unwrap();
        wait(count + 2).await;
        assert_eq!(events.pop().unwrap(), created("~last", 0));
        events
    }
}

fn told(record: event::Record) -> (String, String, u64) {
    let place = Place {
        topic: "bucket.inbox",
        partition: 0,
        offset: 0,
    };
    let event = Event::from_record(record, place).unwrap();
    let value: serde_json::Value = serde_json::from_slice(&event.data.unwrap()).unwrap();
    let name = value["eventName"].as_str().unwrap().to_owned();
    let size = value["s3"]["object"]["size"].as_u64().unwrap_or_default();
    (name, event.subject.unwrap(), size)
}

fn created(key: &str, size: u64) -> (String, String, u64) {
    ("ObjectCreated:Put".to_owned(), key.to_owned(), size)
}

fn removed(key: &str) -> (String, String, u64) {
    ("ObjectRemoved:Delete".to_owned(), key.to_owned(), 0)
}

#[tokio::test]
async fn whatever_drops_a_file_it_is_one_event_when_it_is_complete() {
    let outside = tempfile::tempdir().unwrap();
    let from = outside.path().join("from");
    std::fs::write(&from, vec![b'x'; 3 << 20]).unwrap();
    let mut inbox = Inbox::new();
    inbox.start();
    inbox.after(0).await;
    let text = |text: &'static str| OsStr::new(text);
    inbox.run("cp", &[text("-p"), from.as_os_str(), text("copied")]);
    inbox.after(3).await;
    inbox.run("mv", &[from.as_os_str(), text("moved")]);
    inbox.after(6).await;
    // As editors write: beside it, and over it.
    std::fs::write(inbox.path(".copied.tmp"), "edited").unwrap();
    std::fs::rename(inbox.path(".copied.tmp"), inbox.path("copied")).unwrap();
    inbox.after(9).await;
    let mut slow = File::create(inbox.path("slow")).unwrap();
    for _ in 0..8 {
        slow.write_all(b"part").unwrap();
        slow.sync_all().unwrap();
        // Longer than the folder must be quiet, and another file comes in between.
        std::fs::write(inbox.path("other"), "o").unwrap();
        tokio::time::sleep(QUIET * 2).await;
        std::fs::remove_file(inbox.path("other")).unwrap();
        tokio::time::sleep(QUIET * 2).await;
    }
    drop(slow);
    // And times set after it was closed.
    let late = File::create(inbox.path("late")).unwrap();
    late.set_len(7).unwrap();
    drop(late);
    File::open(inbox.path("late"))
        .unwrap()
        .set_modified(std::time::UNIX_EPOCH)
        .unwrap();
    let seen = |events: &[(String, String, u64)]| -> Vec<_> {
        let of_files = events
            .iter()
            .filter(|(_, key, _)| key != "~last" && key != "other");
        of_files.cloned().collect()
    };
    loop {
        let events = inbox.events().await;
        if seen(&events).len() >= 5 {
            break;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let count = inbox.events().await.len();
    let mut events = seen(&inbox.after(count).await);
    events[3..].sort();
    let expected = [
        created("copied", 3 << 20),
        created("moved", 3 << 20),
        created("copied", 6),
        created("late", 7),
        created("slow", 32),
    ];
    assert_eq!(events, expected);
}

#[tokio::test]
async fn folders_within_are_watched_moved_in_and_removed_as_a_whole() {
    let mut inbox = Inbox::new();
    std::fs::create_dir_all(inbox.path("a/b")).unwrap();
    inbox.start();
    inbox.after(0).await;
    std::fs::write(inbox.path("a/b/deep"), "1").unwrap();
    inbox.after(3).await;
    let outside = tempfile::tempdir().unwrap();
    std::fs::create_dir_all(outside.path().join("tree/in")).unwrap();
    std::fs::write(outside.path().join("tree/in/one"), "1").unwrap();
    std::fs::write(outside.path().join("tree/two"), "22").unwrap();
    // As nobody has told that these are complete, it takes a moment to believe it.
    std::fs::rename(outside.path().join("tree"), inbox.path("tree")).unwrap();
    inbox.after(7).await;
    std::fs::rename(inbox.path("tree"), inbox.path("a/tree")).unwrap();
    inbox.after(13).await;
    std::fs::remove_dir_all(inbox.path("a")).unwrap();
    let mut events = inbox.after(18).await;
    events.retain(|(_, key, _)| key != "~last");
    let mut expected = vec![
        created("a/b/deep", 1),
        created("tree/in/one", 1),
        created("tree/two", 2),
        created("a/tree/in/one", 1),
        created("a/tree/two", 2),
        removed("tree/in/one"),
        removed("tree/two"),
        removed("a/b/deep"),
        removed("a/tree/in/one"),
        removed("a/tree/two"),
    ];
    assert_eq!(events.len(), expected.len(), "{events:?}");
    for range in [1..3, 3..7, 7..10] {
        events[range.clone()].sort();
        expected[range].sort();
    }
    assert_eq!(events, expected);
}

#[tokio::test]
async fn awkward_names_are_keys_and_what_can_be_none_does_no_harm() {
    let mut inbox = Inbox::new();
    let outside = tempfile::tempdir().unwrap();
    std::fs::write(outside.path().join("secret"), "s").unwrap();
    inbox.start();
    inbox.after(0).await;
    let names = [
        " leading",
        "new\nline",
        "é ü/ß",
        "a+b%20c",
        "\"quoted\"",
        "-rf",
    ];
    std::fs::create_dir(inbox.path("é ü")).unwrap();
    for name in names {
        std::fs::write(inbox.path(name), "1").unwrap();
    }
    std::fs::write(inbox.folder.path().join(OsStr::from_bytes(b"\xff")), "1").unwrap();
    std::os::unix::fs::symlink(outside.path(), inbox.path("link")).unwrap();
    std::os::unix::fs::symlink(outside.path().join("secret"), inbox.path("file-link")).unwrap();
    std::os::unix::fs::symlink("nowhere", inbox.path("broken")).unwrap();
    inbox.run("mkfifo", &[OsStr::new("pipe")]);
    let events = inbox.after(names.len() + 2).await;
    let mut keys: Vec<&str> = events.iter().map(|(_, key, _)| key.as_str()).collect();
    keys.retain(|key| *key != "~last");
    keys.sort_unstable();
    let mut expected = names;
    expected.sort_unstable();
    assert_eq!(keys, expected);
}

#[tokio::test]
async fn without_hints_looks_find_everything_and_open_files_are_waited_for() {
    let mut inbox = Inbox::deaf();
    inbox.start();
    std::fs::write(inbox.path("kept"), "1").unwrap();
    std::fs::write(inbox.path("gone"), "1").unwrap();
    let mut open = File::create(inbox.path("open")).unwrap();
    open.write_all(b"half").unwrap();
    inbox.after(2).await;
    std::fs::remove_file(inbox.path("gone")).unwrap();
    // By now the file that is open has been left alone for longer than it takes to be believed.
    inbox.after(5).await;
    open.write_all(b" done").unwrap();
    drop(open);
    let mut events = inbox.after(8).await;
    events.retain(|(_, key, _)| key != "~last");
    events[..2].sort();
    let expected = [
        created("gone", 1),
        created("kept", 1),
        removed("gone"),
        created("open", 9),
    ];
    assert_eq!(events, expected);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn across_crashes_every_file_is_told_once_and_the_last_word_on_each_is_true() {
    for mut inbox in [Inbox::new(), Inbox::deaf()] {
        let folder = inbox.folder.path().to_owned();
        let writer = std::thread::spawn(move || work(&folder));
        for round in 0..12 {
            inbox.start();
            tokio::time::sleep(Duration::from_millis(20 + round * 7 % 60)).await;
            inbox.crash();
        }
        let expected = writer.join().unwrap();
        inbox.start();
        let settled = async {
            loop {
                let events = inbox.events().await;
                let mut files = BTreeMap::new();
                for (name, key, size) in &events {
                    match name.as_str() {
                        "ObjectRemoved:Delete" => files.remove(key),
                        _ => files.insert(key.clone(), *size),
                    };
                }
                if files == expected {
                    return events;
                }
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        let settled = tokio::time::timeout(PATIENCE, settled).await;
        let count = settled.expect("the events lead to what is there").len();
        let events = inbox.after(count).await;
        for kept in 0..60 {
            let key = format!("kept/{kept}");
            let told: Vec<_> = events.iter().filter(|(_, of, _)| *of == key).collect();
            assert_eq!(told.len(), 1, "{told:?}");
        }
        // Created and removed by turns, or created anew in another size.
        let mut last: BTreeMap<&str, &(String, String, u64)> = BTreeMap::new();
        for event in &events {
            let before = last.insert(&event.1, event);
            assert_ne!(before, Some(event), "told twice");
            if event.0.starts_with("ObjectRemoved") {
                assert!(before.is_some_and(|it| it.0.starts_with("ObjectCreated")));
            }
        }
    }
}

/// Drops files that stay as they are, and others that change in size and go; returns what is left.
fn work(folder: &Path) -> BTreeMap<String, u64> {
    let mut left = BTreeMap::new();
    std::fs::create_dir(folder.join("kept")).unwrap();
    for round in 0..60_u64 {
        let kept = format!("kept/{round}");
        match round % 2 {
            0 => std::fs::write(folder.join(&kept), vec![b'k'; 10]).unwrap(),
            _ => {
                // From the same file system, as `mv` does it.
                let beside = folder.join("kept").join(format!(".{round}"));
                std::fs::write(&beside, vec![b'k'; 10]).unwrap();
                std::fs::rename(beside, folder.join(&kept)).unwrap();
            }
        }
        left.insert(kept, 10);
        let changing = format!("changing-{}", round % 7);
        if round % 3 == 2 {
            let _ = std::fs::remove_file(folder.join(&changing));
            left.remove(&changing);
        } else {
            std::fs::write(folder.join(&changing), vec![b'c'; round as usize]).unwrap();
            left.insert(changing, round);
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    left
}
