//! Shows what the functions made.

use anyhow::Context;
use bytes::Bytes;
use http::Method;

use super::deploy::{Deployment, SUMMARIES};
use super::sources::ENRICHED;
use crate::client::Client;
use crate::topics;

/// Characters of one output that are shown.
const SHOWN: usize = 400;

/// Prints a sample of every kind of output.
///
/// # Errors
/// An output that must be there is not.
pub(crate) async fn show(client: &Client, deployment: &Deployment) -> anyhow::Result<()> {
    if deployment.has("csv-summary") {
        let keys = summaries(client).await?;
        say(&format!(
            "  csv-summary wrote {} objects to the bucket {SUMMARIES}:",
            keys.len()
        ));
        for key in &keys {
            say(&format!("    {key}"));
        }
        let key = keys.first().context("a summary")?;
        let object = client
            .demand(
                "s3",
                Method::GET,
                &format!("/{SUMMARIES}/{key}"),
                Bytes::new(),
            )
            .await?;
        say(&format!("  {key} begins: {}", shorten(&object)));
    }
    if deployment.has("enrich") {
        let enriched = topics::read(client, ENRICHED).await?;
        say(&format!(
            "  enrich published {} records to the topic {ENRICHED}, for example:",
            enriched.len()
        ));
        let first = enriched.into_iter().next().context("an enriched record")?;
        let value = first.value.context("its value")?.into_bytes()?;
        say(&format!("    {}", shorten(&value)));
    }
    if deployment.has("order-total") {
        say("  order-total returned the totals of each batch; its log has a line for each record.");
    }
    Ok(())
}

/// The keys in the bucket of summaries. The listing is S3's XML; keys of the demo need no decoding.
async fn summaries(client: &Client) -> anyhow::Result<Vec<String>> {
    let path = format!("/{SUMMARIES}?list-type=2");
    let listing = client
        .demand("s3", Method::GET, &path, Bytes::new())
        .await?;
    let listing = String::from_utf8(listing.to_vec()).context("the listing")?;
    Ok(listing
        .split("<Key>")
        .skip(1)
        .filter_map(|rest| rest.split_once("</Key>"))
        .map(|(key, _)| key.to_owned())
        .collect())
}

fn shorten(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(bytes);
    let mut shown: String = text.split_whitespace().collect::<Vec<_>>().join(" ");
    if let Some((cut, _)) = shown.char_indices().nth(SHOWN) {
        shown.truncate(cut);
        shown.push('…');
    }
    shown
}

#[expect(clippy::print_stdout, reason = "the command's own output")]
fn say(text: &str) {
    println!("{text}");
}
