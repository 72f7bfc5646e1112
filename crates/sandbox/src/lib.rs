//! Linux process isolation: the only crate with unsafe code.
