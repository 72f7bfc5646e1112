//! What happens to a segment that takes no more frames: its entries move from memory to a catalog.

use super::books::Books;
use super::catalog::{self, Contents, Identity};
use super::index::Entry;
use super::journal::Journal;
use super::segment::Segment;

/// Writes the catalog of a sealed segment. Without room for it the entries stay in memory, and the
/// next start reads the segment through.
pub(super) fn catalogue(journal: &Journal, books: &Books, sealed: Identity) {
    let contents = books.seal(journal.lifetime, sealed.number);
    if has_damage(&contents) {
        return;
    }
    let path = journal.dir.join(Segment::catalog_name(sealed.number));
    match catalog::write(&*journal.storage, &path, sealed, &contents, &journal.cache) {
        Ok(sections) => books.store(sealed.number, sections),
        Err(error) => {
            tracing::warn!(%error, file = %path.display(), "the catalog of a segment could not be written");
        }
    }
}

fn has_damage(contents: &Contents) -> bool {
    let mut entries = contents.values().flat_map(|(_, entries)| entries.iter());
    entries.any(|entry: &Entry| entry.len().is_none())
}
