//! MinIO, from its Go module: a program under the AGPL, which runs beside benchmarks and is part of nothing.
//! It takes some minutes of two processors to build.

use anyhow::Result;

use super::text;
use crate::cache::Cache;
use crate::contract::{self, Export};
use crate::golang::Go;

/// RELEASE.2025-09-07T16-13-09Z. Its tags are no versions of modules.
const MODULE: &str = "github.com/minio/minio@v0.0.0-20250907161309-07c3a429bfed";

/// The server.
pub(super) fn built(cache: &Cache) -> Result<Vec<Export>> {
    // Outside the closure: a fetch may not begin another one.
    let go = Go::installed(cache)?;
    let folder = cache.fetched("minio", MODULE, |folder| go.install(MODULE, folder))?;
    Ok(vec![(contract::BENCH_MINIO, text(folder.join("minio"))?)])
}
