//! Functions that are container images: what a request says of one, and how one is shown.

use container_image::{Error, Image};
use function::limits::{IMAGE_SETTINGS_BYTES, IMAGE_WORDS, WORKING_DIRECTORY_CHARS};
use function::{Arriving, Function, ImageCode, ImageFaultKind, ImageOverrides};
use serde_json::{Map, Value, json};

use super::settings::Settings;
use crate::members::Members;
use crate::{ApiError, State};

/// The word for a function's code that is an image.
pub(super) const IMAGE: &str = "Image";

/// The word for a package.
pub(super) const ZIP: &str = "Zip";

/// Whether a new function's code is to be an image.
pub(super) fn is_asked_for(members: &mut Members) -> Result<bool, ApiError> {
    match members.text("PackageType")?.as_deref() {
        None | Some(ZIP) => Ok(false),
        Some(IMAGE) => Ok(true),
        Some(other) => {
            let constraint = "satisfy enum value set: [Image, Zip]";
            Err(members.unsatisfied("PackageType", other, constraint))
        }
    }
}

/// The image that these members name. Takes it.
pub(super) async fn named(
    state: &State,
    members: &mut Members,
    act: &str,
) -> Result<Image, ApiError> {
    let Some(uri) = members.text("ImageUri")? else {
        return Err(ApiError::InvalidParameter(format!(
            "Please provide ImageUri when {act} a function with packageType Image."
        )));
    };
    state
        .images
        .resolve(&uri)
        .await
        .map_err(|error| match error {
            Error::Reference { .. } => ApiError::InvalidParameter(format!(
                "Source image {uri} is not valid. Provide a valid source image. ({error})"
            )),
            Error::NotFound { .. } => ApiError::InvalidParameter(format!(
                "Source image {uri} does not exist. Provide a valid source image."
            )),
            Error::NotPermitted { .. } | Error::Denied { .. } => {
                ApiError::InvalidParameter(format!(
                    "Lambda does not have permission to access the source image {uri}. ({error})"
                ))
            }
            Error::Invalid { .. } => ApiError::InvalidParameter(format!(
                "The image manifest, config or layer media type for the source image {uri} is not \
             supported. ({error})"
            )),
            Error::TooLarge { .. } => {
                ApiError::InvalidParameter(format!("Source image {uri} is too large. ({error})"))
            }
            Error::Unavailable { .. } | Error::Io { .. } => ApiError::service(&error),
        })
}

/// What a request says in the place of what the image says. Takes it; `None` where it says nothing.
pub(super) fn overrides(members: &mut Members) -> Result<Option<ImageOverrides>, ApiError> {
    let Some(mut config) = members.object("ImageConfig")? else {
        return Ok(None);
    };
    let overrides = ImageOverrides {
        entry_point: words(&mut config, "EntryPoint")?,
        command: words(&mut config, "Command")?,
        working_directory: config
            .short_text("WorkingDirectory", WORKING_DIRECTORY_CHARS)?
            .filter(|text| !text.is_empty()),
    };
    config.finish()?;
    let lists = [&overrides.entry_point, &overrides.command];
    let words = lists.into_iter().flatten().flatten();
    let bytes: usize = words
        .chain(&overrides.working_directory)
        .map(String::len)
        .sum();
    if bytes > IMAGE_SETTINGS_BYTES {
        return Err(ApiError::InvalidParameter(format!(
            "ImageConfig exceeds the limit of {IMAGE_SETTINGS_BYTES} bytes. Bytes measured: {bytes}"
        )));
    }
    Ok(Some(overrides))
}

/// A list of words; an empty one says nothing.
fn words(members: &mut Members, name: &str) -> Result<Option<Vec<String>>, ApiError> {
    let words = members.texts(name)?.filter(|words| !words.is_empty());
    match words {
        Some(words)
            if words.len() > IMAGE_WORDS || words.iter().any(|word| word.contains('\0')) =>
        {
            Err(ApiError::InvalidParameter(format!(
                "{name} has at most {IMAGE_WORDS} words, and no zero bytes in them."
            )))
        }
        words => Ok(words),
    }
}

