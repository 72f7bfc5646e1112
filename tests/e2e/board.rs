//! The board for Grafana shows metrics that there are.

use std::collections::BTreeSet;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;

use anyhow::{Context, Result};
use serde_json::json;
use tests::{Cli, Server, eventually, order_total, publish, repository, skip, zip_file};

#[tokio::test]
async fn every_metric_on_the_board_is_exported() -> Result<()> {
    let board = repository().join("docker/grafana/boards/tidemill.json");
    let shown = names(&std::fs::read_to_string(board)?);
    assert!(shown.len() > 5, "{shown:?}");
    let server = Server::start()?;
    let Some(aws) = Cli::find(&server) else {
        skip("board", "the AWS CLI is not installed");
        return Ok(());
    };
    let work = tempfile::tempdir()?;
    let zip = zip_file(work.path(), "t.zip", &[("bootstrap", order_total()?)])?;
    aws.create_function("totals", ("provided.al2023", "bootstrap"), &zip, &[])?;
    let order = json!({"id": "o", "items": [{"price": 250, "quantity": 2}]}).to_string();
    aws.invoke("totals", &order)?;
    publish(&server.bootstrap(), "orders", [("k".to_owned(), order)]).await?;
    let folder = work.path().join("scans");
    std::fs::create_dir(&folder)?;
    std::fs::write(folder.join("one"), "1")?;
    let folder = folder.to_str().context("a path in UTF-8")?;
    server.tidemill(&[
        "connector",
        "add",
        "folder",
        "--name",
        "scans",
        "--path",
        folder,
    ])?;
    // Usage is billed a moment later.
    eventually("every metric of the board is exported", async || {
        let exported = names(&metrics(&server)?);
        let missing: Vec<_> = shown.difference(&exported).collect();
        if !missing.is_empty() {
            eprintln!("not yet: {missing:?}");
        }
        Ok(missing.is_empty().then_some(()))
    })
    .await
}

/// Every word of ours, without what a histogram's parts are called.
fn names(text: &str) -> BTreeSet<String> {
    let word = |byte: char| !(byte.is_ascii_alphanumeric() || byte == '_');
    text.split(word)
        .filter(|word| word.starts_with("tidemill_"))
        .map(|word| {
            let part = ["_bucket", "_count", "_sum"]
                .iter()
                .find_map(|part| word.strip_suffix(part));
            part.unwrap_or(word).to_owned()
        })
        .collect()
}

fn metrics(server: &Server) -> Result<String> {
    let endpoint = server.endpoint();
    let address = endpoint.strip_prefix("http://").context("plain HTTP")?;
    let mut stream = TcpStream::connect(address)?;
    stream.write_all(b"GET /metrics HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    Ok(answer)
}
