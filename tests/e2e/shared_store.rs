//! The registry on an S3-compatible store that is not ours.

use anyhow::Result;
use serde_json::json;
use tests::{Cli, ForeignStore, Server, order_total, skip, zip_file};

#[tokio::test]
async fn functions_and_keys_are_in_the_store_and_outlive_the_data_folder() -> Result<()> {
    let Some(store) = ForeignStore::find().await? else {
        skip("shared_store", "there is no S3-compatible store");
        return Ok(());
    };
    let work = tempfile::tempdir()?;
    let file = work.path().join("keys");
    std::fs::write(&file, store.credentials())?;
    let settings = store.settings(&file);
    let one = Server::start_with(&settings)?;
    let Some(aws) = Cli::find(&one) else {
        skip("shared_store", "the AWS CLI is not installed");
        return Ok(());
    };
    let zip = zip_file(work.path(), "t.zip", &[("bootstrap", order_total()?)])?;
    let code = std::fs::read(&zip)?;
    let put = store.client().put_object().bucket(store.bucket());
    put.key("packages/t.zip").body(code.into()).send().await?;
    create(
        &aws,
        "uploaded",
        &["--zip-file", &format!("fileb://{}", zip.display())],
    )?;
    let named = format!("S3Bucket={},S3Key=packages/t.zip", store.bucket());
    create(&aws, "fetched", &["--code", &named])?;
    let update = ["lambda", "update-function-configuration", "--function-name"];
    aws.run(&[&update[..], &["uploaded", "--memory-size", "256"]].concat())?;

    let refused = aws.refused(&["s3", "ls"])?;
    assert!(refused.contains("NotImplemented"), "{refused}");
    assert!(refused.contains(store.endpoint()), "{refused}");
    let keys = one.credentials()?;
    drop(one);

    // Another machine, as far as it can tell.
    let other = Server::start_with(&settings)?;
    assert_eq!(other.credentials()?, keys);
    let aws = Cli::find(&other).expect("it was there before");
    let order = json!({"id": "o", "items": [{"price": 250, "quantity": 2}]}).to_string();
    for name in ["uploaded", "fetched"] {
        aws.invoke(name, &order)?;
    }
    let described = aws.run(&["lambda", "get-function", "--function-name", "uploaded"])?;
    assert!(described.contains("\"MemorySize\": 256"), "{described}");
    Ok(())
}

fn create(aws: &Cli<'_>, name: &str, code: &[&str]) -> Result<String> {
    let function = [
        "lambda",
        "create-function",
        "--function-name",
        name,
        "--runtime",
        "provided.al2023",
        "--handler",
        "bootstrap",
        "--role",
        "arn:aws:iam::000000000000:role/any",
    ];
    aws.run(&[&function[..], code].concat())
}
