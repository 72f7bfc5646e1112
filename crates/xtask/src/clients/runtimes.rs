//! AWS's runtime interface clients, each in a folder that becomes a function's package.

use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, Result};

use super::{NPM, PYTHON, kafka, text};
use crate::cache::Cache;
use crate::command::{self, output};
use crate::contract::{self, Export};
use crate::debian::{self, Tool};

/// The Python that a function finds on the path of its sandbox, whatever else this machine has.
const SYSTEM_PYTHON: &str = "/usr/bin/python3";
const AWSLAMBDARIC: &str = "awslambdaric==4.2.2";
/// The last that the Node.js of Debian runs: 4 wants Node.js 22.
const AWS_LAMBDA_RIC: &str = "aws-lambda-ric@3.3.0";
/// What npm builds it with: a part of it is C++, over a curl of its own.
const BUILDERS: [Tool; 5] = [
    Tool {
        program: "cmake",
        package: "cmake",
    },
    Tool {
        program: "autoreconf",
        package: "autoconf",
    },
    Tool {
        program: "automake",
        package: "automake",
    },
    Tool {
        program: "libtoolize",
        package: "libtool",
    },
    Tool {
        program: "c++",
        package: "g++",
    },
];
/// The headers of the system's Node.js, which its build else wants from the internet.
const NODE_HEADERS: &str = "/usr/include/node/node_api.h";
const POM: &str = include_str!("runtimes/pom.xml");
/// The handlers that are compiled, whose source the tests keep.
const JAVA: [(&str, &str); 2] = [
    (
        "Handlers.java",
        include_str!("../../../../tests/e2e/handlers/java/Handlers.java"),
    ),
    (
        "Broken.java",
        include_str!("../../../../tests/e2e/handlers/java/Broken.java"),
    ),
];
const GO: [(&str, &str); 3] = [
    (
        "go.mod",
        include_str!("../../../../tests/e2e/handlers/go/go.mod"),
    ),
    (
        "go.sum",
        include_str!("../../../../tests/e2e/handlers/go/go.sum"),
    ),
    (
        "main.go",
        include_str!("../../../../tests/e2e/handlers/go/main.go"),
    ),
];
const MONO: Tool = Tool {
    program: "mono",
    package: "mono-runtime",
};
const MCS: Tool = Tool {
    program: "mcs",
    package: "mono-mcs",
};
/// The assemblies of a package in C#, with the arguments that compile them, and one in place of .NET's own.
const CSHARP: [(&str, &str, &[&str]); 4] = [
    (
        "Handlers.cs",
        include_str!("../../../../tests/e2e/handlers/csharp/Handlers.cs"),
        &["-r:System.dll", "-r:System.Core.dll"],
    ),
    (
        "Broken.cs",
        include_str!("../../../../tests/e2e/handlers/csharp/Broken.cs"),
        &[],
    ),
    (
        "Runtime.cs",
        include_str!("../../../../tests/e2e/handlers/csharp/Runtime.cs"),
        &["-out:System.Runtime.dll"],
    ),
    (
        "Modern.cs",
        include_str!("../../../../tests/e2e/handlers/csharp/Modern.cs"),
        &["-r:./System.Runtime.dll"],
    ),
];

/// awslambdaric, from PyPI.
pub(super) fn python(cache: &Cache) -> Result<Vec<Export>> {
    if !Path::new(SYSTEM_PYTHON).is_file() {
        debian::install("python3")?;
    }
    let version = output(Command::new(SYSTEM_PYTHON).args([
        "-c",
        "import sys; print('%d.%d' % sys.version_info[:2], end='')",
    ]))?;
    let venv = super::python(cache)?;
    let python = venv.iter().find(|(name, _)| *name == contract::PYTHON);
    let (_, python) = python.context("the Python of the clients")?;
    let recipe = format!("{AWSLAMBDARIC} for {version}");
    let folder = cache.fetched("awslambdaric", &recipe, |folder| {
        let mut pip = Command::new(python);
        pip.args(["-m", "pip", "install", "--quiet", "--only-binary=:all:"]);
        pip.args(["--python-version", &version, "--target"]);
        command::run(pip.arg(folder).arg(AWSLAMBDARIC))
    })?;
    Ok(vec![(contract::RIC_PYTHON, text(folder)?)])
}