/// Refuses what only a package has, or only an image.
pub(super) fn check_settings(
    settings: &Settings,
    overrides: Option<&ImageOverrides>,
    image: bool,
) -> Result<(), ApiError> {
    let layers = settings.layers.as_ref();
    let of_package = settings.runtime.is_some()
        || settings.handler.is_some()
        || layers.is_some_and(|layers| !layers.is_empty());
    if image && of_package {
        return Err(ApiError::InvalidParameter(
            "Please don't provide Handler or Runtime or Layer when the intended function PackageType \
             is Image."
                .to_owned(),
        ));
    }
    if !image && overrides.is_some() {
        return Err(ApiError::InvalidParameter(
            "Please don't provide ImageConfig when the intended function PackageType is Zip."
                .to_owned(),
        ));
    }
    Ok(())
}

/// Refuses an image for a package.
pub(super) fn expect_none(members: &mut Members, act: &str) -> Result<(), ApiError> {
    match members.text("ImageUri")? {
        None => Ok(()),
        Some(_) => Err(ApiError::InvalidParameter(format!(
            "Please don't provide ImageUri when {act} a function with packageType Zip."
        ))),
    }
}

/// Refuses to publish what has not arrived yet.
pub(super) fn expect_unpublished(publish: bool) -> Result<(), ApiError> {
    match publish {
        false => Ok(()),
        true => Err(ApiError::InvalidParameter(
            "Publish is not supported by this server with packageType Image: publish a version once \
             the image has arrived"
                .to_owned(),
        )),
    }
}

/// Refuses to run a function whose first image has not arrived.
pub(crate) fn expect_active(function: &Function) -> Result<(), ApiError> {
    match &function.image {
        Some(code) if code.running.is_none() => Err(ApiError::Conflict(format!(
            "The operation cannot be performed at this time. The function is currently in the \
             following state: {}",
            state(code)
        ))),
        Some(_) | None => Ok(()),
    }
}

fn state(code: &ImageCode) -> &'static str {
    match (&code.running, &code.arriving) {
        (Some(_), _) => "Active",
        (None, Some(Arriving::Pending(_))) => "Pending",
        (None, Some(Arriving::Failed { .. }) | None) => "Failed",
    }
}

/// Changes a function's configuration to that of an image.
pub(super) fn show(function: &Function, shown: &mut Map<String, Value>) {
    let Some(code) = &function.image else {
        return;
    };
    for member in ["Runtime", "Handler"] {
        shown.remove(member);
    }
    let mut set = |member: &str, value: Value| shown.insert(member.to_owned(), value);
    set("PackageType", json!(IMAGE));
    set("CodeSize", json!(0));
    if let Some(image) = code.wanted() {
        set("CodeSha256", json!(image.digest.hex()));
    }
    set("State", json!(state(code)));
    let overrides = overrides_shown(&code.overrides);
    if !overrides.is_empty() {
        set("ImageConfigResponse", json!({"ImageConfig": overrides}));
    }
    let (status, reason, word) = match &code.arriving {
        None => return,
        Some(Arriving::Pending(_)) => (
            "InProgress",
            "The function is being created.".to_owned(),
            "Creating",
        ),
        Some(Arriving::Failed { fault, .. }) => ("Failed", fault.reason.clone(), word(fault.kind)),
    };
    set("LastUpdateStatus", json!(status));
    if code.running.is_none() {
        set("StateReason", json!(reason));
        set("StateReasonCode", json!(word));
    }
    if status == "Failed" {
        set("LastUpdateStatusReason", json!(reason));
        set("LastUpdateStatusReasonCode", json!(word));
    }
}

/// AWS's word for whose fault it is.
const fn word(kind: ImageFaultKind) -> &'static str {
    match kind {
        ImageFaultKind::AccessDenied => "ImageAccessDenied",
        ImageFaultKind::Gone => "ImageDeleted",
        ImageFaultKind::Invalid => "InvalidImage",
        ImageFaultKind::Internal => "InternalError",
    }
}

fn overrides_shown(overrides: &ImageOverrides) -> Map<String, Value> {
    let members = [
        ("EntryPoint", json!(overrides.entry_point)),
        ("Command", json!(overrides.command)),
        ("WorkingDirectory", json!(overrides.working_directory)),
    ];
    let stated = members.into_iter().filter(|(_, value)| !value.is_null());
    stated
        .map(|(name, value)| (name.to_owned(), value))
        .collect()
}

/// Where a function's image comes from. It is no registry of AWS's, whatever AWS's clients take it for.
pub(super) fn location(code: &ImageCode) -> Value {
    match code.wanted() {
        Some(image) => json!({
            "RepositoryType": "OCI",
            "ImageUri": image.uri,
            "ResolvedImageUri": image.resolved_uri,
        }),
        None => json!({"RepositoryType": "OCI"}),
    }
}
