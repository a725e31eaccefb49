//! `pulseops demo`: the whole path once, on a running platform, told for a person.
//!
//! Registers an organization of its own, so it can be run as often as wanted and leaves its incident
//! to be looked at. Start with `story.rs`.

mod api;
mod narrate;
mod receiver;
mod story;

use std::net::SocketAddr;

/// Where the platform answers and where the demo listens for pages.
pub struct Options {
    /// Base URL of the REST gateway, without a slash at the end.
    pub url: String,
    /// Address of the demo's own webhook receiver and retry endpoint. The platform must be allowed
    /// to call it: it is the default entry of `egress.allow`.
    pub receiver: SocketAddr,
}

/// Plays the story to its end.
///
/// # Errors
/// When the platform does not answer, or a step of the story does not come to pass in time.
pub async fn run(options: Options) -> anyhow::Result<()> {
    let receiver = receiver::Receiver::start(options.receiver).await?;
    let api = api::Api::new(&options.url)?;
    story::play(&api, &receiver).await
}
