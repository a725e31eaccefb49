//! /docs as a person sees it: in a real browser.

use std::path::Path;
use std::process::{Output, Stdio};
use std::time::Duration;

use tokio::process::Command;

use crate::home::Home;

const BROWSERS: [&str; 3] = ["chromium", "chromium-browser", "google-chrome"];
const OPERATION: &str = "create_rule";
const LIMIT: Duration = Duration::from_secs(60);

#[tokio::test(flavor = "multi_thread")]
async fn the_reference_opens_at_an_operation() {
    let home = Home::new();
    let process = home.up().await;
    let document = home.nobody().get("/openapi.json").await.expect(200);
    let field = &document["components"]["schemas"]["RuleInput"]["properties"]["selection"]["description"];
    let field = field.as_str().expect("a described field");

    let url = format!("{}/docs#{OPERATION}", home.nobody().base());
    let output = open(&url, &home.path().join("browser")).await;
    let (dom, log) = (text(&output.stdout), text(&output.stderr));
    assert!(output.status.success(), "{log}");
    assert!(dom.contains(&format!("id=\"{OPERATION}\"")), "no operation: {dom}");
    assert!(dom.contains(&escaped(field)), "no field with the words {field:?}");
    for trouble in ["cannot be read", "undefined", "[object Object]"] {
        assert!(!shown(&dom).contains(trouble), "{trouble}");
    }
    assert!(!log.contains("Uncaught"), "{log}");
    assert!(process.terminate().await.success(), "{}", home.log());
}

/// What the page has become after its scripts have run.
async fn open(url: &str, profile: &Path) -> Output {
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
        match tokio::time::timeout(LIMIT, command.output()).await.expect("the browser ends") {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
            output => return output.expect("the browser starts"),
        }
    }
    panic!("no browser: `scripts/bootstrap test` installs chromium");
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
