//! /docs as a person sees it: in a real browser.

use std::path::Path;
use std::process::{Output, Stdio};
use std::time::Duration;

use tokio::process::Command;

use crate::world::TestPlatform;

const BROWSERS: [&str; 3] = ["chromium", "google-chrome", "chromium-browser"];
const OPERATION: &str = "create_rule";
const LIMIT: Duration = Duration::from_secs(180);

#[tokio::test(flavor = "multi_thread")]
async fn the_reference_opens_at_an_operation() {
    let platform = TestPlatform::start().await;
    let document = platform.nobody.get("/openapi.json").await.expect(200);
    let field = &document["components"]["schemas"]["RuleInput"]["properties"]["selection"]["description"];
    let field = field.as_str().expect("a described field");

    let url = format!("{}/docs#{OPERATION}", platform.nobody.base());
    let profile = tempfile::tempdir().expect("a folder");
    let output = open(&url, profile.path()).await;
    let (dom, log) = (text(&output.stdout), text(&output.stderr));
    assert!(dom.contains(&format!("id=\"{OPERATION}\"")), "no operation: {dom}");
    assert!(dom.contains(&escaped(field)), "no field with the words {field:?}");
    for trouble in ["cannot be read", "undefined", "[object Object]"] {
        assert!(!shown(&dom).contains(trouble), "{trouble}");
    }
    assert!(!log.contains("Uncaught"), "{log}");
}

/// What the page has become after its scripts have run. A browser that is a snap may be there and not start.
async fn open(url: &str, profile: &Path) -> Output {
    let mut tried = Vec::new();
    for browser in BROWSERS {
        let mut command = Command::new(browser);
        command
            .args(["--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"])
            .args(["--disable-background-networking", "--disable-component-update", "--disable-sync"])
            .args(["--enable-logging=stderr", "--virtual-time-budget=8000", "--dump-dom"])
            .arg(format!("--user-data-dir={}", profile.display()))
            .arg(url)
            .stdin(Stdio::null())
            .kill_on_drop(true);
        match tokio::time::timeout(LIMIT, command.output()).await {
            Ok(Ok(output)) if output.status.success() => return output,
            Ok(Ok(output)) => {
                tried.push(format!("{browser} ended with {}: {}", output.status, text(&output.stderr)))
            }
            Ok(Err(error)) => tried.push(format!("{browser} cannot be started: {error}")),
            Err(_) => tried.push(format!("{browser} did not end within {LIMIT:?}")),
        }
    }
    panic!(
        "no browser opens /docs. Install chromium (`scripts/bootstrap test` does) or, where that is a snap, Google \
         Chrome.\n{}",
        tried.join("\n")
    );
}

/// The page without its scripts, which name what they would say.
fn shown(dom: &str) -> String {
    let mut parts = dom.split("<script");
    let first = parts.next().unwrap_or_default().to_owned();
    parts.fold(first, |page, part| page + part.split_once("</script>").map_or("", |(_, after)| after))
}

/// As text stands in HTML.
fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}
