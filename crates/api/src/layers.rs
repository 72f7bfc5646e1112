//! Operations on layers.

mod publish;
mod read;
mod shape;

pub(crate) use publish::{delete, publish};
pub(crate) use read::{download, get, get_by_arn, list, list_versions};
pub(crate) use shape::shown_on_function;
