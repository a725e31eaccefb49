//! `make demo`: the story that a newcomer sees.

use serde_json::Value;

use crate::home::Home;
use crate::support::ports::free;

#[tokio::test(flavor = "multi_thread")]
async fn the_demo_plays_the_story_to_its_end() {
    let home = Home::new();
    let process = home.up().await;
    let receiver = free().to_string();
    let output = home.run(&["demo", "--receiver", &receiver], &[]).await;
    let (said, failed) = (text(&output.stdout), text(&output.stderr));
    assert!(output.status.success(), "{said}\n{failed}\n{}", home.log());

    let mut rest = said.as_str();
    assert!(said.contains("The story is over"), "{said}");
    for part in TOLD {
        let at = rest.find(part).unwrap_or_else(|| panic!("{part:?} is missing or out of order: {said}"));
        rest = &rest[at + part.len()..];
    }
    let at = |kind: &str| rest.find(kind).unwrap_or_else(|| panic!("no entry {kind:?}: {rest}"));
    let kinds = ["  created ", "  step ", "  notified ", "  escalated ", "  acknowledged ", "  resolved "];
    assert!(kinds[1..].iter().all(|kind| at(kind) > at(kinds[0])), "{rest}");
    assert!(at("  acknowledged ") < at("  resolved "), "{rest}");
    assert_eq!(said.matches("answered 503 (+").count(), 3, "{said}");

    // What it leaves to be looked at can be looked at, with what it printed.
    let token = said.lines().find_map(|line| line.trim().strip_prefix("token=")).expect("a token");
    let ada = home.nobody().with_token(token);
    for line in said.lines().filter(|line| line.trim().starts_with("curl ")) {
        let url = line.split_whitespace().last().expect("an address");
        let path = url.strip_prefix(ada.base()).unwrap_or_else(|| panic!("{url} is elsewhere"));
        let seen: Value = ada.get(path).await.expect(200);
        assert!(seen.is_object(), "{path}: {seen}");
    }
    home.nothing_left().await;
    assert!(process.terminate().await.success(), "{}", home.log());
}

/// What it tells, in order, up to the timeline.
const TOLD: [&str; 11] = [
    "\n1. ",
    "\n2. ",
    "\n3. ",
    "incident #1 \"Charges fail on payment\", critical",
    "\n4. ",
    "Ada is paged",
    "Grace is paged",
    "\n5. ",
    "\n6. ",
    "= resolved_at - created_at",
    "\n7. ",
];

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}
