//! What cannot be meant is refused by name, and a password is not repeated.

use anyhow::{Context, Result, ensure};
use tests::Server;

use super::SECRET;

#[tokio::test]
async fn what_a_connector_cannot_be_is_refused_by_name() -> Result<()> {
    let server = Server::start()?;
    let url = format!("postgres://ada:{SECRET}@db/shop");
    for (arguments, expected) in [
        (
            &[
                "postgres",
                "--url",
                "postgres://ada@db/shop",
                "--tables",
                "a",
            ][..],
            "--name",
        ),
        (
            &[
                "postgres",
                "--name",
                "Shop",
                "--url",
                "postgres://ada@db/shop",
            ],
            "Shop",
        ),
        (
            &[
                "postgres",
                "--name",
                "shop",
                "--url",
                "postgres://ada@db/shop",
            ],
            "tables",
        ),
        (
            &[
                "postgres",
                "--name",
                "shop",
                "--url",
                "mysql://ada@db/shop",
                "--tables",
                "a",
            ],
            "url",
        ),
        (
            &["postgres", "--name", "shop", "--url", &url, "--tables", "a"],
            "url holds a password",
        ),
        (
            &["postgres", "--name", "shop", "--isolation", "x"],
            "--isolation",
        ),
        (&["oracle", "--name", "shop"], "oracle"),
    ] {
        let refused = server.attempt(&[&["connector", "add"], arguments].concat())?;
        let said = String::from_utf8(refused.stderr)?;
        ensure!(
            !refused.status.success() && said.contains(expected),
            "{arguments:?}: {said}"
        );
        ensure!(!said.contains(SECRET), "{said}");
    }
    let listed = server.tidemill(&["connector", "list"])?;
    ensure!(listed.contains("There are no connectors"), "{listed}");
    let unknown = server.attempt(&["connector", "pause", "shop"])?;
    ensure!(String::from_utf8(unknown.stderr)?.contains("no connector shop"));
    Ok(())
}

#[tokio::test]
async fn the_accounts_credentials_do_not_suffice_to_change_connectors() -> Result<()> {
    let server = Server::start()?;
    // What a function has: the credentials and the address.
    let elsewhere = tempfile::tempdir()?;
    let keys = server.data_dir().join("credentials");
    std::fs::copy(keys, elsewhere.path().join("credentials"))?;
    let (dir, endpoint) = (elsewhere.path().display().to_string(), server.endpoint());
    let there = ["--data-dir", &dir, "--endpoint-url", &endpoint];
    let add = [
        "connector",
        "add",
        "postgres",
        "--name",
        "shop",
        "--tables",
        "a",
    ];
    let url = ["--url", "postgres://ada@db/shop"];
    for change in [
        &[&add[..], &url].concat()[..],
        &["connector", "pause", "shop"],
        &["connector", "remove", "shop"],
    ] {
        let refused = tests::run(&[change, &there].concat());
        let said = format!("{:#}", refused.err().context("it was done")?);
        ensure!(said.contains("by who runs the server"), "{said}");
    }
    let listed = tests::run(&[&["connector", "list"], &there[..]].concat())?;
    ensure!(listed.contains("There are no connectors"), "{listed}");
    Ok(())
}
