//! The web page of a running server.
//!
//! One page, no build step, nothing loaded from elsewhere: it shows a [`DashboardData`] that the
//! server hands out through [`Snapshot`], and asks for a new one every 2 seconds while somebody looks
//! at it. The page builds its tables out of text nodes alone, so that no name of a function or topic
//! is ever read as markup.
//!
//! Only who has the link that the server prints may look: its token, random at every start, is
//! exchanged for a cookie that scripts cannot read and other sites cannot send. Requests whose host
//! is neither loopback nor one of the server's own names are refused, so that a foreign name that
//! resolves to this machine gets nothing.
//!
//! What this crate does not know: the log, functions, where any number comes from, configuration.

mod data;

mod access;

mod hosts;

mod router;

pub use access::Access;
pub use data::{
    BillingTotals, ConnectorRow, DashboardData, FunctionRow, InvocationRow, LogSize, Snapshot,
    Tallies, TopicRow, TriggerRow,
};
pub use hosts::Hosts;
pub use router::router;
