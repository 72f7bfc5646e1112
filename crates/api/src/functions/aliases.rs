//! Aliases.

use axum::response::Response;
use function::limits::DESCRIPTION_CHARS;
use function::{
    AdditionalVersion, Alias, AliasName, FunctionName, NewAlias, QualifiedName, Qualifier, Version,
    Weight,
};
use http::StatusCode;
use serde_json::{Value, json};

use super::manage::revision;
use super::read::listed;
use crate::members::Members;
use crate::router::{Request, empty, json as answer};
use crate::{ApiError, State};

/// Aliases on one page (AWS shows 50, whatever more is asked for).
const PAGE: usize = 50;
const LONGEST_PAGE: usize = 10_000;

pub(crate) async fn create_alias(state: &State, request: &Request) -> Result<Response, ApiError> {
    let function = request.function(state)?;
    let mut members = request.members()?;
    let named = members.required_text("Name")?;
    let name = AliasName::new(&named).map_err(|_| {
        let constraint = "satisfy regular expression pattern: (?!^[0-9]+$)([a-zA-Z0-9-_]+) and \
                          have length less than or equal to 128";
        members.unsatisfied("Name", &named, constraint)
    })?;
    let version = members.required_text("FunctionVersion")?;
    let version = self::version(&members, &version)?;
    let routing = routing(&mut members)?;
    let description = members.short_text("Description", DESCRIPTION_CHARS)?;
    members.finish()?;
    state.expect_function(&function)?;
    let additional = routing.flatten();
    check(state, &function, version, additional)?;
    let exists = state.registry.alias(&function, &name);
    if let Some(alias) = exists {
        let arn = arn(state, &alias);
        return Err(ApiError::Conflict(format!("Alias already exists: {arn}")));
    }
    let new = NewAlias {
        function,
        name,
        version,
        additional,
        description: description.unwrap_or_default(),
    };
    let alias = state.registry.create_alias(new).await?;
    Ok(answer(StatusCode::CREATED, shape(state, &alias)))
}

pub(crate) fn get_alias(state: &State, request: &Request) -> Result<Response, ApiError> {
    let alias = state.expect_alias(&request.function(state)?, request.piece(1))?;
    Ok(answer(StatusCode::OK, shape(state, &alias)))
}

pub(crate) async fn update_alias(state: &State, request: &Request) -> Result<Response, ApiError> {
    let function = request.function(state)?;
    let before = state.expect_alias(&function, request.piece(1))?;
    let mut members = request.members()?;
    let version = members.text("FunctionVersion")?;
    let version = version
        .map(|version| self::version(&members, &version))
        .transpose()?;
    let routing = routing(&mut members)?;
    let description = members.short_text("Description", DESCRIPTION_CHARS)?;
    let expected = revision(&mut members)?;
    members.finish()?;
    let version = version.unwrap_or(before.version);
    let additional = routing.unwrap_or(before.additional);
    check(state, &function, version, additional)?;
    let change = |alias: &mut Alias| {
        alias.version = version;
        alias.additional = additional;
        if let Some(description) = description {
            alias.description = description;
        }
    };
    // What was decided with is what is changed, or another attempt is the caller's to make.
    let expected = expected.or(Some(before.revision));
    let updated = state
        .registry
        .update_alias(&function, &before.name, expected, change)
        .await?;
    Ok(answer(StatusCode::OK, shape(state, &updated)))
}

pub(crate) async fn delete_alias(state: &State, request: &Request) -> Result<Response, ApiError> {
    let function = request.function(state)?;
    state.expect_function(&function)?;
    if let Ok(name) = AliasName::new(request.piece(1)) {
        state.registry.delete_alias(&function, &name).await?;
    }
    Ok(empty(StatusCode::NO_CONTENT))
}

