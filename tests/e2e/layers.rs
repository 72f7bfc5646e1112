//! Layers through the AWS command line: what functions find at `/opt`.

use anyhow::Result;
use serde_json::{Value, json};
use tests::{Cli, Server, skip, zip_file};

const READER: &[u8] = br#"
import os, subprocess, sys
def handler(event, context):
    import shared
    found = {}
    for folder, _, names in os.walk("/opt"):
        for name in names:
            path = os.path.join(folder, name)
            found[path] = open(path).read()
    try:
        open("/opt/new", "w")
        written = True
    except OSError:
        written = False
    said = subprocess.run(["tool"], capture_output=True, text=True).stdout
    return {"found": found, "word": shared.WORD, "written": written, "said": said, "libraries": os.environ["LD_LIBRARY_PATH"]}
"#;

#[test]
fn layers_lie_over_one_another_at_opt() -> Result<()> {
    let server = Server::start()?;
    let Some(aws) = Cli::find(&server) else {
        skip("layers_lie_over_one_another_at_opt", "no AWS command line");
        return Ok(());
    };
    let dir = tempfile::tempdir()?;
    let publish = |name: &str, files: &[(&str, &[u8])]| -> Result<String> {
        let archive = zip_file(dir.path(), &format!("{name}.zip"), files)?;
        let archive = format!("fileb://{}", archive.display());
        let published = aws.run(&[
            "lambda",
            "publish-layer-version",
            "--layer-name",
            name,
            "--zip-file",
            &archive,
            "--compatible-runtimes",
            "python3.11",
        ])?;
        let published: Value = serde_json::from_str(&published)?;
        Ok(published["LayerVersionArn"]
            .as_str()
            .unwrap_or_default()
            .to_owned())
    };
    let base = publish(
        "base",
        &[
            ("python/shared.py", b"WORD = 'base'"),
            ("python/only_base.py", b""),
            ("bin/tool", b"#!/bin/sh\necho from a layer\n"),
        ],
    )?;
    let over = publish("over", &[("python/shared.py", b"WORD = 'over'")])?;
    let code = zip_file(dir.path(), "code.zip", &[("app.py", READER)])?;
    let code = format!("fileb://{}", code.display());
    let mut create = vec!["lambda", "create-function", "--function-name", "reader"];
    create.extend([
        "--runtime",
        "python3.11",
        "--handler",
        "app.handler",
        "--timeout",
        "20",
    ]);
    create.extend(["--role", "arn:aws:iam::000000000000:role/any"]);
    create.extend(["--zip-file", &code, "--layers", &base, &over]);
    aws.run(&create)?;
    let answer = aws.invoke("reader", "{}")?;
    let tool = "#!/bin/sh\necho from a layer\n";
    assert_eq!(
        answer["found"],
        json!({
            "/opt/python/shared.py": "WORD = 'over'", "/opt/python/only_base.py": "",
            "/opt/bin/tool": tool,
        })
    );
    assert_eq!(answer["word"], "over", "later layers prevail");
    assert_eq!(answer["written"], false);
    assert_eq!(answer["said"], "from a layer\n");
    let update = |layers: &[&str]| -> Result<String> {
        let mut arguments = vec!["lambda", "update-function-configuration"];
        arguments.extend(["--function-name", "reader", "--layers"]);
        arguments.extend(layers);
        aws.run(&arguments)
    };
    update(&[&over, &base])?;
    assert_eq!(aws.invoke("reader", "{}")?["word"], "base");
    aws.run(&[
        "lambda",
        "delete-layer-version",
        "--layer-name",
        "over",
        "--version-number",
        "1",
    ])?;
    assert_eq!(aws.invoke("reader", "{}")?["word"], "base", "it serves on");
    let listed: Value = serde_json::from_str(&aws.run(&["lambda", "list-layers"])?)?;
    assert_eq!(listed["Layers"][0]["LayerName"], "base");
    assert_eq!(listed["Layers"].as_array().map(Vec::len), Some(1));
    update(&[&base])?;
    let refused = {
        let mut arguments = vec!["lambda", "update-function-configuration"];
        arguments.extend(["--function-name", "reader", "--layers", &over]);
        aws.refused(&arguments)?
    };
    assert!(refused.contains("does not exist"), "{refused}");
    Ok(())
}
