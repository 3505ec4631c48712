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
pub struct Selectors(Vec<Selector>);

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
        self.0.iter().any(|selector| selector.matches(labels))
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
        let all: Vec<_> = self.0.iter().map(ToString::to_string).collect();
        f.write_str(&all.join(";"))
    }
}

fn selector(text: &str) -> Result<Selector, SelectorError> {
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
