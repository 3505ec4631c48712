//! Label selectors, as kubectl's `-l` takes them: `key=value`, `key!=value`, `key in (a,b)`, `key notin (a,b)`, `key`,
//! `!key`, with commas between what must all hold (kubernetes `apimachinery/pkg/labels/selector.go`). Several selectors,
//! of which one must hold, stand side by side with semicolons between.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use edge_tunnel_proto::id::excerpt;
use kube::core::{Expression, Selector, SelectorExt as _};

/// Any of these selectors.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Selectors(Vec<Vec<Expression>>);

/// Why a text is no selector.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "{0:?} is no label selector: write key=value, key!=value, key in (a,b), key notin (a,b), key or !key, with commas \
     between what must all hold"
)]
pub struct SelectorError(String);

impl Selectors {
    /// Whether any of them selects what bears these labels. None of them selects nothing.
    #[must_use]
    pub fn matches(&self, labels: &BTreeMap<String, String>) -> bool {
        let holds = |selector: &Vec<Expression>| {
            selector.iter().all(|expression| expression.matches(labels))
        };
        self.0.iter().any(holds)
    }

    /// A selector of all others, as far as one can say it: of some that are selected it may say that they are not.
    #[must_use]
    pub fn others(&self) -> Selector {
        let not = |selector: &Vec<Expression>| match &selector[..] {
            [Expression::Equal(key, value)] => {
                Some(Expression::NotEqual(key.clone(), value.clone()))
            }
            [Expression::Exists(key)] => Some(Expression::DoesNotExist(key.clone())),
            [Expression::In(key, values)] => Some(Expression::NotIn(key.clone(), values.clone())),
            _ => None,
        };
        self.0.iter().filter_map(not).collect()
    }
}

impl FromStr for Selectors {
    type Err = SelectorError;

    fn from_str(text: &str) -> Result<Self, SelectorError> {
        text.split(';')
            .map(selector)
            .collect::<Result<_, _>>()
            .map(Self)
    }
}

impl fmt::Display for Selectors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, selector) in self.0.iter().enumerate() {
            if index > 0 {
                f.write_str(";")?;
            }
            let selector: Selector = selector.iter().cloned().collect();
            fmt::Display::fmt(&selector, f)?;
        }
        Ok(())
    }
}

fn selector(text: &str) -> Result<Vec<Expression>, SelectorError> {
    let bad = || SelectorError(excerpt(text));
    // A comma within parentheses separates values.
    let (mut parts, mut start, mut depth) = (Vec::new(), 0, 0_u32);
    for (at, byte) in text.bytes().enumerate() {
        match byte {
            b'(' => depth += 1,
            b')' => depth = depth.checked_sub(1).ok_or_else(bad)?,
            b',' if depth == 0 => {
                parts.push(&text[start..at]);
                start = at + 1;
            }
            _ => {}
        }
    }
    parts.push(&text[start..]);
    parts
        .into_iter()
        .map(|part| requirement(part.trim()).ok_or_else(bad))
        .collect()
}

fn requirement(text: &str) -> Option<Expression> {
    if let Some(key) = text.strip_prefix('!') {
        return Some(Expression::DoesNotExist(key_of(key)?));
    }
    if let Some(list) = text.strip_suffix(')') {
        let (head, values) = list.split_once('(')?;
        let values = values
            .split(',')
            .map(|value| value_of(value.trim()))
            .collect::<Option<_>>()?;
        let mut words = head.split_whitespace();
        let key = key_of(words.next()?)?;
        let word = words.next()?;
        return match (word, words.next()) {
            ("in", None) => Some(Expression::In(key, values)),
            ("notin", None) => Some(Expression::NotIn(key, values)),
            _ => None,
        };
    }
    if let Some((key, value)) = text.split_once("!=") {
        return Some(Expression::NotEqual(key_of(key)?, value_of(value.trim())?));
    }
    if let Some((key, value)) = text.split_once('=') {
        let value = value.strip_prefix('=').unwrap_or(value);
        return Some(Expression::Equal(key_of(key)?, value_of(value.trim())?));
    }
    Some(Expression::Exists(key_of(text)?))
}

fn fits(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.')
}

fn key_of(text: &str) -> Option<String> {
    let text = text.trim();
    let (prefix, name) = text.split_once('/').unwrap_or(("x", text));
    let good = |part: &str| (1..=253).contains(&part.len()) && part.bytes().all(fits);
    (good(prefix) && good(name)).then(|| text.to_owned())
}

fn value_of(text: &str) -> Option<String> {
    (text.len() <= 63 && text.bytes().all(fits)).then(|| text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn matches(selector: &str, labels: &str) -> bool {
        let labels = labels.split(' ').filter(|label| !label.is_empty());
        let labels = labels.map(|label| label.split_once('=').unwrap_or((label, "")));
        let labels = labels.map(|(key, value)| (key.to_owned(), value.to_owned()));
        selector
            .parse::<Selectors>()
            .unwrap()
            .matches(&labels.collect())
    }

    #[test]
    fn selectors_mean_what_they_mean_to_kubectl() {
        for (selector, labels, expected) in [
            (
                "openyurt.io/is-edge-worker=true",
                "openyurt.io/is-edge-worker=true x=y",
                true,
            ),
            ("a==b", "a=b", true),
            ("a=b,c=d", "a=b", false),
            ("a=b, c = d", "a=b c=d", true),
            ("a=b;c=d", "c=d", true),
            ("a!=b", "", true),
            ("a!=b", "a=b", false),
            ("a in (x, y),c", "a=y c", true),
            ("a in (x,y)", "a=z", false),
            ("a notin (x,y)", "", true),
            ("!a", "a=", false),
            ("a", "a=", true),
            ("a=", "a=", true),
        ] {
            assert_eq!(
                matches(selector, labels),
                expected,
                "{selector:?} on {labels:?}"
            );
        }
        assert!(!Selectors::default().matches(&BTreeMap::new()));
    }

    #[test]
    fn the_others_are_selected_as_far_as_one_selector_can_say_it() {
        let others = |text: &str| text.parse::<Selectors>().unwrap().others().to_string();
        assert_eq!(others("a=b;c;d in (e,f)"), "a!=b,!c,d notin (e,f)");
        // Not both is nothing that a selector can say.
        assert_eq!(others("a=b,c=d;e=f"), "e!=f");
    }

    #[test]
    fn what_is_no_selector_is_said() {
        for bad in [
            "", "=b", "a=b,", "a in x", "a in (x", "a)", "a is (x)", "a b", "a=b c", "a/b/c", "!",
            ";", "a=ü",
        ] {
            let error = bad.parse::<Selectors>().unwrap_err().to_string();
            assert!(error.contains("is no label selector"), "{bad:?}: {error}");
        }
    }
}