/// aws-lambda-ric, from npm, which builds it.
pub(super) fn node(cache: &Cache) -> Result<Vec<Export>> {
    let folder = cache.fetched("aws-lambda-ric", AWS_LAMBDA_RIC, |folder| {
        PYTHON.installed()?;
        for tool in BUILDERS {
            tool.installed()?;
        }
        if !Path::new(NODE_HEADERS).is_file() {
            debian::install("libnode-dev")?;
        }
        let mut npm = Command::new(NPM.installed()?);
        npm.args(["install", "--silent", "--no-audit", "--no-fund", "--prefix"]);
        npm.env("npm_config_nodedir", "/usr")
            .env("MAKEFLAGS", "-j2");
        command::run(npm.arg(folder).arg(AWS_LAMBDA_RIC))?;
        // What built it is no part of a package.
        let modules = folder.join("node_modules");
        let others = fs::read_dir(&modules).context("list node_modules")?;
        let others = others
            .flatten()
            .map(|entry| entry.path())
            .filter(|path| !path.ends_with("aws-lambda-ric"))
            .chain([modules.join("aws-lambda-ric/deps")]);
        for path in others.filter(|path| path.is_dir()) {
            fs::remove_dir_all(&path).with_context(|| format!("remove {}", path.display()))?;
        }
        Ok(())
    })?;
    Ok(vec![(contract::RIC_NODE, text(folder)?)])
}

/// aws-lambda-java-runtime-interface-client, from Maven Central, and handlers beside it.
pub(super) fn java(cache: &Cache) -> Result<Vec<Export>> {
    let compiler = kafka::COMPILER.installed()?;
    let recipe: String = JAVA.iter().map(|(_, source)| *source).collect();
    let folder = cache.fetched("java-ric", &format!("{POM}{recipe}"), |folder| {
        fs::write(folder.join("pom.xml"), POM).context("write pom.xml")?;
        let mut maven = Command::new(kafka::MAVEN.installed()?);
        maven.current_dir(folder).args([
            "--batch-mode",
            "--quiet",
            "-Dstyle.color=never",
            "dependency:copy-dependencies",
            "-DincludeScope=runtime",
            "-DoutputDirectory=lib",
        ]);
        command::run(&mut maven)?;
        let mut javac = Command::new(compiler);
        javac
            .current_dir(folder)
            .args(["--release", "17", "-cp", "lib/*"]);
        for (name, source) in JAVA {
            fs::write(folder.join(name), source).with_context(|| format!("write {name}"))?;
            javac.arg(name);
        }
        command::run(&mut javac)
    })?;
    Ok(vec![(contract::RIC_JAVA, text(folder)?)])
}

/// aws-lambda-go, as a program with its handlers.
pub(super) fn go(cache: &Cache) -> Result<Vec<Export>> {
    let program = super::go_program(cache, ("go-handlers", "bootstrap"), &GO)?;
    Ok(vec![(contract::RIC_GO, text(program)?)])
}

/// Handlers in C#, compiled by Mono, which is to run them.
pub(super) fn csharp(cache: &Cache) -> Result<Vec<Export>> {
    MONO.installed()?;
    let compiler = MCS.installed()?;
    let recipe: String = CSHARP.iter().map(|(_, source, _)| *source).collect();
    let folder = cache.fetched("csharp-handlers", &recipe, |folder| {
        for (name, source, arguments) in CSHARP {
            fs::write(folder.join(name), source).with_context(|| format!("write {name}"))?;
            let mut mcs = Command::new(&compiler);
            mcs.current_dir(folder)
                .args(["-nologo", "-target:library", name]);
            command::run(mcs.args(arguments))?;
        }
        // The package of one that is built for a modern .NET does not hold .NET.
        fs::remove_file(folder.join("System.Runtime.dll")).context("remove System.Runtime.dll")
    })?;
    Ok(vec![(contract::CSHARP, text(folder)?)])
}
