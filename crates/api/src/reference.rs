//! How requests name functions and mappings.

use function::{FunctionName, LayerId, LayerName, Qualifier, TriggerId};
use uuid::Uuid;

use crate::{ApiError, State};

/// The pattern that AWS's message shows (service model, `NamespacedFunctionName`).
const PATTERN: &str = r"(arn:(aws[a-zA-Z-]*)?:lambda:)?([a-z]{2}((-gov)|(-iso([a-z]?)))?-[a-z]+-\d{1}:)?(\d{12}:)?(function:)?([a-zA-Z0-9-_\.]+)(:(\$LATEST(\.PUBLISHED)?|[a-zA-Z0-9-_]+))?";

/// Likewise (service model, `LayerVersionArn`).
const LAYER_PATTERN: &str =
    r"arn:[a-zA-Z0-9-]+:lambda:[a-zA-Z0-9-]+:\d{12}:layer:[a-zA-Z0-9-_]+:[0-9]+";

impl State {
    /// The function that `text` names: a name, a partial ARN or an ARN, each with or without a
    /// qualifier, which may also come apart. Only `$LATEST` exists.
    ///
    /// Says nothing about whether the function exists.
    pub(crate) fn qualified(
        &self,
        text: &str,
        qualifier: Option<&str>,
    ) -> Result<(FunctionName, Option<Qualifier>), ApiError> {
        let invalid = || {
            ApiError::Validation(format!(
                "Value '{}' at 'functionName' failed to satisfy constraint: Member must satisfy \
                 regular expression pattern: {PATTERN}",
                text.chars().take(200).collect::<String>()
            ))
        };
        let words: Vec<&str> = text.split(':').collect();
        let (region, account, name, own) = match words.as_slice() {
            ["arn", "aws", "lambda", region, account, "function", name] => {
                (*region, *account, *name, None)
            }
            [
                "arn",
                "aws",
                "lambda",
                region,
                account,
                "function",
                name,
                own,
            ] => (*region, *account, *name, Some(*own)),
            [account, "function", name] => (self.region.as_str(), *account, *name, None),
            [account, "function", name, own] => (self.region.as_str(), *account, *name, Some(*own)),
            ["function", name] => (self.region.as_str(), self.account.as_str(), *name, None),
            [name] => (self.region.as_str(), self.account.as_str(), *name, None),
            [name, own] => (
                self.region.as_str(),
                self.account.as_str(),
                *name,
                Some(*own),
            ),
            _ => return Err(invalid()),
        };
        let parsed = FunctionName::new(name).map_err(|_| invalid())?;
        if let (Some(own), Some(apart)) = (own, qualifier)
            && own != apart
        {
            return Err(ApiError::InvalidParameter(
                "The derived qualifier from the function name does not match the specified \
                 qualifier."
                    .to_owned(),
            ));
        }
        let qualifier = own.or(qualifier).filter(|qualifier| !qualifier.is_empty());
        let known = match qualifier {
            None => Some(None),
            Some(text) if text == Qualifier::Latest.as_str() => Some(Some(Qualifier::Latest)),
            Some(_) => None,
        };
        if let Some(known) = known
            && region == self.region
            && account == self.account
        {
            return Ok((parsed, known));
        }
        let suffix = qualifier.map(|qualifier| format!(":{qualifier}"));
        Err(ApiError::NotFound(format!(
            "Function not found: arn:aws:lambda:{region}:{account}:function:{name}{}",
            suffix.unwrap_or_default()
        )))
    }

    /// Likewise, where the qualifier makes no difference.
    pub(crate) fn function_name(
        &self,
        text: &str,
        qualifier: Option<&str>,
    ) -> Result<FunctionName, ApiError> {
        self.qualified(text, qualifier).map(|(name, _)| name)
    }

    /// The ARN of a function.
    pub(crate) fn function_arn(&self, name: &FunctionName) -> String {
        format!(
            "arn:aws:lambda:{}:{}:function:{name}",
            self.region, self.account
        )
    }

    /// The function of that name.
    pub(crate) fn expect_function(
        &self,
        name: &FunctionName,
    ) -> Result<std::sync::Arc<function::Function>, ApiError> {
        let found = self.registry.function(name);
        found.ok_or_else(|| self.function_not_found(name))
    }

    pub(crate) fn function_not_found(&self, name: &FunctionName) -> ApiError {
        ApiError::NotFound(format!("Function not found: {}", self.function_arn(name)))
    }

    /// The layer that `text` names, by its name or its ARN.
    pub(crate) fn layer_name(&self, text: &str) -> Result<LayerName, ApiError> {
        let words: Vec<&str> = text.split(':').collect();
        let name = match words.as_slice() {
            ["arn", "aws", "lambda", region, account, "layer", name]
                if *region == self.region && *account == self.account =>
            {
                *name
            }
            ["arn", ..] => return Err(layer_not_found()),
            _ => text,
        };
        LayerName::new(name).map_err(|error| {
            ApiError::Validation(format!(
                "Value at 'layerName' failed to satisfy constraint: {error}"
            ))
        })
    }

    /// The version of a layer that a path names.
    pub(crate) fn layer_id(&self, name: &str, version: &str) -> Result<LayerId, ApiError> {
        let name = self.layer_name(name)?;
        match version.parse() {
            Ok(version) => Ok(LayerId { name, version }),
            Err(_) => Err(ApiError::Validation(format!(
                "Value '{version}' at 'versionNumber' failed to satisfy constraint: Member must be \
                 a number"
            ))),
        }
    }

    /// The version of a layer that an ARN names.
    pub(crate) fn layer_version_arn(&self, arn: &str) -> Result<LayerId, ApiError> {
        let invalid = || {
            ApiError::Validation(format!(
                "Value '{}' at 'layers' failed to satisfy constraint: Member must satisfy regular \
                 expression pattern: {LAYER_PATTERN}",
                arn.chars().take(200).collect::<String>()
            ))
        };
        let (layer, version) = arn.rsplit_once(':').ok_or_else(invalid)?;
        if !layer.starts_with("arn:") || version.parse::<u64>().is_err() {
            return Err(invalid());
        }
        let not_ours = || {
            ApiError::InvalidParameter(format!(
                "Layer version {arn} does not exist: this server has layers of its own account and \
                 region only"
            ))
        };
        let name = self.layer_name(layer).map_err(|_| not_ours())?;
        self.layer_id(name.as_str(), version)
    }

    /// The ARN of a mapping.
    pub(crate) fn mapping_arn(&self, id: TriggerId) -> String {
        format!(
            "arn:aws:lambda:{}:{}:event-source-mapping:{id}",
            self.region, self.account
        )
    }
}

/// The mapping that a UUID names.
pub(crate) fn mapping_id(text: &str) -> Result<TriggerId, ApiError> {
    match Uuid::parse_str(text) {
        Ok(uuid) => Ok(TriggerId::from_uuid(uuid)),
        Err(_) => Err(mapping_not_found()),
    }
}

fn layer_not_found() -> ApiError {
    ApiError::NotFound("The resource you requested does not exist.".to_owned())
}

pub(crate) fn mapping_not_found() -> ApiError {
    ApiError::NotFound("The resource you requested does not exist.".to_owned())
}
