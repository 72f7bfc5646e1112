//! The AWS Lambda API: routes, shapes, errors and request signatures.
