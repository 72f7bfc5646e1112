//! A judge that is not ours: s3s-e2e, the test suite for S3 servers of the s3s project.

use std::collections::BTreeMap;
use std::process::Command;

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use tests::{Server, program, skip};

/// Cases that do not pass, and why.
const EXPECTED: [(&str, &str); 1] = [(
    "Advanced/STS/test_assume_role",
    "it asks for temporary credentials of AWS's security token service, which is no part of S3",
)];

#[test]
fn every_case_of_s3s_e2e_passes_or_is_listed_with_its_reason() -> Result<()> {
    let Some(judge) = program("TIDEMILL_TEST_S3S_E2E", "s3s-e2e") else {
        skip("s3s_e2e", "s3s-e2e is not installed");
        return Ok(());
    };
    let server = Server::start()?;
    let (id, secret) = server.credentials()?;
    let folder = tempfile::tempdir()?;
    let report = folder.path().join("report.json");
    // A judge that hangs is a failure with a name, not a suite without an end.
    let output = Command::new("timeout")
        .arg("120")
        .arg(judge)
        .arg("--json")
        .arg(&report)
        .current_dir(folder.path())
        .env("AWS_ENDPOINT_URL", server.endpoint())
        .env("AWS_ACCESS_KEY_ID", id)
        .env("AWS_SECRET_ACCESS_KEY", secret)
        .env("AWS_REGION", "us-east-1")
        .env("AWS_EC2_METADATA_DISABLED", "true")
        .output()?;
    let said = String::from_utf8_lossy(&output.stdout);
    let report = std::fs::read(&report).with_context(|| format!("no report:\n{said}"))?;
    let cases = cases(&serde_json::from_slice(&report)?)?;
    ensure!(cases.len() >= 18, "it has fewer cases than it had: {said}");
    let failed: Vec<&str> = cases
        .iter()
        .filter(|(_, passed)| !**passed)
        .map(|(name, _)| name.as_str())
        .collect();
    assert_eq!(failed, EXPECTED.map(|(name, _)| name), "{said}");
    Ok(())
}

/// Whether each case of a report passed.
fn cases(report: &Value) -> Result<BTreeMap<String, bool>> {
    let list = |value: &Value, name: &str| {
        let list = value[name].as_array().cloned();
        list.with_context(|| format!("no {name} in the report"))
    };
    let text = |value: &Value| value["name"].as_str().map(str::to_owned).context("no name");
    let mut cases = BTreeMap::new();
    for suite in list(report, "suites")? {
        for fixture in list(&suite, "fixtures")? {
            for case in list(&fixture, "cases")? {
                let name = [text(&suite)?, text(&fixture)?, text(&case)?].join("/");
                cases.insert(name, case["passed"] == true);
            }
        }
    }
    Ok(cases)
}
