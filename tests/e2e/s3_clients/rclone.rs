//! rclone, with its settings for stores that it has no name for.

use std::collections::BTreeSet;
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;

use super::{BUCKET, Deed, Stage, fetched, pattern};

const LARGE: usize = (12 << 20) + 3;
/// Parts as small as they may be, so that few bytes have several.
const IN_PARTS: [&str; 6] = [
    "--s3-upload-cutoff=5M",
    "--s3-copy-cutoff=5M",
    "--s3-chunk-size=5M",
    "--retries=1",
    "--low-level-retries=1",
    "--quiet",
];
const AWKWARD: [&str; 3] = ["a b+c%d.txt", "ünï/日本/🦀", "q'\"<&>?#;=@"];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rclone_goes_through_the_story() -> Result<()> {
    let test = "rclone_goes_through_the_story";
    let Some([program]) = super::variables(test, ["TIDEMILL_TEST_RCLONE"]) else {
        return Ok(());
    };
    let Some(stage) = Stage::set(test)? else {
        return Ok(());
    };
    let rclone = Rclone { stage, program };
    rclone.says("", &["mkdir", "tm:story"])?;
    rclone.stage.have_the_function_told()?;
    let deeds = rclone.story().await?;
    rclone.stage.saw_exactly(deeds).await
}

struct Rclone {
    stage: Stage,
    program: String,
}

impl Rclone {
    async fn story(&self) -> Result<Vec<Deed>> {
        let files = self.files()?;
        let local = self.stage.work.path().join("local");
        let local = local.to_str().context("a path in UTF-8")?;
        let length = |key: &str| u64::try_from(key.len()).expect("a short key");
        let mut deeds = vec![Deed::completed("large", LARGE as u64)];
        deeds.extend(AWKWARD.map(|key| Deed::put(key, length(key))));
        deeds.extend(["list/0/1", "list/0/2", "list/1/3"].map(|key| Deed::put(key, 8)));
        deeds.extend([Deed::put("plain.txt", 5), Deed::put("empty", 0)]);

        // A folder there, compared by hashes and by content; a second look changes nothing.
        self.says("", &["copy", local, "tm:story"])?;
        self.says("", &["copy", local, "tm:story"])?;
        self.says("", &["check", local, "tm:story"])?;
        self.says("", &["check", "--download", local, "tm:story"])?;
        let listed = self.run(&["lsf", "--files-only", "-R", "tm:story"])?;
        let listed: BTreeSet<&str> = listed.lines().collect();
        assert_eq!(listed, files.iter().map(String::as_str).collect());
        self.says("0/\n1/\n", &["lsf", "--dirs-only", "tm:story/list"])?;

        // What comes from a pipe has no length; above a bound it is sent in parts.
        self.pipes(b"piped", &["rcat", "tm:story/piped"])?;
        self.pipes(&pattern(LARGE), &["rcat", "tm:story/streamed"])?;
        deeds.push(Deed::put("piped", 5));
        deeds.push(Deed::completed("streamed", LARGE as u64));
        ensure!(self.output(&["cat", "tm:story/streamed"])? == pattern(LARGE));
        let (edge, end) = ((5 << 20) - 3, (5 << 20) + 3);
        let offset = format!("--offset={edge}");
        let part = self.output(&["cat", &offset, "--count=6", "tm:story/large"])?;
        ensure!(part == pattern(end)[edge..], "a range over parts");

        // Metadata, copies without a way through here, and a link for those who have no keys.
        let metadata = ["copyto", "-M", "--metadata-set=colour=blue"];
        let from_to = [format!("{local}/plain.txt"), "tm:story/blue".to_owned()];
        let from_to = from_to.each_ref().map(String::as_str);
        self.says("", &[&metadata[..], &from_to].concat())?;
        deeds.push(Deed::put("blue", 5));
        let told = self.run(&["lsjson", "--metadata", "--stat", "tm:story/blue"])?;
        let told: Value = serde_json::from_str(&told)?;
        ensure!(
            told["Size"] == 5 && told["Metadata"]["colour"] == "blue",
            "{told}"
        );
        self.says(
            "",
            &["copyto", "tm:story/a b+c%d.txt", "tm:story/copy of 日本"],
        )?;
        self.says("", &["copyto", "tm:story/large", "tm:story/large copy"])?;
        self.says("", &["moveto", "tm:story/copy of 日本", "tm:story/moved"])?;
        self.says("a b+c%d.txt", &["cat", "tm:story/moved"])?;
        deeds.push(Deed::copied("copy of 日本", length(AWKWARD[0])));
        deeds.push(Deed::completed("large copy", LARGE as u64));
        deeds.push(Deed::copied("moved", length(AWKWARD[0])));
        deeds.push(Deed::deleted("copy of 日本"));
        let link = self.run(&["link", "--expire=1m", "tm:story/moved"])?;
        assert_eq!(fetched(link.trim()).await?, (200, "a b+c%d.txt".to_owned()));

        // What is not there.
        self.fails(4, &["deletefile", "tm:story/absent"])?;
        self.fails(3, &["lsf", "tm:absent"])?;

        // One file gone, one changed, one new: the bucket follows, and loses what the folder never had.
        std::fs::remove_file(self.stage.work.path().join("local/list/0/1"))?;
        self.stage.file("local/list/0/2", b"changed")?;
        self.stage.file("local/list/0/4", b"new")?;
        self.says("", &["sync", local, "tm:story"])?;
        self.says("", &["check", local, "tm:story"])?;
        deeds.extend([Deed::put("list/0/2", 7), Deed::put("list/0/4", 3)]);
        let extra = [
            "list/0/1",
            "piped",
            "streamed",
            "blue",
            "large copy",
            "moved",
        ];
        deeds.extend(extra.map(Deed::deleted));

        // One object, a folder of them, a bucket.
        self.says("", &["deletefile", "tm:story/empty"])?;
        self.says("", &["purge", "tm:story/list"])?;
        deeds.extend(["empty", "list/0/2", "list/0/4", "list/1/3"].map(Deed::deleted));
        self.says("", &["copy", local, "tm:gone"])?;
        self.fails(1, &["rmdir", "tm:gone"])?;
        self.says("", &["purge", "tm:gone"])?;
        self.says(&format!("{BUCKET}/\n"), &["lsf", "tm:"])?;
        Ok(deeds)
    }

