//! MinIO's client, `mc`, which shares no code with AWS's.

use std::collections::BTreeSet;
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;

use super::{BUCKET, Deed, Stage, fetched, pattern, variables};

/// More than it sends in one piece.
const LARGE: usize = (17 << 20) + 3;
const AWKWARD: [&str; 3] = ["a b+c%d.txt", "ünï/日本/🦀", "q'\"<&>?#;=@"];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn minios_client_goes_through_the_story() -> Result<()> {
    let test = "minios_client_goes_through_the_story";
    let Some([program]) = variables(test, ["TIDEMILL_TEST_MC"]) else {
        return Ok(());
    };
    let Some(stage) = Stage::set(test)? else {
        return Ok(());
    };
    let mc = Mc { stage, program };
    let (id, secret) = mc.stage.server.credentials()?;
    let address = mc.stage.server.endpoint();
    mc.run(&["alias", "set", "tm", &address, &id, &secret])?;
    mc.run(&["mb", "tm/story"])?;
    mc.stage.have_the_function_told()?;
    let deeds = mc.story().await?;
    mc.stage.saw_exactly(deeds).await
}

struct Mc {
    stage: Stage,
    program: String,
}

impl Mc {
    async fn story(&self) -> Result<Vec<Deed>> {
        let length = |key: &str| u64::try_from(key.len()).expect("a short key");
        let mut deeds = Vec::new();

        // Files with odd names, empty ones, and what it says of them.
        for name in AWKWARD {
            let file = self.file(name, name.as_bytes())?;
            self.run(&["cp", &file, &format!("tm/story/{name}")])?;
            ensure!(self.output(&["cat", &format!("tm/story/{name}")])? == name.as_bytes());
            deeds.push(Deed::put(name, length(name)));
        }
        let empty = self.file("empty", b"")?;
        self.run(&["cp", &empty, "tm/story/empty"])?;
        let plain = self.file("plain.txt", b"hello")?;
        self.run(&[
            "cp",
            "--attr=colour=blue",
            "--tags=a=1&b=v",
            &plain,
            "tm/story/",
        ])?;
        deeds.extend([Deed::put("empty", 0), Deed::put("plain.txt", 5)]);
        let told = self.run(&["stat", "tm/story/plain.txt"])?;
        ensure!(
            told["size"] == 5
                && told["etag"] == "5d41402abc4b2a76b9719d911017c592"
                && told["metadata"]["X-Amz-Meta-Colour"] == "blue"
                && told["metadata"]["Content-Type"] == "text/plain",
            "{told}"
        );

        // Several parts, and from a pipe without a length (always an upload), with each kind of checksum that it offers.
        let large = self.file("large", &pattern(LARGE))?;
        self.run(&["cp", &large, "tm/story/large"])?;
        self.pipes(b"piped", &["pipe", "tm/story/piped"])?;
        let parts = ["pipe", "--part-size=5MiB", "tm/story/streamed"];
        self.pipes(&pattern(LARGE), &parts)?;
        deeds.push(Deed::completed("large", LARGE as u64));
        deeds.push(Deed::completed("piped", 5));
        deeds.push(Deed::completed("streamed", LARGE as u64));
        for algorithm in ["CRC64NVME", "CRC32", "CRC32C", "SHA1", "SHA256"] {
            let (small, big) = (format!("{algorithm}/s"), format!("{algorithm}/l"));
            let checksum = format!("--checksum={algorithm}");
            self.run(&["cp", &checksum, &plain, &format!("tm/story/{small}")])?;
            self.run(&["cp", &checksum, &large, &format!("tm/story/{big}")])?;
            deeds.push(Deed::put(&small, 5));
            deeds.push(Deed::completed(&big, LARGE as u64));
        }
        for key in ["large", "streamed", "SHA256/l"] {
            let whole = self.output(&["cat", &format!("tm/story/{key}")])?;
            ensure!(whole == pattern(LARGE), "{key} is another");
        }
        let edge = (16 << 20) - 3;
        let offset = edge.to_string();
        let rest = self.output(&["cat", "--offset", &offset, "tm/story/large"])?;
        ensure!(rest == pattern(LARGE)[edge..], "a range over parts");

        // Listing, copying, tags.
        for n in 0..12 {
            let key = format!("list/{}/{n}", n / 10);
            self.run(&["cp", &plain, &format!("tm/story/{key}")])?;
            deeds.push(Deed::put(&key, 5));
        }
        let keys = self.listed(&["ls", "--recursive", "tm/story/"])?;
        let created = deeds.iter().map(|Deed(_, key, _)| key.clone());
        let spelled: BTreeSet<String> = keys.iter().map(|key| super::spelled(key)).collect();
        assert_eq!(spelled, created.collect());
        let folders = BTreeSet::from(["0/".to_owned(), "1/".to_owned()]);
        assert_eq!(self.listed(&["ls", "tm/story/list/"])?, folders);
        self.run(&["cp", "tm/story/a b+c%d.txt", "tm/story/copy of 日本"])?;
        self.run(&["mv", "tm/story/copy of 日本", "tm/story/moved"])?;
        ensure!(self.output(&["cat", "tm/story/moved"])? == AWKWARD[0].as_bytes());
        deeds.push(Deed::copied("copy of 日本", length(AWKWARD[0])));
        deeds.push(Deed::copied("moved", length(AWKWARD[0])));
        deeds.push(Deed::deleted("copy of 日本"));
        let tags = self.run(&["tag", "list", "tm/story/plain.txt"])?;
        ensure!(
            tags["tagset"]["a"] == "1" && tags["tagset"]["b"] == "v",
            "{tags}"
        );
        self.run(&["tag", "set", "tm/story/plain.txt", "key 2=v/%2B"])?;
        let tags = self.run(&["tag", "list", "tm/story/plain.txt"])?;
        ensure!(tags["tagset"]["key 2"] == "v/+", "{tags}");
        self.run(&["tag", "remove", "tm/story/plain.txt"])?;
        deeds.push(Deed::tagged("Put", "plain.txt"));
        deeds.push(Deed::tagged("Delete", "plain.txt"));

        // Links for those who have no keys: to read, and a form to post a file with.
        let link = self.run(&["share", "download", "--expire=1h", "tm/story/moved"])?;
        let link = link["share"].as_str().context("a link")?;
        assert_eq!(fetched(link).await?, (200, AWKWARD[0].to_owned()));
        let form = self.run(&["share", "upload", "--expire=1h", "tm/story/by form"])?;
        let form = form["share"].as_str().context("a form")?;
        // It prints a command for a shell, which does not quote the key.
        let form = form.replace("key=by form", "'key=by form'");
        let form = form.replace("<FILE>", &plain);
        let posted = Command::new("sh")
            .args(["-c", &format!("{form} -sSf")])
            .output()?;
        ensure!(posted.status.success(), "{posted:?}");
        deeds.push(Deed(
            "ObjectCreated:Post".to_owned(),
            "by+form".to_owned(),
            Some(5),
        ));

        // What is not there, or must not go yet.
        self.refused("Object does not exist", &["cat", "tm/story/absent"])?;
        self.refused("Object does not exist", &["stat", "tm/story/absent"])?;
        self.refused("Bucket `absent` does not exist", &["ls", "tm/absent"])?;
        self.refused("BucketAlreadyOwnedByYou", &["mb", "tm/story"])?;
        self.refused("is not empty", &["rb", "tm/story"])?;

        // A folder mirrored, then one file less; one object, many at once, a whole bucket.
        let mirrored = self.file("mirrored/one", b"1")?;
        self.file("mirrored/two/three", b"33")?;
        let folder = mirrored.strip_suffix("/one").context("the folder")?;
        self.run(&["mirror", folder, "tm/story/mirror"])?;
        std::fs::remove_file(&mirrored)?;
        self.run(&["mirror", "--remove", folder, "tm/story/mirror"])?;
        deeds.extend([Deed::put("mirror/one", 1), Deed::put("mirror/two/three", 2)]);
        deeds.push(Deed::deleted("mirror/one"));
        self.run(&["rm", "tm/story/empty"])?;
        self.run(&["rm", "--recursive", "--force", "tm/story/list/"])?;
        deeds.push(Deed::deleted("empty"));
        deeds.extend((0..12).map(|n| Deed::deleted(&format!("list/{}/{n}", n / 10))));
        self.run(&["mb", "tm/gone"])?;
        self.run(&["cp", "--recursive", folder, "tm/gone/"])?;
        self.run(&["rb", "--force", "tm/gone"])?;
        let left = BTreeSet::from([format!("{BUCKET}/")]);
        assert_eq!(self.listed(&["ls", "tm/"])?, left);
        Ok(deeds)
    }

