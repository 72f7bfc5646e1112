//! The node's name among the nodes of its cluster.

use std::fs;
use std::path::Path;

use anyhow::Context;
use uuid::Uuid;

use crate::config::KafkaCluster;

/// The configured name, else the one that the data folder keeps; made on the first start. A node that
/// comes back under its name takes over from what is left of itself.
///
/// # Errors
/// The folder cannot be read or written.
pub(super) fn name(cluster: &KafkaCluster, dir: &Path) -> anyhow::Result<String> {
    if !cluster.node.is_empty() {
        return Ok(cluster.node.clone());
    }
    let path = dir.join("node");
    match fs::read_to_string(&path) {
        Ok(name) if !name.trim().is_empty() => return Ok(name.trim().to_owned()),
        Ok(_) => {}
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
        Err(error) => {
            return Err(error).with_context(|| format!("read the node's name {}", path.display()));
        }
    }
    let name = Uuid::new_v4().simple().to_string()[..12].to_owned();
    fs::write(&path, format!("{name}\n"))
        .with_context(|| format!("write the node's name {}", path.display()))?;
    Ok(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_node_keeps_its_name_unless_it_is_given_one() {
        let dir = tempfile::tempdir().unwrap();
        let mut cluster = KafkaCluster::default();
        let made = name(&cluster, dir.path()).unwrap();
        assert_eq!(name(&cluster, dir.path()).unwrap(), made);
        cluster.node = "west".to_owned();
        assert_eq!(name(&cluster, dir.path()).unwrap(), "west");
    }
}