pub(crate) fn list_aliases(state: &State, request: &Request) -> Result<Response, ApiError> {
    let page = request.query.page(PAGE, LONGEST_PAGE)?;
    let function = state.expect_function(&request.function(state)?)?;
    let of = request.query.get("FunctionVersion");
    let aliases = state.registry.aliases(&function.name).into_iter();
    let aliases = aliases.filter(|alias| {
        let points = |version: &str| version.parse().is_ok_and(|it| alias.points_at(it));
        of.is_none_or(points)
    });
    let (shown, next) = page.cut(aliases, |alias| alias.name.to_string());
    let shown = shown.iter().map(|alias| shape(state, alias));
    Ok(answer(
        StatusCode::OK,
        listed("Aliases", shown.collect(), next),
    ))
}

fn version(members: &Members, text: &str) -> Result<Version, ApiError> {
    let pattern = r"satisfy regular expression pattern: (\$LATEST|[0-9]+)";
    text.parse()
        .map_err(|_| members.unsatisfied("FunctionVersion", text, pattern))
}

/// What a request says of a second version: nothing, that there is none, or which.
fn routing(members: &mut Members) -> Result<Option<Option<AdditionalVersion>>, ApiError> {
    let Some(mut routing) = members.object("RoutingConfig")? else {
        return Ok(None);
    };
    let weights = routing.numbers("AdditionalVersionWeights")?;
    let weights = weights.unwrap_or_default();
    if weights.len() > 1 {
        return Err(ApiError::InvalidParameter(
            "Number of items in AdditionalVersionWeights cannot be greater than 1".to_owned(),
        ));
    }
    let Some((text, weight)) = weights.into_iter().next() else {
        routing.finish()?;
        return Ok(Some(None));
    };
    let invalid = |constraint: &str| {
        routing.unsatisfied(
            "AdditionalVersionWeights",
            &format!("{{{text}={weight}}}"),
            constraint,
        )
    };
    let weight = Weight::new(weight)
        .map_err(|_| invalid("have value between 0.0 and 1.0, both included"))?;
    let version = match text.parse() {
        Ok(published @ Version::Published(_)) => published,
        Ok(Version::Latest) => return Err(only_published()),
        Err(_) => return Err(invalid("have keys that satisfy the pattern [0-9]+")),
    };
    routing.finish()?;
    Ok(Some(Some(AdditionalVersion { version, weight })))
}

fn check(
    state: &State,
    function: &FunctionName,
    version: Version,
    additional: Option<AdditionalVersion>,
) -> Result<(), ApiError> {
    let expect = |version| {
        state.expect_version(&QualifiedName {
            name: function.clone(),
            qualifier: Some(Qualifier::Version(version)),
        })
    };
    expect(version)?;
    let Some(additional) = additional else {
        return Ok(());
    };
    if version == Version::Latest {
        return Err(only_published());
    }
    if additional.version == version {
        return Err(ApiError::InvalidParameter(format!(
            "Invalid function version {version}. Function version {version} is already included in \
             routing configuration."
        )));
    }
    expect(additional.version)?;
    Ok(())
}

fn only_published() -> ApiError {
    ApiError::InvalidParameter(
        "$LATEST is not supported for an alias pointing to more than 1 version".to_owned(),
    )
}

fn shape(state: &State, alias: &Alias) -> Value {
    let mut shown = json!({
        "AliasArn": arn(state, alias),
        "Name": alias.name.as_str(),
        "FunctionVersion": alias.version.to_string(),
        "Description": alias.description,
        "RevisionId": alias.revision.to_string(),
    });
    if let Some(additional) = alias.additional {
        let version = additional.version.to_string();
        shown["RoutingConfig"] =
            json!({"AdditionalVersionWeights": {version: additional.weight.get()}});
    }
    shown
}

fn arn(state: &State, alias: &Alias) -> String {
    state.target_arn(&QualifiedName {
        name: alias.function.clone(),
        qualifier: Some(Qualifier::Alias(alias.name.clone())),
    })
}
