//! Pages of a bucket's versions. Pure: an index in, a page out.

use std::ops::Bound;

use crate::index::Index;
use crate::listing::{group, successor};
use crate::{Sequencer, Version, VersionId};

/// Which versions to list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VersionQuery {
    /// Only those of keys that begin so.
    pub prefix: String,
    /// Keys that share what lies between the prefix and the first delimiter after it are rolled up
    /// into one common prefix.
    pub delimiter: Option<String>,
    /// Only what comes after this.
    pub after: Option<VersionMark>,
    /// At most this many versions and common prefixes together.
    pub limit: usize,
}

/// A place in a listing of versions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VersionMark {
    /// A key or a common prefix.
    pub key: String,
    /// A version of that key. Without one all of them have been listed.
    pub version: Option<VersionId>,
}

/// A page of versions: by key in the order of bytes, those of a key from the newest to the oldest.
#[derive(Clone, Debug, Default)]
pub struct VersionListing {
    /// The versions on this page.
    pub versions: Vec<ListedVersion>,
    /// The common prefixes on this page, with the delimiter at their end.
    pub common_prefixes: Vec<String>,
    /// When there is more: the last on this page, to be the next page's
    /// [`after`](VersionQuery::after). When that version goes meanwhile, no other is passed over.
    pub next: Option<VersionMark>,
}

/// A version as listings have it.
#[derive(Clone, Debug)]
pub struct ListedVersion {
    /// The version.
    pub version: Version,
    /// Whether it is the newest of its key.
    pub is_latest: bool,
}

impl Default for VersionQuery {
    /// Everything, a thousand at a time.
    fn default() -> Self {
        Self {
            prefix: String::new(),
            delimiter: None,
            after: None,
            limit: 1000,
        }
    }
}

impl VersionQuery {
    /// The page of `index` that this query asks for. Keys that are rolled up are skipped over, not
    /// visited.
    pub(crate) fn page(&self, index: &Index) -> VersionListing {
        let mut page = VersionListing::default();
        let mut last = None;
        let mut from = self.from();
        while let Some(key) = index.first_key(from.as_ref().map(String::as_str)) {
            let key = key.as_str();
            if !key.starts_with(&self.prefix) {
                break;
            }
            let is_full = |page: &VersionListing| {
                page.versions.len() + page.common_prefixes.len() == self.limit
            };
            if let Some(group) = group(&self.prefix, self.delimiter.as_deref(), key) {
                if self.after.as_ref().is_none_or(|after| *group > *after.key) {
                    if is_full(&page) {
                        page.next = last;
                        break;
                    }
                    page.common_prefixes.push(group.to_owned());
                    last = Some(VersionMark {
                        key: group.to_owned(),
                        version: None,
                    });
                }
                match successor(group) {
                    Some(next) => from = Bound::Included(next),
                    None => break,
                }
                continue;
            }
            let below = self.below(index, key);
            for (at, version) in index.versions(key).enumerate() {
                if below.is_some_and(|below| version.order() >= below) {
                    continue;
                }
                if is_full(&page) {
                    page.next = last;
                    return page;
                }
                last = Some(VersionMark {
                    key: key.to_owned(),
                    version: Some(version.id()),
                });
                page.versions.push(ListedVersion {
                    version,
                    is_latest: at == 0,
                });
            }
            from = Bound::Excluded(key.to_owned());
        }
        page
    }

    /// Where the first key may be.
    fn from(&self) -> Bound<String> {
        match &self.after {
            Some(after) if after.key >= self.prefix => match after.version {
                Some(_) => Bound::Included(after.key.clone()),
                None => Bound::Excluded(after.key.clone()),
            },
            Some(_) | None => Bound::Included(self.prefix.clone()),
        }
    }

    /// Of the key in whose midst the listing goes on, the place below which it does. A mark that has
    /// no order, and whose version has gone, stands for the key's beginning: better twice than never.
    fn below(&self, index: &Index, key: &str) -> Option<Sequencer> {
        let after = self.after.as_ref().filter(|after| after.key == key)?;
        let id = after.version?;
        let find = || index.versions(key).find(|version| version.id() == id);
        id.order().or_else(|| Some(find()?.order()))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::object::tests::object;

    /// Two versions of each key, the second newer, and one `null` between them.
    fn index(keys: &[&str]) -> Index {
        let mut index = Index::default();
        for key in keys {
            for order in 1..=3 {
                let mut object = object(key);
                object.order = Sequencer::from_bits(order);
                if order != 2 {
                    object.version = VersionId::at(object.order);
                }
                index.put(Version::Object(Arc::new(object)));
            }
        }
        index
    }

    fn shown(listing: &VersionListing) -> Vec<(String, u64, bool)> {
        let versions = listing.versions.iter();
        let shown = versions.map(|listed| {
            let (key, order) = (listed.version.key(), listed.version.order());
            (key.to_string(), order.to_bits(), listed.is_latest)
        });
        shown.collect()
    }

    #[test]
    fn pages_of_any_size_hold_every_version_once_from_the_newest_of_each_key() {
        let index = index(&["a", "b/1", "b/2", "c"]);
        let all = shown(&VersionQuery::default().page(&index));
        assert_eq!(all.len(), 12);
        assert_eq!(all[0], ("a".to_owned(), 3, true));
        assert_eq!(all[2], ("a".to_owned(), 1, false));
        for delimiter in [None, Some("/".to_owned())] {
            let whole = VersionQuery {
                delimiter: delimiter.clone(),
                ..Default::default()
            }
            .page(&index);
            for limit in 1..=13 {
                let mut query = VersionQuery {
                    delimiter: delimiter.clone(),
                    limit,
                    ..Default::default()
                };
                let (mut versions, mut prefixes) = (Vec::new(), Vec::new());
                loop {
                    let page = query.page(&index);
                    versions.extend(shown(&page));
                    prefixes.extend(page.common_prefixes);
                    query.after = page.next;
                    if query.after.is_none() {
                        break;
                    }
                }
                assert_eq!(versions, shown(&whole), "{limit}");
                assert_eq!(prefixes, whole.common_prefixes, "{limit}");
            }
        }
    }

    #[test]
    fn a_listing_goes_on_after_versions_that_have_gone_meanwhile() {
        let mut index = index(&["a", "b"]);
        let mut query = VersionQuery {
            limit: 1,
            ..Default::default()
        };
        let mut seen = 0;
        loop {
            let page = query.page(&index);
            for listed in &page.versions {
                let version = &listed.version;
                index.remove(version.key(), version.id()).unwrap();
                seen += 1;
            }
            query.after = page.next;
            if query.after.is_none() {
                break;
            }
        }
        assert_eq!(seen, 6);
        assert!(index.is_empty());
    }

    #[test]
    fn a_listing_after_a_key_skips_all_of_its_versions() {
        let index = index(&["a", "b"]);
        let after = |version| VersionQuery {
            after: Some(VersionMark {
                key: "a".to_owned(),
                version,
            }),
            ..Default::default()
        };
        let page = after(None).page(&index);
        assert_eq!(shown(&page)[0], ("b".to_owned(), 3, true));
        let page = after(Some(VersionId::NULL)).page(&index);
        assert_eq!(shown(&page)[0], ("a".to_owned(), 1, false));
    }
}
