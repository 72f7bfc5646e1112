use serde::Deserialize;

/// How an instance's log is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LogFormat {
    /// The platform's lines are text; everything is kept.
    #[default]
    Text,
    /// The platform's lines are JSON objects, and so are those of runtimes that read
    /// `AWS_LAMBDA_LOG_FORMAT`. Of lines that are JSON objects those below a severity go; `level` says
    /// how severe a line is, `INFO` if it says nothing that is known. Other lines are kept.
    Json {
        /// The least severe of the function's lines that are kept.
        application: Severity,
        /// The least severe of the platform's lines that are kept.
        system: Severity,
    },
}

/// How severe a line is, least first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// AWS's `TRACE`.
    Trace,
    /// AWS's `DEBUG`.
    Debug,
    /// AWS's `INFO`.
    Info,
    /// AWS's `WARN`.
    Warn,
    /// AWS's `ERROR`.
    Error,
    /// AWS's `FATAL`.
    Fatal,
}

/// What a line that a function printed says of itself.
#[derive(Deserialize)]
struct Line<'a> {
    #[serde(borrow)]
    level: Option<std::borrow::Cow<'a, str>>,
}

impl Severity {
    const ALL: [Self; 6] = [
        Self::Trace,
        Self::Debug,
        Self::Info,
        Self::Warn,
        Self::Error,
        Self::Fatal,
    ];

    /// AWS's name of it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Trace => "TRACE",
            Self::Debug => "DEBUG",
            Self::Info => "INFO",
            Self::Warn => "WARN",
            Self::Error => "ERROR",
            Self::Fatal => "FATAL",
        }
    }

    /// How severe a line that a function printed is; `None` for one that is no JSON object.
    pub(crate) fn of_line(line: &[u8]) -> Option<Self> {
        if line.first() != Some(&b'{') {
            return None;
        }
        // A `level` that is no text is as good as none.
        let level = match serde_json::from_slice::<Line<'_>>(line) {
            Ok(line) => line.level,
            Err(error) if error.is_data() => None,
            Err(_) => return None,
        };
        let named = level.and_then(|level| {
            // Python's names of two of them.
            let level = match level.to_ascii_uppercase().as_str() {
                "WARNING" => Self::Warn.name().into(),
                "CRITICAL" => Self::Fatal.name().into(),
                _ => level,
            };
            let is_named = |it: &Self| it.name().eq_ignore_ascii_case(&level);
            Self::ALL.into_iter().find(is_named)
        });
        Some(named.unwrap_or(Self::Info))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lines_severity_is_what_it_says_and_info_otherwise() {
        let of = |line: &str| Severity::of_line(line.as_bytes());
        assert_eq!(
            of(r#"{"level":"debug","message":"m"}"#),
            Some(Severity::Debug)
        );
        assert_eq!(of(r#"{"a":{"level":"ERROR"}}"#), Some(Severity::Info));
        assert_eq!(of(r#"{"level":"WARNING"}"#), Some(Severity::Warn));
        assert_eq!(of(r#"{"level":"loud"}"#), Some(Severity::Info));
        assert_eq!(of(r#"{"level":30,"msg":"m"}"#), Some(Severity::Info));
        assert_eq!(of(r#"{"level":"ERROR""#), None);
        assert_eq!(of("thread 'main' panicked"), None);
        assert!(Severity::ALL.is_sorted());
    }
}
