//! The web page of a running server.
