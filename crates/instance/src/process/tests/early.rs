//! Interpreters that wait for their functions.

use super::sandboxed::program;
use super::*;

/// Tells all that a function can see of how it was started.
const PYTHON: &str = r#"
import glob, locale, os, resource, sys, time, threading
loaded, path, arguments = sorted(sys.modules), list(sys.path), sys.argv
count = 0
def handler(event, context):
    global count
    count += 1
    environment = {name: value for name, value in os.environ.items() if "LOG_STREAM" not in name}
    links = [os.readlink(f"/proc/self/fd/{number}").split(":")[0] for number in range(8)
             if os.path.exists(f"/proc/self/fd/{number}")]
    return {
        "early": b"early" in open("/proc/self/cmdline", "rb").read(),
        "count": count,
        "same": [
            environment, loaded, path, arguments, sys.orig_argv, str(sys.flags), os.getcwd(), os.getpid(), links,
            sys.stdout.encoding, sys.stdin.fileno(), locale.setlocale(locale.LC_ALL), time.tzname,
            resource.getrlimit(resource.RLIMIT_NOFILE), threading.active_count(), os.listdir("/opt"),
            os.listdir("/var/task"), os.listdir("/tmp"), sorted(os.listdir("/")),
            sys.stdin.read(),
        ],
    }
"#;

const NODE: &str = r#"
const fs = require('node:fs');
const seen = [process.argv, process.execArgv, process.cwd(), process.pid, module.paths];
let count = 0;
exports.handler = async () => {
  const environment = { ...process.env };
  delete environment.AWS_LAMBDA_LOG_STREAM_NAME;
  return {
    early: fs.readFileSync('/proc/self/cmdline', 'utf8').includes('early'),
    count: ++count,
    same: [
      environment, seen, fs.readlinkSync('/proc/self/fd/0'), Intl.DateTimeFormat().resolvedOptions(),
      ['/opt', '/var/task', '/tmp', '/'].map((folder) => fs.readdirSync(folder)),
      require('node:v8').getHeapStatistics().heap_size_limit, fs.readFileSync(0, 'utf8'),
    ],
  };
};
"#;

/// The answers of a fresh instance and of one for which an interpreter had waited.
async fn both(bench: &Bench, spec: &Spec) -> (Value, Value) {
    let fresh = answer(bench, spec, "fresh").await;
    assert_eq!(fresh["early"], false, "nobody can have waited");
    (fresh, early(bench, spec, "early").await)
}

/// The answer of an instance for which an interpreter had waited.
async fn early(bench: &Bench, spec: &Spec, revision: &str) -> Value {
    bench.launcher.expect(spec.runtime).await.unwrap();
    let answer = answer(bench, spec, revision).await;
    assert_eq!(answer["early"], true);
    answer
}

/// The answer of an instance of its own.
async fn answer(bench: &Bench, spec: &Spec, revision: &str) -> Value {
    let mut spec = spec.clone();
    spec.revision = revision.to_owned();
    spec.function = spec.runtime.to_string();
    bench.answer(&Arc::new(spec), &json!({})).await
}

fn functions(bench: &Bench) -> [Spec; 2] {
    [
        bench.spec("python3.11", "app.handler", "app.py", PYTHON),
        bench.spec("nodejs20.x", "index.handler", "index.js", NODE),
    ]
}

#[tokio::test]
async fn a_function_cannot_tell_whether_its_interpreter_has_waited() {
    let Some(bench) = Bench::early("python3") else {
        return;
    };
    if lacks("node") {
        return;
    }
    for spec in functions(&bench) {
        let (fresh, early) = both(&bench, &spec).await;
        assert_eq!(early["same"], fresh["same"]);
        // Its module is run once, in its own instance.
        assert_eq!((&early["count"], &fresh["count"]), (&json!(1), &json!(1)));
    }
}

#[tokio::test]
async fn an_interpreter_that_a_function_would_start_otherwise_is_started_for_it() {
    let Some(bench) = Bench::early("python3") else {
        return;
    };
    if lacks("node") {
        return;
    }
    let [python, node] = functions(&bench);
    for spec in [&python, &node] {
        both(&bench, spec).await;
    }
    let otherwise = [
        (&python, "PYTHONPATH", "/opt/x", false),
        (&python, "LD_PRELOAD", "", false),
        (&python, "LANG", "C", false),
        (&python, "TZ", "Europe/Berlin", false),
        (&node, "NODE_OPTIONS", "--no-warnings", false),
        (&node, "NODE_PATH", "/var/task", false),
        // What only programs read makes no difference.
        (&node, "NODE_ENV", "production", true),
        (&python, "PATH", "/bin:/usr/bin", true),
    ];
    for (spec, name, value, may_wait) in otherwise {
        let mut spec = spec.clone();
        spec.environment.insert(name.to_owned(), value.to_owned());
        let told = if may_wait {
            early(&bench, &spec, name).await
        } else {
            answer(&bench, &spec, name).await
        };
        assert_eq!(told["early"], may_wait, "{name}");
        assert_eq!(told["same"][0][name], value);
    }
}

#[tokio::test]
async fn libraries_of_packages_and_layers_are_found_by_an_interpreter_that_started_before_they_came()
 {
    let Some(bench) = Bench::early("python3") else {
        return;
    };
    let text = "import ctypes, shared\nfor name in ('package', 'layer'): ctypes.CDLL(f'lib{name}.so')\n\
                def handler(event, context):\n    \
                return {'early': b'early' in open('/proc/self/cmdline', 'rb').read(), 'word': shared.WORD}\n";
    let mut spec = bench.spec("python3.11", "app.handler", "app.py", text);
    let opt = bench.folder.path().join("opt");
    program(&opt.join("python/shared.py"), "WORD = 'of a layer'");
    let library = format!("/proc/{}/maps", std::process::id());
    let maps = std::fs::read_to_string(library).unwrap();
    let library = maps
        .lines()
        .filter_map(|line| line.split_whitespace().nth(5))
        .find(|path| path.contains("/libc.so"))
        .unwrap();
    for (folder, name) in [(&spec.code, "package"), (&opt, "layer")] {
        let path = folder.join("lib").join(format!("lib{name}.so"));
        program(&path, "");
        std::fs::copy(library, path).unwrap();
    }
    spec.opt = Some(opt);
    let answer = early(&bench, &spec, "early").await;
    assert_eq!(answer["word"], "of a layer");
}
