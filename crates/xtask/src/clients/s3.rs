//! S3 clients in other languages and from other people than AWS.

use anyhow::Result;

use super::{go_program, kafka, node_modules, text};
use crate::cache::Cache;
use crate::contract::{self, Export};
use crate::golang::Go;

const AWS_SDK_JS: &str = "@aws-sdk/client-s3@3.1169.0 @aws-sdk/lib-storage@3.1169.0 \
     @aws-sdk/s3-request-presigner@3.1162.0";
const POM: &str = include_str!("s3/pom.xml");
/// The program whose source the tests keep beside their other scripts.
const AWS_SDK_GO: [(&str, &str); 3] = [
    (
        "go.mod",
        include_str!("../../../../tests/e2e/scripts/s3/go/go.mod"),
    ),
    (
        "go.sum",
        include_str!("../../../../tests/e2e/scripts/s3/go/go.sum"),
    ),
    (
        "main.go",
        include_str!("../../../../tests/e2e/scripts/s3/go/main.go"),
    ),
];
/// rclone as its authors have others build it for themselves: all of it but most backends.
const RCLONE: [(&str, &str); 3] = [
    (
        "go.mod",
        include_str!("../../../../tests/e2e/scripts/s3/rclone/go.mod"),
    ),
    (
        "go.sum",
        include_str!("../../../../tests/e2e/scripts/s3/rclone/go.sum"),
    ),
    (
        "main.go",
        include_str!("../../../../tests/e2e/scripts/s3/rclone/main.go"),
    ),
];
/// A program under the AGPL, which runs beside tests and is part of nothing. Its tags are no versions
/// of modules; this is the latest that Go's checksum database knows.
const MC: &str = "github.com/minio/mc@v0.0.0-20250313080218-cf909e1063a9";

/// The AWS SDK for JavaScript, from npm.
pub(super) fn javascript(cache: &Cache) -> Result<Vec<Export>> {
    let modules = node_modules(cache, "aws-sdk-js", AWS_SDK_JS)?;
    Ok(vec![(contract::AWS_SDK_JS, text(modules)?)])
}

/// The AWS SDK for Java, from Maven Central.
pub(super) fn java(cache: &Cache) -> Result<Vec<Export>> {
    let (java, jars) = kafka::java_and_jars(cache, "aws-sdk-java", POM)?;
    Ok(vec![(contract::JAVA, java), (contract::AWS_SDK_JAVA, jars)])
}

/// The AWS SDK for Go, in a program that goes through the story.
pub(super) fn go(cache: &Cache) -> Result<Vec<Export>> {
    let program = go_program(cache, ("aws-sdk-go", "story"), &AWS_SDK_GO)?;
    Ok(vec![(contract::AWS_SDK_GO, text(program)?)])
}

/// rclone, from its Go module.
pub(super) fn rclone(cache: &Cache) -> Result<Vec<Export>> {
    let program = go_program(cache, ("rclone", "rclone"), &RCLONE)?;
    Ok(vec![(contract::RCLONE, text(program)?)])
}

/// mc, from its Go module.
pub(super) fn mc(cache: &Cache) -> Result<Vec<Export>> {
    // Outside the closure: a fetch may not begin another one.
    let go = Go::installed(cache)?;
    let folder = cache.fetched("mc", MC, |folder| go.install(MC, folder))?;
    Ok(vec![(contract::MC, text(folder.join("mc"))?)])
}
