//! The pages that promise name the tests that show it. A test that is renamed must not leave its promise behind.

use std::fs;
use std::path::{Path, PathBuf};

/// The pages whose lines end with a test.
const PAGES: [&str; 2] = ["docs/reliability.md", "docs/security.md"];

/// Every file below `folder` whose name ends so, read.
fn sources(folder: &Path, ends: &str, into: &mut String) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            if path.file_name().is_some_and(|name| name != "target") {
                sources(&path, ends, into);
            }
        } else if path.to_string_lossy().ends_with(ends) {
            into.push_str(&fs::read_to_string(path).unwrap());
        }
    }
}

/// The tests that a page names: `words_with_underscores`, and `checks-with-hyphens` where a `✱` follows.
fn named(page: &str) -> (Vec<&str>, Vec<&str>) {
    let parts: Vec<&str> = page.split('`').collect();
    let quoted = parts.chunks_exact(2).map(|pair| pair[1]);
    let behind = parts.iter().skip(2).step_by(2);
    let (mut tests, mut checks) = (Vec::new(), Vec::new());
    for (word, behind) in quoted.zip(behind) {
        let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
        let metric = ["_total", "_bytes", "_seconds"]
            .iter()
            .any(|end| word.ends_with(end));
        if word.matches('_').count() >= 2 && word.chars().all(plain) && !metric {
            tests.push(word);
        } else if behind.starts_with(" ✱") {
            checks.push(word);
        }
    }
    (tests, checks)
}

#[test]
fn every_promise_names_a_test_that_exists() {
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("..");
    let (mut code, mut shell) = (String::new(), String::new());
    for room in ["proto", "tunnel-server", "tunnel-agent", "tests"] {
        sources(&root.join(room), ".rs", &mut code);
    }
    sources(&root.join("tests"), ".sh", &mut shell);
    for page in PAGES {
        let text = fs::read_to_string(root.join(page)).unwrap();
        let (tests, checks) = named(&text);
        assert!(tests.len() >= 20, "{page}: {tests:?}");
        for test in tests {
            assert!(
                code.contains(&format!("fn {test}(")),
                "{page} names {test}, and no test is called so"
            );
        }
        for check in checks {
            assert!(
                shell.contains(&format!("-{check}\" "))
                    || shell.contains(&format!("check {check} ")),
                "{page} names the check {check}, and none in tests/ is called so"
            );
        }
    }
}
