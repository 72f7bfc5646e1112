//! Function instances: launcher, Runtime API, runtimes and the warm pool.
