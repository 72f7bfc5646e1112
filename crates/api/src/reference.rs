//! How requests name functions and mappings.

use std::sync::Arc;

use function::{
    Alias, AliasName, Function, FunctionName, LayerId, LayerName, QualifiedName, Qualifier,
    TriggerId,
};
use uuid::Uuid;

use crate::{ApiError, State};

/// The pattern that AWS's message shows (service model, `NamespacedFunctionName`).
const PATTERN: &str = r"(arn:(aws[a-zA-Z-]*)?:lambda:)?([a-z]{2}((-gov)|(-iso([a-z]?)))?-[a-z]+-\d{1}:)?(\d{12}:)?(function:)?([a-zA-Z0-9-_\.]+)(:(\$LATEST(\.PUBLISHED)?|[a-zA-Z0-9-_]+))?";

/// Likewise (service model, `LayerVersionArn`).
const LAYER_PATTERN: &str =
    r"arn:[a-zA-Z0-9-]+:lambda:[a-zA-Z0-9-]+:\d{12}:layer:[a-zA-Z0-9-_]+:[0-9]+";

impl State {
    /// The function that `text` names: a name, a partial ARN or an ARN, each with or without a
    /// qualifier, which may also come apart.
    ///
    /// Says nothing about whether the function exists, or the version or alias.
    pub(crate) fn qualified(
        &self,
        text: &str,
        qualifier: Option<&str>,
    ) -> Result<QualifiedName, ApiError> {
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
        let read = qualifier.map(str::parse::<Qualifier>).transpose();
        if let Ok(qualifier) = read
            && region == self.region
            && account == self.account
        {
            return Ok(QualifiedName {
                name: parsed,
                qualifier,
            });
        }
        let suffix = qualifier.map(|qualifier| format!(":{qualifier}"));
        Err(ApiError::NotFound(format!(
            "Function not found: arn:aws:lambda:{region}:{account}:function:{name}{}",
            suffix.unwrap_or_default()
        )))
    }

    /// Likewise for what belongs to the whole function: `$LATEST` is the only qualifier there.
    pub(crate) fn function_name(
        &self,
        text: &str,
        qualifier: Option<&str>,
    ) -> Result<FunctionName, ApiError> {
        let target = self.qualified(text, qualifier)?;
        match target.meant() {
            Qualifier::Version(function::Version::Latest) => Ok(target.name),
            other => Err(ApiError::InvalidParameter(format!(
                "This operation is for a function and not for its versions and aliases: leave the \
                 qualifier {other} out"
            ))),
        }
    }

    /// The ARN of a function, or of a version or alias of it.
    pub(crate) fn target_arn(&self, target: &QualifiedName) -> String {
        let (region, account) = (&self.region, &self.account);
        format!("arn:aws:lambda:{region}:{account}:function:{target}")
    }

    /// The function of that name at `$LATEST`.
    pub(crate) fn expect_function(&self, name: &FunctionName) -> Result<Arc<Function>, ApiError> {
        let found = self.registry.function(name);
        found.ok_or_else(|| self.not_found(&QualifiedName::unqualified(name.clone())))
    }

    /// The version that `target` means: of an alias with two, the one that it points at first.
    pub(crate) fn expect_version(&self, target: &QualifiedName) -> Result<Arc<Function>, ApiError> {
        let version = match target.meant() {
            Qualifier::Version(version) => Some(*version),
            Qualifier::Alias(alias) => {
                let alias = self.registry.alias(&target.name, alias);
                alias.map(|alias| alias.version)
            }
        };
        let found = version.and_then(|version| self.registry.version(&target.name, version));
        found.ok_or_else(|| self.not_found(target))
    }

    /// The alias of a function.
    pub(crate) fn expect_alias(
        &self,
        function: &FunctionName,
        name: &str,
    ) -> Result<Arc<Alias>, ApiError> {
        let alias = AliasName::new(name).ok();
        let found = alias.and_then(|alias| self.registry.alias(function, &alias));
        found.ok_or_else(|| {
            let function = self.target_arn(&QualifiedName::unqualified(function.clone()));
            ApiError::NotFound(format!("Cannot find alias arn: {function}:{name}"))
        })
    }

    pub(crate) fn not_found(&self, target: &QualifiedName) -> ApiError {
        ApiError::NotFound(format!("Function not found: {}", self.target_arn(target)))
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
