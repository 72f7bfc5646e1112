//! A job that brings its own root.

use super::*;

/// A folder with a shell, the libraries it needs, and what a sandbox wants to find.
fn root(bench: &Bench) -> PathBuf {
    let root = bench.folder.path().join("image");
    let libraries = std::process::Command::new("ldd").arg("/bin/sh").output();
    let libraries = String::from_utf8(libraries.unwrap().stdout).unwrap();
    let libraries = libraries.split_whitespace();
    let mut files: Vec<_> = libraries.filter(|word| word.starts_with('/')).collect();
    files.push("/bin/sh");
    for file in files {
        let to = root.join(&file[1..]);
        fs::create_dir_all(to.parent().unwrap()).unwrap();
        fs::copy(file, to).unwrap();
    }
    for folder in ["dev", "etc", "proc", "tmp", "opt"] {
        fs::create_dir(root.join(folder)).unwrap();
    }
    for file in ["etc/hosts", "etc/resolv.conf", "etc/passwd"] {
        fs::write(root.join(file), "its own\n").unwrap();
    }
    // What the test's own temporary folder is hidden by.
    fs::set_permissions(bench.folder.path(), fs::Permissions::from_mode(0o755)).unwrap();
    root
}

fn job(root: &Path, script: &str) -> Job {
    Job {
        root: Some(root.to_owned()),
        names: BTreeMap::from([("db.example".to_owned(), [127, 1, 0, 1].into())]),
        ..program("sh", &["-c", script])
    }
}

#[tokio::test]
async fn a_jobs_own_root_is_all_there_is_and_nobody_writes_to_it() {
    let Some(bench) = Bench::new() else { return };
    let root = root(&bench);
    let script = r#"
        echo /*
        read line < /etc/passwd; echo "$line"
        while read address name; do echo "$address $name"; done < /etc/hosts
        read pid rest < /proc/self/stat && test "$pid" -lt 100 && echo processes
        echo x > /dev/null && echo x > /tmp/x && echo written
        for place in / /etc/ /opt/ /dev/ /proc/; do (echo x > ${place}x) 2> /tmp/e || echo refused; done
        for file in /etc/passwd /etc/hosts /bin/sh; do (: >> $file) 2> /tmp/e || echo refused; done
    "#;
    let (text, exit) = bench.start(job(&root, script)).await.finish().await;
    let mut lines = text.lines();
    let listed: Vec<_> = lines.next().unwrap().split(' ').collect();
    let mut expected: Vec<_> = fs::read_dir(&root)
        .unwrap()
        .map(|entry| format!("/{}", entry.unwrap().file_name().to_str().unwrap()))
        .collect();
    expected.sort();
    assert_eq!(listed, expected, "{text}");
    assert_eq!(lines.next(), Some("its own"));
    let rest: Vec<_> = lines.collect();
    assert_eq!(rest[0], "127.0.0.1 localhost", "{text}");
    assert!(rest.contains(&"127.1.0.1 db.example"), "{text}");
    let last = rest.iter().skip_while(|line| **line != "processes");
    let last: Vec<_> = last.copied().collect();
    assert_eq!(last[..2], ["processes", "written"], "{text}");
    assert_eq!(last[2..], ["refused"; 8], "{text}");
    assert_eq!(exit, Exit::Status(0));
    assert_eq!(fs::read(root.join("etc/passwd")).unwrap(), b"its own\n");
}

#[tokio::test]
async fn companions_and_relative_names_are_those_of_the_jobs_own_root() {
    let Some(bench) = Bench::new() else { return };
    let root = root(&bench);
    fs::write(
        root.join("opt/run"),
        "#!/bin/sh\necho \"$0 in $PWD\"\nexit 7",
    )
    .unwrap();
    fs::set_permissions(root.join("opt/run"), fs::Permissions::from_mode(0o755)).unwrap();
    let mut job = job(&root, "exit 0");
    job.program.executable = PathBuf::from("./run");
    job.program.arguments.clear();
    job.program.directory = PathBuf::from("/opt");
    let mut companion = job.program.clone();
    companion.executable = PathBuf::from("/opt/run");
    companion.directory = PathBuf::from("/");
    job.companions = vec![companion];
    let mut running = bench.start(job).await;
    let mut beside = File::from(running.sandbox.take_companions_output().unwrap());
    running.sandbox.all_exited().await;
    let (text, exit) = running.finish().await;
    assert_eq!((text.as_str(), exit), ("./run in /opt\n", Exit::Status(7)));
    let mut text = String::new();
    beside.read_to_string(&mut text).unwrap();
    assert_eq!(text, "/opt/run in /\n");
}

#[tokio::test]
async fn a_root_without_places_for_a_sandbox_is_an_error_that_names_one() {
    let Some(bench) = Bench::new() else { return };
    let root = root(&bench);
    fs::remove_dir(root.join("proc")).unwrap();
    let refused = bench.spawner.spawn(job(&root, "exit 0")).await.unwrap_err();
    assert!(refused.to_string().contains("/proc"), "{refused}");
}
