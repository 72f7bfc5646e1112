//! `*` for any characters, none too, and `?` for exactly one.

/// A text with wildcards.
#[derive(Clone, Debug)]
pub(super) struct Pattern(String);

impl Pattern {
    pub(super) fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// Whether all of `text` is as the pattern says. Takes at most the product of both lengths.
    pub(super) fn matches(&self, text: &str) -> bool {
        let (pattern, text): (Vec<char>, Vec<char>) =
            (self.0.chars().collect(), text.chars().collect());
        let (mut at, mut seen) = (0, 0);
        // The last star, and how much of the text it stood for.
        let mut star = None;
        while seen < text.len() {
            match pattern.get(at) {
                Some('*') => {
                    star = Some((at, seen));
                    at += 1;
                }
                Some(&expected) if expected == '?' || expected == text[seen] => {
                    at += 1;
                    seen += 1;
                }
                Some(_) | None => {
                    let Some((star_at, stood_for)) = star else {
                        return false;
                    };
                    star = Some((star_at, stood_for + 1));
                    at = star_at + 1;
                    seen = stood_for + 1;
                }
            }
        }
        pattern[at..].iter().all(|&rest| rest == '*')
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The definition itself, which takes exponential time.
    fn by_definition(pattern: &[char], text: &[char]) -> bool {
        match (pattern.split_first(), text.split_first()) {
            (None, rest) => rest.is_none(),
            (Some(('*', after)), rest) => {
                by_definition(after, text)
                    || rest.is_some_and(|(_, rest)| by_definition(pattern, rest))
            }
            (Some(_), None) => false,
            (Some((expected, after)), Some((found, rest))) => {
                (*expected == '?' || expected == found) && by_definition(after, rest)
            }
        }
    }

    proptest! {
        #[test]
        fn wildcards_mean_what_they_are_defined_to(pattern in "[ab*?]{0,8}", text in "[ab]{0,8}") {
            let chars = |text: &str| text.chars().collect::<Vec<_>>();
            let expected = by_definition(&chars(&pattern), &chars(&text));
            prop_assert_eq!(Pattern::new(pattern).matches(&text), expected);
        }
    }

    #[test]
    fn many_stars_take_no_long_time() {
        let pattern = Pattern::new("*a".repeat(200));
        assert!(!pattern.matches(&"a".repeat(5_000).replace('a', "b")));
        assert!(!pattern.matches(&format!("{}b", "a".repeat(5_000))));
    }
}