    /// A folder of files; returns their names in it.
    fn files(&self) -> Result<Vec<String>> {
        let mut names: Vec<String> = AWKWARD.map(str::to_owned).to_vec();
        for name in AWKWARD {
            self.stage.file(&format!("local/{name}"), name.as_bytes())?;
        }
        for (name, content) in [
            ("plain.txt", "hello".as_bytes()),
            ("empty", b""),
            ("large", &pattern(LARGE)),
            ("list/0/1", b"list/0/1"),
            ("list/0/2", b"list/0/2"),
            ("list/1/3", b"list/1/3"),
        ] {
            self.stage.file(&format!("local/{name}"), content)?;
            names.push(name.to_owned());
        }
        Ok(names)
    }

    fn command(&self, arguments: &[&str]) -> Result<Command> {
        let (id, secret) = self.stage.server.credentials()?;
        let settings = self.stage.file("rclone.conf", b"")?;
        // A client that hangs is a failure with a name, not a suite without an end.
        let mut command = Command::new("timeout");
        command
            .arg("60")
            .arg(&self.program)
            .args(IN_PARTS)
            .args(arguments)
            .env("RCLONE_CONFIG", settings)
            .env("RCLONE_CONFIG_TM_TYPE", "s3")
            .env("RCLONE_CONFIG_TM_PROVIDER", "Other")
            .env("RCLONE_CONFIG_TM_ENDPOINT", self.stage.server.endpoint())
            .env("RCLONE_CONFIG_TM_ACCESS_KEY_ID", id)
            .env("RCLONE_CONFIG_TM_SECRET_ACCESS_KEY", secret);
        Ok(command)
    }

    fn output(&self, arguments: &[&str]) -> Result<Vec<u8>> {
        self.stage.run(&mut self.command(arguments)?)
    }

    fn run(&self, arguments: &[&str]) -> Result<String> {
        Ok(String::from_utf8(self.output(arguments)?)?)
    }

    fn says(&self, expected: &str, arguments: &[&str]) -> Result<()> {
        let said = self.run(arguments)?;
        ensure!(said == expected, "rclone {arguments:?} said {said:?}");
        Ok(())
    }

    fn pipes(&self, content: &[u8], arguments: &[&str]) -> Result<()> {
        let file = self.stage.file("pipe", content)?;
        let mut cat = Command::new("cat")
            .arg(file)
            .stdout(Stdio::piped())
            .spawn()?;
        let mut command = self.command(arguments)?;
        command.stdin(cat.stdout.take().context("the pipe")?);
        self.stage.run(&mut command)?;
        ensure!(cat.wait()?.success(), "not all was read");
        Ok(())
    }

    /// With the exit code that rclone has for the reason.
    fn fails(&self, code: i32, arguments: &[&str]) -> Result<()> {
        let output = self.stage.output(&mut self.command(arguments)?)?;
        let said = String::from_utf8_lossy(&output.stderr);
        let ended = output.status.code();
        ensure!(
            ended == Some(code),
            "rclone {arguments:?}: {ended:?} {said}"
        );
        Ok(())
    }
}
