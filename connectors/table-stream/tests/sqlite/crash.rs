use std::io::Write as _;
use std::time::Duration;

use crate::file::File;
use crate::ledger::{Dice, TABLES, assert_equal_to_ledger, fill, work};
use crate::run::Run;

const ROUNDS: u64 = 12;

fn rounds() -> u64 {
    let asked = std::env::var("TIDEMILL_CRASH_ROUNDS").ok();
    asked.and_then(|text| text.parse().ok()).unwrap_or(ROUNDS)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn crashes_of_the_connector_and_of_writers_lose_nothing_and_repeat_nothing() {
    let test = "crashes_of_the_connector_and_of_writers_lose_nothing_and_repeat_nothing";
    for mode in ["WAL", "DELETE"] {
        let Some(file) = File::find(test) else {
            return;
        };
        file.run(&format!(
            "PRAGMA journal_mode = {mode}; {TABLES} {}",
            fill(500)
        ));
        let mut run = Run::of(&file, &["item"]);
        let mut dice = Dice::new(11);
        for round in 0..rounds() {
            let mut writers = Vec::new();
            for seed in 1..=2 {
                let mut writer = file.writer();
                let mut input = writer.stdin.take().unwrap();
                let mut dice = Dice::new(round * 2 + seed);
                // Until the writer is killed.
                let feed = std::thread::spawn(move || {
                    while input.write_all(work(&mut dice, 500).as_bytes()).is_ok() {}
                });
                writers.push((writer, feed));
            }
            for _ in 0..=dice.below(2) {
                run.start();
                tokio::time::sleep(Duration::from_millis(dice.below(150))).await;
                run.crash().await;
            }
            for (mut writer, feed) in writers {
                writer.kill().unwrap();
                let ended = writer.wait_with_output().unwrap();
                let errors = String::from_utf8_lossy(&ended.stderr);
                assert!(errors.is_empty(), "a writer was in trouble: {errors}");
                feed.join().unwrap();
            }
            // Changes of before and after it wait together for whoever starts next.
            if round % 4 == 3 {
                file.run(&format!(
                    "ALTER TABLE item ADD COLUMN extra{round} DEFAULT 'x'"
                ));
            }
        }
        run.start();
        let events = run.fence(&file, "item", 1_000_000).await;
        assert!(events.len() > 500, "{}", events.len());
        assert_equal_to_ledger(&file, &events);
        assert_eq!(file.run("PRAGMA integrity_check"), "ok");
        run.crash().await;
    }
}