    fn file(&self, name: &str, content: &[u8]) -> Result<String> {
        let path = self.stage.file(&format!("files/{name}"), content)?;
        path.into_os_string()
            .into_string()
            .ok()
            .context("a path in UTF-8")
    }

    fn command(&self, arguments: &[&str]) -> Command {
        // A client that hangs is a failure with a name, not a suite without an end.
        let mut command = Command::new("timeout");
        command
            .arg("60")
            .arg(&self.program)
            .args(["--json", "--config-dir"])
            .arg(self.stage.work.path().join("mc"))
            .args(arguments);
        command
    }

    fn output(&self, arguments: &[&str]) -> Result<Vec<u8>> {
        self.stage.run(&mut self.command(arguments))
    }

    /// The last that it said; null where that was nothing.
    fn run(&self, arguments: &[&str]) -> Result<Value> {
        let said = String::from_utf8(self.output(arguments)?)?;
        let last = said.lines().last().unwrap_or("null");
        serde_json::from_str(last).with_context(|| format!("mc {arguments:?}: {said}"))
    }

    fn listed(&self, arguments: &[&str]) -> Result<BTreeSet<String>> {
        let said = String::from_utf8(self.output(arguments)?)?;
        let keys = said.lines().map(|line| {
            let line: Value = serde_json::from_str(line)?;
            line["key"].as_str().map(str::to_owned).context("a key")
        });
        keys.collect()
    }

    fn pipes(&self, content: &[u8], arguments: &[&str]) -> Result<()> {
        let file = self.file("pipe", content)?;
        let mut cat = Command::new("cat")
            .arg(file)
            .stdout(Stdio::piped())
            .spawn()?;
        let mut command = self.command(arguments);
        command.stdin(cat.stdout.take().context("the pipe")?);
        self.stage.run(&mut command)?;
        ensure!(cat.wait()?.success(), "not all was read");
        Ok(())
    }

    fn refused(&self, reason: &str, arguments: &[&str]) -> Result<()> {
        let output = self.stage.output(&mut self.command(arguments))?;
        let said = String::from_utf8_lossy(&output.stdout);
        ensure!(
            !output.status.success() && said.contains(reason),
            "mc {arguments:?} said {said}"
        );
        Ok(())
    }
}
