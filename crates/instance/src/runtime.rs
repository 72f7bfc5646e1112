//! AWS's runtime identifiers, and one of ours.

use std::fmt;
use std::str::FromStr;

/// A runtime that instances can be started for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Runtime {
    /// `python3.MINOR`.
    Python {
        /// The minor version, 8 to 15.
        minor: u8,
    },
    /// `nodejsMAJOR.x`.
    Node {
        /// The major version, even, 16 to 26.
        major: u8,
    },
    /// `javaMAJOR`: AWS's client for Java, which the package or a layer brings.
    Java {
        /// The major version: 11, 17, 21 or 25.
        major: u8,
    },
    /// `rubyMAJOR.MINOR`.
    Ruby {
        /// 3 or 4.
        major: u8,
        /// 2 to 4 of Ruby 3, 0 of Ruby 4.
        minor: u8,
    },
    /// `dotnetMAJOR`: C#, which Mono runs here.
    Dotnet {
        /// The major version: 6, 8 or 10.
        major: u8,
    },
    /// `provided`: the package's own `bootstrap`.
    Provided,
    /// `provided.al2`: the same on this platform.
    ProvidedAl2,
    /// `provided.al2023`: the same on this platform.
    ProvidedAl2023,
    /// `wasm`: a WebAssembly program, which is a runtime of this platform's alone.
    Wasm,
}

/// Why an identifier names no runtime of ours.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum UnsupportedRuntime {
    /// AWS knows it; instances cannot be started for it.
    #[error("runtime {identifier} is known to AWS but cannot be run here")]
    NotRunHere {
        /// As it was given.
        identifier: String,
    },
    /// Neither an identifier of AWS's nor ours.
    #[error("runtime {identifier:?} does not exist")]
    Unknown {
        /// As it was given.
        identifier: String,
    },
}

/// The families of AWS's enumeration (botocore 1.44.5) that are not run here.
const NOT_RUN_HERE: [&str; 5] = ["java", "ruby", "dotnet", "go1.", "custom"];

/// The versions of Ruby that AWS has and has not retired.
const RUBIES: [(&str, u8, u8); 4] = [("3.2", 3, 2), ("3.3", 3, 3), ("3.4", 3, 4), ("4.0", 4, 0)];

impl FromStr for Runtime {
    type Err = UnsupportedRuntime;

    fn from_str(identifier: &str) -> Result<Self, Self::Err> {
        match identifier {
            "provided" => return Ok(Self::Provided),
            "provided.al2" => return Ok(Self::ProvidedAl2),
            "provided.al2023" => return Ok(Self::ProvidedAl2023),
            "wasm" => return Ok(Self::Wasm),
            _ => {}
        }
        let python = identifier.strip_prefix("python");
        let node = identifier.strip_prefix("nodejs");
        if let Some(minor) = python.and_then(|version| number(version.strip_prefix("3.")?))
            && (8..=15).contains(&minor)
        {
            return Ok(Self::Python { minor });
        }
        if let Some(major) = node.and_then(|version| number(version.strip_suffix(".x")?))
            && (16..=26).contains(&major)
            && major.is_multiple_of(2)
        {
            return Ok(Self::Node { major });
        }
        if let Some(major) = identifier.strip_prefix("java").and_then(number)
            && matches!(major, 11 | 17 | 21 | 25)
        {
            return Ok(Self::Java { major });
        }
        let ruby = identifier.strip_prefix("ruby");
        if let Some(version) = ruby.and_then(|version| RUBIES.iter().find(|it| it.0 == version)) {
            let &(_, major, minor) = version;
            return Ok(Self::Ruby { major, minor });
        }
        if let Some(major) = identifier.strip_prefix("dotnet").and_then(number)
            && matches!(major, 6 | 8 | 10)
        {
            return Ok(Self::Dotnet { major });
        }
        let identifier = identifier.to_owned();
        let retired = matches!(
            identifier.as_str(),
            "python2.7"
                | "python3.6"
                | "python3.7"
                | "nodejs"
                | "nodejs4.3"
                | "nodejs4.3-edge"
                | "nodejs6.10"
                | "nodejs8.10"
                | "nodejs10.x"
                | "nodejs12.x"
                | "nodejs14.x"
        );
        let elsewhere = NOT_RUN_HERE
            .iter()
            .any(|family| identifier.starts_with(family));
        Err(if retired || elsewhere {
            UnsupportedRuntime::NotRunHere { identifier }
        } else {
            UnsupportedRuntime::Unknown { identifier }
        })
    }
}

/// A decimal number as AWS writes it: digits only, no leading zero.
fn number(digits: &str) -> Option<u8> {
    let plain = digits.bytes().all(|byte| byte.is_ascii_digit()) && !digits.starts_with('0');
    if plain { digits.parse().ok() } else { None }
}

impl fmt::Display for Runtime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Python { minor } => write!(f, "python3.{minor}"),
            Self::Node { major } => write!(f, "nodejs{major}.x"),
            Self::Java { major } => write!(f, "java{major}"),
            Self::Ruby { major, minor } => write!(f, "ruby{major}.{minor}"),
            Self::Dotnet { major } => write!(f, "dotnet{major}"),
            Self::Provided => f.write_str("provided"),
            Self::ProvidedAl2 => f.write_str("provided.al2"),
            Self::ProvidedAl2023 => f.write_str("provided.al2023"),
            Self::Wasm => f.write_str("wasm"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_identifier_that_is_run_reads_back_as_itself() {
        let python = (8..=15).map(|minor| format!("python3.{minor}"));
        let node = (16..=26).step_by(2).map(|major| format!("nodejs{major}.x"));
        let provided = ["provided", "provided.al2", "provided.al2023", "wasm"].map(str::to_owned);
        let java = [11, 17, 21, 25].map(|major| format!("java{major}"));
        let ruby = ["3.2", "3.3", "3.4", "4.0"].map(|version| format!("ruby{version}"));
        let dotnet = [6, 8, 10].map(|major| format!("dotnet{major}"));
        let ours = python.chain(node).chain(java).chain(ruby).chain(dotnet);
        for identifier in ours.chain(provided) {
            let runtime: Runtime = identifier.parse().unwrap();
            assert_eq!(runtime.to_string(), identifier);
        }
    }

    #[test]
    fn a_runtime_that_is_not_run_is_refused_by_name() {
        for identifier in [
            "java8.al2",
            "java17.al2023",
            "ruby2.7",
            "dotnetcore3.1",
            "go1.x",
            "python2.7",
            "nodejs14.x",
        ] {
            let refused = identifier.parse::<Runtime>().unwrap_err();
            assert!(matches!(&refused, UnsupportedRuntime::NotRunHere { .. }));
            assert!(refused.to_string().contains(identifier));
        }
    }

    #[test]
    fn what_aws_never_had_does_not_exist() {
        for identifier in [
            "",
            "python3",
            "python3.08",
            "python3.99",
            "nodejs17.x",
            "cobol",
            "wasm32",
        ] {
            assert!(matches!(
                identifier.parse::<Runtime>(),
                Err(UnsupportedRuntime::Unknown { .. })
            ));
        }
    }
}
