//! Pages of a bucket's keys. Pure: sorted keys in, a page out.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::ops::Bound;
use std::sync::Arc;

use crate::{Object, ObjectKey};

/// Which keys to list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListQuery {
    /// Only keys that begin so.
    pub prefix: String,
    /// Keys that share what lies between the prefix and the first delimiter after it are rolled up
    /// into one common prefix.
    pub delimiter: Option<String>,
    /// Only keys and common prefixes after this one, in the order of bytes.
    pub after: Option<String>,
    /// At most this many keys and common prefixes together.
    pub limit: usize,
}

/// A page of a listing. Objects and common prefixes are each in the order of bytes.
#[derive(Clone, Debug)]
pub struct Listing<T = Arc<Object>> {
    /// The objects on this page.
    pub objects: Vec<T>,
    /// The common prefixes on this page, with the delimiter at their end.
    pub common_prefixes: Vec<String>,
    /// When there is more: the last key or common prefix of this page, to be the next page's
    /// [`after`](ListQuery::after).
    pub next: Option<String>,
}

impl<T> Listing<T> {
    /// The same page with its objects in another form.
    pub(crate) fn map<U>(self, form: impl FnMut(T) -> U) -> Listing<U> {
        Listing {
            objects: self.objects.into_iter().map(form).collect(),
            common_prefixes: self.common_prefixes,
            next: self.next,
        }
    }
}

impl<T> Default for Listing<T> {
    fn default() -> Self {
        Self {
            objects: Vec::new(),
            common_prefixes: Vec::new(),
            next: None,
        }
    }
}

impl Default for ListQuery {
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

impl ListQuery {
    /// The page of `objects` that this query asks for.
    pub(crate) fn page(&self, objects: &BTreeMap<ObjectKey, Arc<Object>>) -> Listing {
        let page = self.page_of(|from| {
            let next = objects.range::<str, _>((from, Bound::Unbounded)).next();
            let next = next.map(|(key, object)| (key.as_str().to_owned(), Arc::clone(object)));
            Ok::<_, Infallible>(next)
        });
        match page {
            Ok(page) => page,
            Err(never) => match never {},
        }
    }

    /// The page that this query asks for of the objects that `next` finds: the first one within a bound.
    /// Bounds never go back. Keys that are rolled up are skipped over, not visited: the cost is that of
    /// the page.
    ///
    /// # Errors
    /// Those of `next`.
    pub(crate) fn page_of<T, E>(
        &self,
        mut next: impl FnMut(Bound<&str>) -> Result<Option<(String, T)>, E>,
    ) -> Result<Listing<T>, E> {
        let mut page = Listing::default();
        let mut last = None;
        let mut from = match &self.after {
            Some(after) if *after >= self.prefix => Bound::Excluded(after.clone()),
            Some(_) | None => Bound::Included(self.prefix.clone()),
        };
        while let Some((key, object)) = next(from.as_ref().map(String::as_str))?
            .filter(|(key, _)| key.starts_with(&self.prefix))
        {
            let group = group(&self.prefix, self.delimiter.as_deref(), &key);
            let item = group.unwrap_or(&key);
            if self.after.as_deref().is_none_or(|after| item > after) {
                if page.objects.len() + page.common_prefixes.len() == self.limit {
                    page.next = last;
                    break;
                }
                last = Some(item.to_owned());
                match group {
                    Some(group) => page.common_prefixes.push(group.to_owned()),
                    None => page.objects.push(object),
                }
            }
            from = match group {
                None => Bound::Excluded(key),
                Some(group) => match successor(group) {
                    Some(next) => Bound::Included(next),
                    None => break,
                },
            };
        }
        Ok(page)
    }
}

/// The common prefix that `key`, which begins with `prefix`, is rolled up into, if any.
pub(crate) fn group<'a>(prefix: &str, delimiter: Option<&str>, key: &'a str) -> Option<&'a str> {
    let delimiter = delimiter.filter(|text| !text.is_empty())?;
    let at = key[prefix.len()..].find(delimiter)?;
    Some(&key[..prefix.len() + at + delimiter.len()])
}

/// The smallest text above every text that begins with `prefix`; `None` when there is none.
pub(crate) fn successor(prefix: &str) -> Option<String> {
    let mut text = prefix.to_owned();
    while let Some(last) = text.pop() {
        // The code points after the last one of a range of characters skip the surrogates.
        if let Some(next) = (last..=char::MAX).nth(1) {
            text.push(next);
            return Some(text);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::object::tests::object;

    fn list(keys: &[&str], query: &ListQuery) -> Vec<(Vec<String>, Vec<String>)> {
        let objects = keys
            .iter()
            .map(|key| (ObjectKey::new(key).unwrap(), Arc::new(object(key))))
            .collect();
        let mut query = query.clone();
        let mut pages = Vec::new();
        loop {
            let page = query.page(&objects);
            let keys = page.objects.iter().map(|object| object.key().to_string());
            pages.push((keys.collect(), page.common_prefixes));
            query.after = page.next;
            if query.after.is_none() {
                return pages;
            }
        }
    }

    const KEYS: [&str; 9] = [
        "../x",
        "a",
        "p",
        "p/",
        "p/q",
        "p/q/r",
        "p/\u{10FFFF}z",
        "q/1",
        "é",
    ];

    #[test]
    fn a_delimiter_rolls_keys_up_and_pages_never_repeat_or_lose_one() {
        for limit in 1..=KEYS.len() {
            let query = ListQuery {
                delimiter: Some("/".to_owned()),
                limit,
                ..Default::default()
            };
            let pages = list(&KEYS, &query);
            let keys: Vec<String> = pages.iter().flat_map(|page| page.0.clone()).collect();
            let prefixes: Vec<String> = pages.iter().flat_map(|page| page.1.clone()).collect();
            assert_eq!(keys, ["a", "p", "é"]);
            assert_eq!(prefixes, ["../", "p/", "q/"]);
            for page in &pages[..pages.len() - 1] {
                assert_eq!(page.0.len() + page.1.len(), limit);
            }
        }
    }

    #[test]
    fn a_prefix_and_a_delimiter_list_one_level() {
        let query = ListQuery {
            prefix: "p/".to_owned(),
            delimiter: Some("/".to_owned()),
            ..Default::default()
        };
        let pages = list(&KEYS, &query);
        assert_eq!(pages[0].0, ["p/", "p/q", "p/\u{10FFFF}z"]);
        assert_eq!(pages[0].1, ["p/q/"]);
    }

    #[test]
    fn a_listing_after_a_common_prefix_skips_it_whole() {
        let query = ListQuery {
            delimiter: Some("/".to_owned()),
            after: Some("p/".to_owned()),
            ..Default::default()
        };
        let pages = list(&KEYS, &query);
        assert_eq!(pages[0], (vec!["é".to_owned()], vec!["q/".to_owned()]));
    }

    #[test]
    fn nothing_is_after_the_last_code_point() {
        assert_eq!(successor("a\u{D7FF}").as_deref(), Some("a\u{E000}"));
        assert_eq!(successor("a\u{10FFFF}").as_deref(), Some("b"));
        assert_eq!(successor("\u{10FFFF}"), None);
    }
}
