//! The README's commands do what it says.

use std::path::Path;
use std::process::Stdio;

use platform::testing::SOON;
use serde_json::Value;
use tokio::process::Command;

use crate::world::TestPlatform;

const MARK: &str = "<!-- story:";
const ADDRESS: &str = "http://127.0.0.1:8080";

#[tokio::test(flavor = "multi_thread")]
async fn the_story_in_curl_runs() {
    let readme = Path::new(env!("CARGO_MANIFEST_DIR")).join("../README.md");
    let readme = std::fs::read_to_string(readme).expect("README.md");
    let script = script(&readme).expect("a block of commands after the mark");
    assert!(script.contains(ADDRESS));
    let platform = TestPlatform::start().await;
    let script = script.replace(ADDRESS, platform.nobody.base());
    let mut shell = Command::new("sh");
    shell.args(["-euc", &script]).stdin(Stdio::null()).kill_on_drop(true);
    let run = tokio::time::timeout(3 * SOON, shell.output()).await;
    let output = run.expect("the story ends").expect("sh");
    let (said, failed) = (text(&output.stdout), text(&output.stderr));
    assert!(output.status.success(), "{said}\n{failed}");
    assert!(said.contains("\"accepted\":3") && said.contains("\"accepted\":2"), "{said}");
    let mttr = said.rfind("{\"groups\"").map(|at| &said[at..]).expect("the last answer is the MTTR");
    let mttr: Value = serde_json::from_str(mttr.trim()).expect("JSON");
    assert_eq!(mttr.pointer("/groups/0/resolved"), Some(&1.into()), "{mttr}");
    platform.settle().await;
}

fn script(readme: &str) -> Option<&str> {
    let after = readme.split_once(MARK)?.1;
    let block = after.split_once("```sh\n")?.1;
    Some(block.split_once("\n```")?.0)
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}
