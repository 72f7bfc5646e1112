//! The demo is the main job; it must run as the README says.

use anyhow::Result;
use tests::{order_total, run};

#[test]
fn the_demo_runs_from_start_to_bill() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let bootstrap = folder.path().join("bootstrap");
    std::fs::write(&bootstrap, order_total()?)?;
    let bootstrap = bootstrap.display().to_string();
    let printed = run(&["demo", "--records", "200", "--order-total", &bootstrap])?;
    for part in [
        "Deployed: csv-summary, enrich, order-total",
        "5 files in the bucket inbox, 200 records in the topic earthquakes",
        "csv-summary wrote 5 objects",
        "enrich published 200 records",
        "read back from the topic tidemill.billing",
        "difference 0, duplicates 0",
    ] {
        assert!(printed.contains(part), "{part:?} is missing in:\n{printed}");
    }
    Ok(())
}
