//! Connected folders as buckets that can be read through the S3 port.

use std::fs::File;
use std::io;
use std::ops::Bound;
use std::sync::Arc;

use bucket::{
    BucketInfo, BucketName, ConnectedBucket, ConnectedBuckets, ConnectedFile, ETag, ObjectKey, Walk,
};
use connector_object_store::{FileState, FolderFiles, FolderWalk};

use super::{ConnectorName, Definitions};

/// The folders of all connectors, under the names that their events carry: for as long as there is the
/// connector, whether or not it reads just now.
#[derive(Debug)]
pub(crate) struct ConnectedFolders(pub(crate) Arc<Definitions>);

/// One of them.
#[derive(Debug)]
struct ConnectedFolder {
    connector: ConnectorName,
    files: FolderFiles,
}

impl ConnectedFolders {
    fn folders(&self) -> impl Iterator<Item = (BucketName, ConnectedFolder)> {
        let all = self.0.all().into_iter().map(|it| it.definition);
        all.filter_map(|definition| {
            let connector = definition.name;
            let (bucket, files) = definition.settings.as_kind().files(&connector)?;
            // A name that no bucket can have is the connector's own trouble.
            let bucket = BucketName::new(bucket).ok()?;
            Some((bucket, ConnectedFolder { connector, files }))
        })
    }
}

impl ConnectedBuckets for ConnectedFolders {
    fn all(&self) -> Vec<BucketInfo> {
        let info = |(name, folder): (BucketName, ConnectedFolder)| BucketInfo {
            name,
            created: folder.files.created(),
        };
        self.folders().map(info).collect()
    }

    fn get(&self, bucket: &BucketName) -> Option<Arc<dyn ConnectedBucket>> {
        let (_, folder) = self.folders().find(|(name, _)| name == bucket)?;
        Some(Arc::new(folder))
    }
}

impl ConnectedBucket for ConnectedFolder {
    fn description(&self) -> String {
        format!("the local folder of connector {}", self.connector)
    }

    fn state(&self, file: &File) -> io::Result<ConnectedFile> {
        Ok(connected(FolderFiles::state(file)?))
    }

    fn open(&self, key: &ObjectKey) -> io::Result<Option<File>> {
        self.files.open(key.as_str())
    }

    fn walk(&self) -> io::Result<Box<dyn Walk>> {
        Ok(Box::new(Keys(self.files.walk()?)))
    }
}

struct Keys(FolderWalk);

impl Walk for Keys {
    fn next(&mut self, from: Bound<&str>) -> io::Result<Option<(String, ConnectedFile)>> {
        let next = self.0.next(from)?;
        Ok(next.map(|(key, state)| (key, connected(state))))
    }
}

fn connected(state: FileState) -> ConnectedFile {
    ConnectedFile {
        etag: ETag::new(state.etag),
        size: state.size,
        modified: state.modified,
    }
}
