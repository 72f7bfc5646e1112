//! What the command line asks of connectors, over HTTP.

use std::sync::Arc;

use axum::extract::{Path, Query, Request, State};
use axum::http::{Method, StatusCode};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use bytes::Bytes;
use serde::Deserialize;

use crate::operator::{self, OperatorKey};

use super::definition::refuse_own_bucket;
use super::definitions::{DefinitionError, Standing};
use super::removal::{Leave, RemovalError, remove};
use super::{
    Board, ConnectorName, Definition, Definitions, Removed, Report, Streams, Surroundings,
};

/// What the door needs.
#[derive(Clone, Debug)]
pub(crate) struct Door {
    pub(crate) definitions: Arc<Definitions>,
    pub(crate) board: Arc<Board>,
    pub(crate) around: Surroundings,
    pub(crate) streams: Streams,
    /// Of who may change connectors.
    pub(crate) operator: OperatorKey,
}

type Refusal = (StatusCode, String);

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Removal {
    #[serde(default)]
    leave: Leave,
}

/// The door; requests have passed their signature check.
pub(crate) fn router(door: Door) -> Router {
    let check = middleware::from_fn_with_state(door.clone(), operators_only);
    Router::new()
        .route("/_tidemill/connectors", get(list).post(add))
        .route("/_tidemill/connectors/{name}", get(one).delete(forget))
        .route("/_tidemill/connectors/{name}/pause", post(pause))
        .route("/_tidemill/connectors/{name}/resume", post(resume))
        .route_layer(check)
        .with_state(door)
}

/// Looking is for everyone who has credentials, changing for who runs the server.
async fn operators_only(State(door): State<Door>, request: Request, next: Next) -> Response {
    let key = request.headers().get(operator::HEADER);
    let known = key.is_some_and(|key| door.operator.is(key.as_bytes()));
    if known || request.method() == Method::GET {
        return next.run(request).await;
    }
    let text = "connectors are changed by who runs the server, as they have it connect and read files: name its data folder with --data-dir, or declare them in its configuration file";
    (StatusCode::FORBIDDEN, text).into_response()
}

impl Door {
    /// What is known of every connector here and now, by name.
    pub(crate) fn reports(&self) -> Vec<Report> {
        let all = self.definitions.all();
        all.iter().map(|it| Report::of(self, it)).collect()
    }
}

async fn list(State(door): State<Door>) -> Json<Vec<Report>> {
    Json(door.reports())
}

async fn one(State(door): State<Door>, Path(name): Path<String>) -> Result<Json<Report>, Refusal> {
    let connector = door.definitions.get(&parse(&name)?).map_err(refusal)?;
    Ok(Json(Report::of(&door, &connector)))
}

async fn add(State(door): State<Door>, body: Bytes) -> Result<Json<Report>, Refusal> {
    let definition: Definition = serde_json::from_slice(&body)
        .map_err(|error| (StatusCode::BAD_REQUEST, error.to_string()))?;
    let name = definition.name.clone();
    let own = refuse_own_bucket(&definition, &door.around.log);
    own.map_err(|error| (StatusCode::CONFLICT, error.to_string()))?;
    door.definitions.add(definition).await.map_err(refusal)?;
    tracing::info!(connector = %name, "a connector was added");
    one(State(door), Path(name.to_string())).await
}

async fn pause(door: State<Door>, name: Path<String>) -> Result<Json<Report>, Refusal> {
    set(door, name, Standing::Paused).await
}

async fn resume(door: State<Door>, name: Path<String>) -> Result<Json<Report>, Refusal> {
    set(door, name, Standing::Running).await
}

async fn set(
    State(door): State<Door>,
    Path(text): Path<String>,
    standing: Standing,
) -> Result<Json<Report>, Refusal> {
    let name = parse(&text)?;
    let set = door.definitions.set_standing(&name, standing).await;
    set.map_err(refusal)?;
    if standing == Standing::Paused {
        door.board.until_ended(&name).await;
    }
    one(State(door), Path(text)).await
}

async fn forget(
    State(door): State<Door>,
    Path(name): Path<String>,
    Query(removal): Query<Removal>,
) -> Result<Json<Removed>, Refusal> {
    let removed = remove(&door, &parse(&name)?, removal.leave).await;
    removed.map(Json).map_err(|error| match error {
        RemovalError::Definition(error) => refusal(error),
        RemovalError::Release { .. } => (StatusCode::SERVICE_UNAVAILABLE, error.to_string()),
        RemovalError::NothingToKeep { .. } => (StatusCode::BAD_REQUEST, error.to_string()),
    })
}

fn parse(name: &str) -> Result<ConnectorName, Refusal> {
    name.parse()
        .map_err(|error| (StatusCode::BAD_REQUEST, error))
}

fn refusal(error: DefinitionError) -> Refusal {
    let status = match &error {
        DefinitionError::Exists { .. }
        | DefinitionError::Declared { .. }
        | DefinitionError::Removing { .. }
        | DefinitionError::Conflict { .. } => StatusCode::CONFLICT,
        DefinitionError::Unknown { .. } => StatusCode::NOT_FOUND,
        DefinitionError::Refused(_) => StatusCode::BAD_REQUEST,
        DefinitionError::Store { .. } => StatusCode::SERVICE_UNAVAILABLE,
        DefinitionError::Damaged { .. } => StatusCode::INTERNAL_SERVER_ERROR,
    };
    (status, super::board::line(&error))
}
