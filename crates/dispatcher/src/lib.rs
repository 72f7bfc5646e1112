//! From log records to settled invocations: a pure core and the runtime around it.
