//! Operations on functions and what belongs to them.

mod account;
mod aliases;
mod code;
mod concurrency;
mod event_invoke;
mod image;
mod logging;
mod manage;
mod permissions;
mod provisioned;
mod read;
mod settings;
mod shape;
mod tags;
mod versions;
mod wasm;

pub(crate) use account::account_settings;
pub(crate) use aliases::{create_alias, delete_alias, get_alias, list_aliases, update_alias};
pub(crate) use code::{download_code, package};
pub(crate) use concurrency::{delete_concurrency, get_concurrency, put_concurrency};
pub(crate) use event_invoke::{
    delete_event_invoke, get_event_invoke, list_event_invoke, put_event_invoke, seconds,
    update_event_invoke,
};
pub(crate) use image::expect_active;
pub(crate) use manage::{create, delete, update_code, update_configuration};
pub(crate) use permissions::{add_permission, get_policy, remove_permission};
pub(crate) use provisioned::{
    delete_provisioned, get_provisioned, list_provisioned, put_provisioned,
};
pub(crate) use read::{get, get_code_signing, get_configuration, get_recursion, list, listed};
pub(crate) use settings::check_tags;
pub(crate) use shape::moment;
pub(crate) use tags::{list_tags, tag, untag};
pub(crate) use versions::{list_versions, publish_version};
