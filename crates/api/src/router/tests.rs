//! The API as a client sees it: signed requests in, JSON out.

mod callers;
mod door;
mod functions;
mod images;
mod invoking;
mod layers;
mod mappings;
mod provisioned;
mod surroundings;
mod versions;
