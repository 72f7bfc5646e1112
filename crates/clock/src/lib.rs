//! Wall and monotonic time handed in as a parameter.
