//! What tests give to the world, and what they look for in it.

use std::time::Duration;

use platform::testing::{Receiver, SOON, eventually};
use proto::workflow::v1 as pb;

/// After it a level of [`World::slow_policy`] has waited in vain.
pub const HOUR: Duration = Duration::from_secs(3_601);

/// The pages of levels that have come, as (round, level, path) in the order in which they were decided: in
/// which order they arrive is the network's affair. One that came again is the same page.
fn pages(endpoint: &Receiver) -> Vec<(u64, u64, String)> {
    let mut pages: Vec<_> = endpoint
        .hits()
        .into_iter()
        .filter_map(|hit| {
            let data = hit.json()["data"].clone();
            let key = hit.header("webhook-id").to_owned();
            Some((data["round"].as_u64()?, data["level"].as_u64()?, hit.path, key))
        })
        .collect();
    pages.sort();
    pages.dedup();
    pages.into_iter().map(|(round, level, path, _)| (round, level, path)).collect()
}

/// Waits until so many pages of levels have come.
pub async fn until_pages(endpoint: &Receiver, count: usize) -> Vec<(u64, u64, String)> {
    eventually(SOON, async || Some(pages(endpoint)).filter(|pages| pages.len() >= count)).await
}

/// A workflow on `created` with these steps.
pub fn on_created(slug: &str, steps: Vec<pb::step::Kind>) -> pb::Workflow {
    let steps = steps.into_iter().map(|kind| pb::Step { name: String::new(), kind: Some(kind) });
    pb::Workflow {
        slug: slug.to_owned(),
        name: slug.to_owned(),
        triggers: vec![pb::TriggerEvent::Created.into()],
        steps: steps.collect(),
        ..pb::Workflow::default()
    }
}

/// An http step with quick retries.
pub fn http(url: String, max_attempts: i32) -> pb::HttpStep {
    let retry = pb::Retry { max_attempts, initial_ms: 20, max_ms: 40, jitter: None };
    pb::HttpStep { url, retry: Some(retry), ..pb::HttpStep::default() }
}

/// Plain texts of step triples.
pub fn triples(steps: &[(&str, &str, &str)]) -> Vec<(String, String, String)> {
    steps.iter().map(|(a, b, c)| ((*a).to_owned(), (*b).to_owned(), (*c).to_owned())).collect()
}
