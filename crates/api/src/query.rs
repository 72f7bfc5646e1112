//! Query strings.

use crate::ApiError;
use crate::sigv4::decode;

/// The parameters of a query, decoded, in order.
#[derive(Debug, Default)]
pub(crate) struct Query(Vec<(String, String)>);

impl Query {
    pub(crate) fn parse(query: Option<&str>) -> Self {
        let pairs = query.unwrap_or_default().split('&');
        Self(
            pairs
                .filter(|pair| !pair.is_empty())
                .map(|pair| pair.split_once('=').unwrap_or((pair, "")))
                .map(|(name, value)| (percent_decoded(name), percent_decoded(value)))
                .collect(),
        )
    }

    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        let mut pairs = self.0.iter();
        pairs.find_map(|(found, value)| (found == name).then_some(value.as_str()))
    }

    pub(crate) fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        let named = self.0.iter().filter(move |(found, _)| found == name);
        named.map(|(_, value)| value.as_str())
    }

    /// The page that is asked for: at most `MaxItems` or `most`, after `Marker`.
    pub(crate) fn page(&self, most: usize, longest: usize) -> Result<Page, ApiError> {
        let size = match self.get("MaxItems") {
            None => most,
            Some(text) => match text.parse() {
                Ok(size) if (1..=longest).contains(&size) => size.min(most),
                _ => {
                    return Err(ApiError::Validation(format!(
                        "Value '{text}' at 'maxItems' failed to satisfy constraint: Member must \
                         have value between 1 and {longest}"
                    )));
                }
            },
        };
        Ok(Page {
            size,
            after: self
                .get("Marker")
                .filter(|marker| !marker.is_empty())
                .map(str::to_owned),
        })
    }
}

/// A part of a list that is sorted by a text of each item.
#[derive(Debug)]
pub(crate) struct Page {
    size: usize,
    after: Option<String>,
}

impl Page {
    /// The items of this page, and the marker of the next one if there is more. The marker is the
    /// key of the last item shown, so that changes in between neither repeat nor hide items.
    pub(crate) fn cut<T>(
        &self,
        items: impl IntoIterator<Item = T>,
        key: impl Fn(&T) -> String,
    ) -> (Vec<T>, Option<String>) {
        let after = self.after.as_deref().unwrap_or_default();
        let mut rest = items.into_iter().filter(|item| key(item).as_str() > after);
        let shown: Vec<T> = rest.by_ref().take(self.size).collect();
        let more = rest.next().and_then(|_| shown.last().map(&key));
        (shown, more)
    }
}

/// Percent-decoded text; bytes that are no UTF-8 become the replacement character.
pub(crate) fn percent_decoded(text: &str) -> String {
    String::from_utf8_lossy(&decode(text)).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_follow_each_other_without_gap_or_repeat() {
        let items = ["a", "b", "c", "d", "e"];
        let mut seen = Vec::new();
        let mut marker = None;
        loop {
            let query = match &marker {
                None => "MaxItems=2".to_owned(),
                Some(marker) => format!("MaxItems=2&Marker={marker}"),
            };
            let page = Query::parse(Some(&query)).page(50, 10_000).unwrap();
            let (shown, next) = page.cut(items, |item| (*item).to_owned());
            seen.extend(shown);
            match next {
                Some(next) => marker = Some(next),
                None => break,
            }
        }
        assert_eq!(seen, items);
    }

    #[test]
    fn a_page_of_no_items_or_too_many_is_refused() {
        for size in ["0", "10001", "x", "-1"] {
            let query = Query::parse(Some(&format!("MaxItems={size}"))).page(50, 10_000);
            assert!(query.is_err(), "{size}");
        }
    }

    #[test]
    fn a_name_may_come_more_than_once() {
        let query = Query::parse(Some("tagKeys=a%20b&tagKeys=c&x"));
        assert_eq!(query.all("tagKeys").collect::<Vec<_>>(), ["a b", "c"]);
        assert_eq!(query.get("x"), Some(""));
    }
}
