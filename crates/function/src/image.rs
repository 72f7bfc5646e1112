//! Functions whose code is a container image.

use std::collections::BTreeMap;

use container_image::{Error, Image};
use serde::{Deserialize, Serialize};

/// The code of a function that is a container image: what runs, and what is to run next.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ImageCode {
    /// The image that instances run; `None` until the first has arrived.
    pub running: Option<Image>,
    /// The image that was asked for last, unless that is the one that runs.
    pub arriving: Option<Arriving>,
    /// What the function says in the place of what its image says.
    #[serde(default)]
    pub overrides: ImageOverrides,
}

/// An image that was asked for and does not run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Arriving {
    /// It is being fetched, stored and unpacked.
    Pending(Image),
    /// It was given up.
    Failed {
        /// The image.
        image: Image,
        /// Why.
        fault: ImageFault,
    },
}

/// Why an image was given up.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ImageFault {
    /// Whose fault it is.
    pub kind: ImageFaultKind,
    /// What happened, in words for the user.
    pub reason: String,
}

/// Whose fault it is that an image was given up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ImageFaultKind {
    /// It may not be read.
    AccessDenied,
    /// A part of it is gone.
    Gone,
    /// It is no image that can be run.
    Invalid,
    /// Ours, or the registry's.
    Internal,
}

/// What a function says in the place of what its image says (AWS's `ImageConfig`). `None` leaves the
/// image's.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ImageOverrides {
    /// In the place of `ENTRYPOINT`.
    pub entry_point: Option<Vec<String>>,
    /// In the place of `CMD`.
    pub command: Option<Vec<String>>,
    /// In the place of `WORKDIR`.
    pub working_directory: Option<String>,
}

/// How an image is run for one function.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ImageRun {
    /// Entry point and command: the program, then its arguments. Empty where neither is stated.
    pub command: Vec<String>,
    /// The function's handler in AWS's sense: the first word of the command, or nothing.
    pub handler: String,
    /// Variables that the image sets.
    pub environment: BTreeMap<String, String>,
    /// Where it starts; `/` where nothing is stated.
    pub working_directory: String,
}

impl ImageCode {
    /// A function that is to run `image`.
    #[must_use]
    pub const fn pending(image: Image, overrides: ImageOverrides) -> Self {
        Self {
            running: None,
            arriving: Some(Arriving::Pending(image)),
            overrides,
        }
    }

    /// The image that is being brought in, if one is.
    #[must_use]
    pub const fn awaited(&self) -> Option<&Image> {
        match &self.arriving {
            Some(Arriving::Pending(image)) => Some(image),
            Some(Arriving::Failed { .. }) | None => None,
        }
    }

    /// The image that was asked for last.
    #[must_use]
    pub const fn wanted(&self) -> Option<&Image> {
        match &self.arriving {
            Some(Arriving::Pending(image) | Arriving::Failed { image, .. }) => Some(image),
            None => self.running.as_ref(),
        }
    }

    /// Every image that is still of use: what runs, and what is to come.
    pub(crate) fn images(&self) -> impl Iterator<Item = &Image> {
        self.running.iter().chain(self.awaited())
    }

    /// How the image that runs is run; `None` until there is one.
    #[must_use]
    pub fn run(&self) -> Option<ImageRun> {
        let image = &self.running.as_ref()?.run;
        let stated = &self.overrides;
        let entry_point = stated.entry_point.as_ref().unwrap_or(&image.entry_point);
        let command = stated.command.as_ref().unwrap_or(&image.command);
        let directory = stated.working_directory.as_ref();
        let directory = directory.unwrap_or(&image.working_directory);
        Some(ImageRun {
            command: entry_point.iter().chain(command).cloned().collect(),
            handler: command.first().cloned().unwrap_or_default(),
            environment: image.environment.clone(),
            working_directory: match directory.as_str() {
                "" => "/".to_owned(),
                stated => stated.to_owned(),
            },
        })
    }
}

impl From<&Error> for ImageFault {
    fn from(error: &Error) -> Self {
        let kind = match error {
            Error::NotPermitted { .. } | Error::Denied { .. } => ImageFaultKind::AccessDenied,
            Error::NotFound { .. } => ImageFaultKind::Gone,
            Error::Reference { .. } | Error::Invalid { .. } | Error::TooLarge { .. } => {
                ImageFaultKind::Invalid
            }
            Error::Unavailable { .. } | Error::Io { .. } => ImageFaultKind::Internal,
        };
        let reason = error.to_string();
        Self { kind, reason }
    }
}

#[cfg(test)]
mod tests {
    use container_image::{Digest, RunConfig};

    use super::*;

    #[test]
    fn what_a_function_says_takes_the_place_of_what_its_image_says_part_by_part() {
        let words = |text: &str| text.split(' ').map(str::to_owned).collect::<Vec<_>>();
        let image = Image {
            uri: "oci:a".to_owned(),
            resolved_uri: "oci:a".to_owned(),
            digest: Digest::of(b""),
            layers: Vec::new(),
            run: RunConfig {
                entry_point: words("python -m client"),
                command: words("app.handler"),
                environment: BTreeMap::new(),
                working_directory: String::new(),
            },
        };
        let mut code = ImageCode::pending(image.clone(), ImageOverrides::default());
        assert_eq!((code.run(), code.wanted()), (None, Some(&image)));
        code.running = code.awaited().cloned();
        code.arriving = None;
        let run = code.run().unwrap();
        assert_eq!(run.command, words("python -m client app.handler"));
        assert_eq!(run.handler, "app.handler");
        assert_eq!(run.working_directory, "/");
        code.overrides.command = Some(words("other.handler x"));
        code.overrides.working_directory = Some("/srv".to_owned());
        let run = code.run().unwrap();
        assert_eq!(run.command, words("python -m client other.handler x"));
        assert_eq!(
            (run.handler.as_str(), run.working_directory.as_str()),
            ("other.handler", "/srv")
        );
    }
}
