//! What a server asks for that was taken over after it had given up root's rights.

use rustix::fs::{CWD, Mode};
use rustix::io::Errno;

use super::*;
use crate::Early;

/// What it does not see it cannot show: of the process that has started it even that there is one.
pub(super) async fn look(bench: &Bench) {
    let parent = rustix::process::getppid().unwrap().as_raw_nonzero();
    let mut job = shell("cat /var/x");
    job.binds = vec![Bind {
        from: PathBuf::from(format!("/proc/{parent}/cmdline")),
        to: PathBuf::from("/var/x"),
    }];
    let error = bench.spawner.spawn(job).await.unwrap_err();
    let Error::Prepare { source, .. } = error else {
        panic!("{error}");
    };
    assert_eq!(source.kind(), ErrorKind::NotFound);
}

/// All that a server can be brought to ask for which would be another's right.
pub(super) async fn ask(bench: &Bench, roots: &Path) {
    let refused = async |job: Job, why: Errno| {
        let error = bench.spawner.spawn(job).await.unwrap_err();
        match error {
            Error::Prepare { act, source } => {
                assert_eq!(source.raw_os_error(), Some(why.raw_os_error()), "{act}")
            }
            other => panic!("{other}"),
        }
    };
    let mine = bench.folder.path();
    let showing = |binds: &[(&Path, &str)]| Job {
        binds: binds
            .iter()
            .map(|(from, to)| Bind {
                from: from.to_path_buf(),
                to: PathBuf::from(to),
            })
            .collect(),
        ..shell("cat /var/task/*")
    };

    // What it may not read it cannot show, nor what lies behind, nor what is neither file nor folder.
    assert!(fs::read_dir(roots).is_err());
    let (behind, file) = (roots.join("open"), roots.join("open/file"));
    let pipe = mine.join("pipe");
    rustix::fs::mkfifoat(CWD, &pipe, Mode::RWXU).unwrap();
    for from in [roots, &behind, &file, &pipe] {
        refused(showing(&[(from, "/var/task")]), Errno::ACCESS).await;
    }
    let namespace = Path::new("/proc/self/ns/net");
    refused(showing(&[(namespace, "/var/task")]), Errno::LOOP).await;
    let mut job = shell("true");
    job.root = Some(behind.clone());
    refused(job, Errno::ACCESS).await;
    // What is there and what is not looks the same.
    for name in ["open", "open/file", "missing"] {
        let to = format!("/var/all{}", roots.join(name).display());
        let all = (Path::new("/"), "/var/all");
        refused(showing(&[all, (mine, &to)]), Errno::ACCESS).await;
    }
    // Its own program it may, wherever that is.
    let own = std::env::current_exe().unwrap();
    let (text, exit) = bench
        .run_job(Job {
            program: shell("test -s /var/own").program,
            ..showing(&[(&own, "/var/own")])
        })
        .await;
    assert_eq!(exit, Exit::Status(0), "{text}");

    // Links of its own lead nobody out of the sandbox.
    let links = mine.join("links");
    fs::create_dir(&links).unwrap();
    symlink(roots, links.join("way")).unwrap();
    symlink(roots.join("open/file"), links.join("hosts")).unwrap();
    let given = mine.join("given");
    fs::write(&given, "planted").unwrap();
    let around = (&*links, "/var/task");
    for (from, to) in [
        (&*given, "/var/task/way/planted"),
        (&*given, "/var/task/way/open/file"),
        (&*links, "/var/task/way/open/folder"),
    ] {
        refused(showing(&[around, (from, to)]), Errno::LOOP).await;
    }
    // Before there is a job, and over a file that is written to after that.
    let early = |binds: &[(&Path, &str)]| Early {
        binds: showing(binds).binds,
        ..early::of(&shell("echo early; cat > /dev/null"))
    };
    let named = |early: Early| Job {
        names: BTreeMap::from([("x".to_owned(), [127, 1, 0, 1].into())]),
        early: Some(early),
        ..shell("echo late")
    };
    let plain = mine.join("plain");
    fs::create_dir(&plain).unwrap();
    let mut astray = early(&[around]);
    astray.folders.push(PathBuf::from("/var/task/way/planted"));
    for (early, says) in [
        (early(&[(&plain, "/var/task")]), "early\n"),
        (astray, "late\n"),
        (early(&[(&links, "/etc")]), "early\n"),
    ] {
        bench.spawner.expect(&early).await;
        assert_eq!(bench.run_job(named(early)).await.0, says);
    }
    // In a root of its own.
    let image = mine.join("image");
    for folder in ["dev", "etc", "proc"] {
        fs::create_dir_all(image.join(folder)).unwrap();
    }
    for file in ["etc/hosts", "etc/resolv.conf"] {
        fs::write(image.join(file), "").unwrap();
    }
    symlink(roots, image.join("tmp")).unwrap();
    let mut job = shell("true");
    job.root = Some(image.clone());
    refused(job.clone(), Errno::LOOP).await;
    fs::remove_dir(image.join("dev")).unwrap();
    symlink(roots, image.join("dev")).unwrap();
    refused(job, Errno::LOOP).await;

    // What a sandbox has of its own stays that.
    for to in ["/proc", "/proc/self", "/dev/null"] {
        refused(showing(&[(&*given, to)]), Errno::ACCESS).await;
    }
    refused(showing(&[(mine, "/")]), Errno::INVAL).await;
    for name in ["a\n127.0.0.1 b", "a b", "#"] {
        let mut job = shell("true");
        job.names = BTreeMap::from([(name.to_owned(), [127, 1, 0, 1].into())]);
        refused(job, Errno::INVAL).await;
    }

    // Where it is put together nobody puts something else.
    let places: Vec<_> = mount_points(std::process::id());
    assert_eq!(places.len(), 1);
    let metadata = fs::metadata(&places[0]).unwrap();
    assert_eq!((metadata.uid(), metadata.mode() & 0o777), (0, 0o700));
    let moved = fs::rename(&places[0], "/run/elsewhere").unwrap_err();
    assert_eq!(moved.kind(), ErrorKind::PermissionDenied);
}
