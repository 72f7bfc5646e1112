//! Functions, triggers, filters, limits and their registry.
