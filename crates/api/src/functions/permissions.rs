//! Statements of the resource policy: kept and shown. Everything here belongs to one account, whose
//! calls need none.

use axum::response::Response;
use function::limits::POLICY_BYTES;
use function::{Attributes, PolicyStatement, QualifiedName};
use http::StatusCode;
use serde_json::{Map, Value, json};
use uuid::Uuid;

use super::manage::revision;
use crate::members::Members;
use crate::router::{Request, empty, json as answer};
use crate::{ApiError, State};

pub(crate) async fn add_permission(state: &State, request: &Request) -> Result<Response, ApiError> {
    let target = request.target(state)?;
    let mut members = request.members()?;
    let id = statement_id(&mut members)?;
    let expected = revision(&mut members)?;
    let statement = PolicyStatement {
        action: members.required_text("Action")?,
        principal: members.required_text("Principal")?,
        source_arn: members.text("SourceArn")?,
        source_account: members.text("SourceAccount")?,
        event_source_token: members.text("EventSourceToken")?,
        principal_org_id: members.text("PrincipalOrgID")?,
    };
    members.finish()?;
    let known_action = statement.action == "*"
        || statement
            .action
            .strip_prefix("lambda:")
            .is_some_and(|action| !action.is_empty());
    if !known_action {
        return Err(ApiError::Validation(format!(
            "Value '{}' at 'action' failed to satisfy constraint: Member must satisfy regular \
             expression pattern: (lambda:[*]|lambda:[a-zA-Z]+|[*])",
            statement.action
        )));
    }
    let (mut grown, _) = attributes(state, &target)?;
    if grown.policy.contains_key(&id) {
        return Err(ApiError::Conflict(format!(
            "The statement id ({id}) provided already exists. Please provide a new statement id, \
             or remove the existing statement."
        )));
    }
    grown.policy.insert(id.clone(), statement.clone());
    let arn = state.target_arn(&target);
    let size = document(&arn, &grown).to_string().len();
    if size > POLICY_BYTES {
        return Err(ApiError::PolicyTooLong {
            size,
            limit: POLICY_BYTES,
        });
    }
    let shown = shape(&arn, &id, &statement).to_string();
    state
        .registry
        .update_attributes_of(&target, expected, |attributes| {
            attributes.policy.insert(id, statement);
        })
        .await?;
    Ok(answer(StatusCode::CREATED, json!({"Statement": shown})))
}

pub(crate) async fn remove_permission(
    state: &State,
    request: &Request,
) -> Result<Response, ApiError> {
    let target = request.target(state)?;
    let id = request.piece(1);
    let (before, _) = attributes(state, &target)?;
    let expected = match request.query.get("RevisionId") {
        None => None,
        Some(text) => Some(Uuid::parse_str(text).map_err(|_| ApiError::PreconditionFailed)?),
    };
    if !before.policy.contains_key(id) {
        return Err(ApiError::NotFound(format!(
            "Statement {id} is not found in resource policy."
        )));
    }
    state
        .registry
        .update_attributes_of(&target, expected, |attributes| {
            attributes.policy.remove(id);
        })
        .await?;
    Ok(empty(StatusCode::NO_CONTENT))
}

pub(crate) fn get_policy(state: &State, request: &Request) -> Result<Response, ApiError> {
    let target = request.target(state)?;
    let (attributes, revision) = attributes(state, &target)?;
    if attributes.policy.is_empty() {
        return Err(ApiError::NotFound(
            "The resource you requested does not exist.".to_owned(),
        ));
    }
    let shown = json!({
        "Policy": document(&state.target_arn(&target), &attributes).to_string(),
        "RevisionId": revision.to_string(),
    });
    Ok(answer(StatusCode::OK, shown))
}

fn statement_id(members: &mut Members) -> Result<String, ApiError> {
    let id = members.required_text("StatementId")?;
    let legal = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
    if id.len() <= 100 && id.bytes().all(legal) {
        return Ok(id);
    }
    let constraint = "satisfy regular expression pattern: ([a-zA-Z0-9-_]+)";
    Err(members.unsatisfied("StatementId", &id, constraint))
}

/// What is configured of a function, a version or an alias, and its revision.
pub(super) fn attributes(
    state: &State,
    target: &QualifiedName,
) -> Result<(Attributes, Uuid), ApiError> {
    let found = state.registry.attributes(target);
    found.ok_or_else(|| state.not_found(target))
}

/// The whole policy of what has this ARN.
fn document(arn: &str, attributes: &Attributes) -> Value {
    let statements: Vec<_> = attributes
        .policy
        .iter()
        .map(|(id, statement)| shape(arn, id, statement))
        .collect();
    json!({"Version": "2012-10-17", "Id": "default", "Statement": statements})
}

/// One statement as IAM writes it.
fn shape(arn: &str, id: &str, statement: &PolicyStatement) -> Value {
    let principal = statement.principal.as_str();
    let account = principal.len() == 12 && principal.bytes().all(|byte| byte.is_ascii_digit());
    let principal = match principal {
        "*" => json!("*"),
        account_id if account => json!({"AWS": format!("arn:aws:iam::{account_id}:root")}),
        arn if arn.starts_with("arn:") => json!({"AWS": arn}),
        service => json!({"Service": service}),
    };
    let mut equals = Map::new();
    for (key, value) in [
        ("AWS:SourceAccount", &statement.source_account),
        ("lambda:EventSourceToken", &statement.event_source_token),
        ("aws:PrincipalOrgID", &statement.principal_org_id),
    ] {
        if let Some(value) = value {
            equals.insert(key.to_owned(), json!(value));
        }
    }
    let mut condition = Map::new();
    if !equals.is_empty() {
        condition.insert("StringEquals".to_owned(), Value::Object(equals));
    }
    if let Some(arn) = &statement.source_arn {
        condition.insert("ArnLike".to_owned(), json!({"AWS:SourceArn": arn}));
    }
    let mut shown = json!({
        "Sid": id,
        "Effect": "Allow",
        "Principal": principal,
        "Action": statement.action,
        "Resource": arn,
    });
    if !condition.is_empty() {
        shown["Condition"] = Value::Object(condition);
    }
    shown
}
