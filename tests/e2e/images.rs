//! Container images as functions: from a registry that asks for a password, pushed by skopeo, and from OCI
//! layouts in a folder; run by AWS's own clients for Go and Python.

use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, ensure};
use tests::{Server, program, repository, skip};

/// What a machine needs for this, and how the script is told.
const NEEDED: [(&str, &str); 6] = [
    ("TIDEMILL_TEST_REGISTRY", "REGISTRY"),
    ("TIDEMILL_TEST_REGISTRY_USER", "REGISTRY_USER"),
    ("TIDEMILL_TEST_REGISTRY_PASSWORD", "REGISTRY_PASSWORD"),
    ("TIDEMILL_TEST_SKOPEO", "SKOPEO"),
    ("TIDEMILL_TEST_RIC_GO", "GO_FUNCTION"),
    ("TIDEMILL_TEST_RIC_PYTHON", "RIC"),
];

#[test]
fn images_are_deployed_invoked_updated_and_outlive_a_kill() -> Result<()> {
    let test = "images_are_deployed_invoked_updated_and_outlive_a_kill";
    let mut environment = Vec::new();
    for (variable, name) in NEEDED {
        let Ok(value) = std::env::var(variable) else {
            skip(test, &format!("{variable} was not brought to this machine"));
            return Ok(());
        };
        environment.push((name, value));
    }
    let Some(python) = program("TIDEMILL_TEST_PYTHON", "python3") else {
        skip(test, "Python is not installed");
        return Ok(());
    };
    let folder = tempfile::tempdir()?;
    let path = |name: &str| folder.path().join(name);
    let script = |environment: &[(&str, String)], arguments: &[&Path]| {
        let output = Command::new("timeout")
            .arg("300")
            .arg(&python)
            .arg(repository().join("tests/e2e/scripts/boto3_images.py"))
            .args(arguments)
            .env_remove("AWS_SESSION_TOKEN")
            .env_remove("AWS_PROFILE")
            .envs(environment.iter().map(|(name, value)| (name, value)))
            .output()
            .context("run the script")?;
        ensure!(
            output.status.success(),
            "{arguments:?}: {}",
            String::from_utf8_lossy(&output.stderr)
        );
        Ok(())
    };
    let layouts = path("layouts");
    script(&environment, &[Path::new("build"), &layouts])?;

    let value = |wanted: &str| {
        let found = environment.iter().find(|(name, _)| *name == wanted);
        found.map(|(_, value)| value.as_str()).unwrap_or_default()
    };
    let registry = value("REGISTRY").to_owned();
    let (user, password) = (value("REGISTRY_USER"), value("REGISTRY_PASSWORD"));
    let logins = serde_json::json!({"auths": {
        &registry: {"username": user, "password": password},
    }});
    std::fs::write(path("logins.json"), logins.to_string())?;
    let password = password.to_owned();
    let mut server = Server::start_with(&format!(
        "[functions.images]\nregistries = [\"{registry}\"]\ndocker_config = \"{}\"\nlayouts = \"{}\"\n",
        path("logins.json").display(),
        layouts.display(),
    ))?;
    let (id, secret) = server.credentials()?;
    environment.extend([
        ("AWS_ENDPOINT_URL", server.endpoint()),
        ("AWS_ACCESS_KEY_ID", id),
        ("AWS_SECRET_ACCESS_KEY", secret),
        ("AWS_DEFAULT_REGION", "us-east-1".to_owned()),
    ]);
    script(&environment, &[Path::new("deploy")])?;
    server.kill()?;
    // What is left is the store: neither what was unpacked nor where it came from is needed.
    std::fs::remove_dir_all(server.data_dir().join("cache"))?;
    for gone in ["logins.json", "layouts"] {
        std::fs::rename(path(gone), path(&format!("{gone}-gone")))?;
    }
    server.restart()?;
    script(&environment, &[Path::new("again")])?;
    assert!(!server.log().contains(&password), "a secret was logged");
    Ok(())
}
