//! Tokens over time: keys that change, an auth-service that is silent, revocations nobody hears of.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use platform::ctx::{Cause, OrgId, PrincipalKind};
use platform::error::{Error, Kind, Result};
use platform::source::Source;
use platform::token::{
    Claims, KeySource, PublicKey, Revocation, Revoked, ServiceTokens, Signer, Verifier, VerifierParts,
};

use crate::door::fixture::{ORG, World};

const MINUTE: Duration = Duration::from_secs(60);

async fn verify(world: &World, token: &str) -> &'static str {
    world.verifier.verify(token).await.map_or_else(|error| error.code, |_| "ok")
}

#[tokio::test]
async fn a_new_key_is_fetched_when_a_token_names_it_at_most_once_a_second() {
    let world = World::new();
    let before = world.token(&world.user("owner"));
    assert_eq!(verify(&world, &before).await, "ok");
    assert_eq!(world.issuer.fetches.load(Ordering::SeqCst), 1);
    *world.issuer.signer.lock().expect("whole") = Signer::from_seed(&[2; 32]).expect("a key");
    let after = world.token(&world.user("owner"));
    for _ in 0..3 {
        assert_eq!(verify(&world, &after).await, "unknown_key");
    }
    assert_eq!(world.issuer.fetches.load(Ordering::SeqCst), 1);
    world.source.advance(Duration::from_secs(1));
    assert_eq!(verify(&world, &after).await, "ok");
    assert_eq!(world.issuer.fetches.load(Ordering::SeqCst), 2);
}

#[tokio::test]
async fn known_keys_do_without_auth_and_withdrawn_ones_are_forgotten() {
    let world = World::new();
    assert_eq!(verify(&world, &world.token(&world.user("owner"))).await, "ok");
    world.issuer.up.store(false, Ordering::SeqCst);
    world.source.advance(10 * MINUTE);
    let token = world.token(&world.user("owner"));
    assert_eq!(verify(&world, &token).await, "ok");
    world.issuer.up.store(true, Ordering::SeqCst);
    let withdrawn = world.token(&world.user("viewer"));
    *world.issuer.signer.lock().expect("whole") = Signer::from_seed(&[2; 32]).expect("a key");
    world.source.advance(MINUTE);
    assert_eq!(verify(&world, &withdrawn).await, "unknown_key");
}

#[tokio::test]
async fn without_any_keys_the_answer_is_later() {
    let world = World::new();
    world.issuer.up.store(false, Ordering::SeqCst);
    let token = world.token(&world.user("owner"));
    let error = world.verifier.verify(&token).await.expect_err("no keys");
    assert_eq!((error.kind, error.code), (Kind::Unavailable, "keys_unavailable"));
    assert!(error.retry_after.is_some());
    world.issuer.up.store(true, Ordering::SeqCst);
    world.source.advance(Duration::from_secs(1));
    assert_eq!(verify(&world, &token).await, "ok");
}

#[tokio::test]
async fn keys_are_exchanged_once_a_minute_also_by_many_at_once() {
    let world = World::new();
    world.key(PrincipalKind::ApiKey, "pok_a", &["things_read"]);
    let calls = (0..8).map(|_| world.verifier.verify("pok_a"));
    assert!(futures::future::join_all(calls).await.iter().all(Result::is_ok));
    assert_eq!(world.issuer.exchanges.load(Ordering::SeqCst), 1);
    world.source.advance(MINUTE);
    assert_eq!(verify(&world, "pok_a").await, "ok");
    assert_eq!(world.issuer.exchanges.load(Ordering::SeqCst), 2);
}

#[tokio::test]
async fn integration_keys_go_on_for_15_minutes_without_auth() {
    let world = World::new();
    world.key(PrincipalKind::ApiKey, "pok_a", &["things_read"]);
    let key = world.key(PrincipalKind::IntegrationKey, "pik_a", &["things_write"]);
    world.key(PrincipalKind::IntegrationKey, "pik_b", &["things_write"]);
    for key in ["pok_a", "pik_a", "pik_b"] {
        assert_eq!(verify(&world, key).await, "ok");
    }
    world.issuer.up.store(false, Ordering::SeqCst);
    world.source.advance(2 * MINUTE);
    assert_eq!(verify(&world, "pok_a").await, "service_unavailable");
    assert_eq!(verify(&world, "pik_a").await, "ok");
    world.verifier.revoke(Revocation { what: Revoked::Key(key.id), at: world.source.now() });
    assert_eq!(verify(&world, "pik_a").await, "revoked_token");
    world.source.advance(12 * MINUTE);
    assert_eq!(verify(&world, "pik_b").await, "ok");
    world.source.advance(2 * MINUTE);
    assert_eq!(verify(&world, "pik_b").await, "service_unavailable");
}

#[tokio::test]
async fn a_key_that_auth_refuses_has_no_last_good_answer() {
    let world = World::new();
    world.key(PrincipalKind::IntegrationKey, "pik_a", &["things_write"]);
    assert_eq!(verify(&world, "pik_a").await, "ok");
    world.issuer.keys.lock().expect("whole").clear();
    world.source.advance(MINUTE);
    assert_eq!(verify(&world, "pik_a").await, "invalid_key");
    world.issuer.up.store(false, Ordering::SeqCst);
    world.source.advance(MINUTE);
    assert_eq!(verify(&world, "pik_a").await, "service_unavailable");
}

#[tokio::test]
async fn a_refused_key_is_asked_about_every_other_second() {
    let world = World::new();
    for _ in 0..3 {
        assert_eq!(verify(&world, "pok_made_up").await, "invalid_key");
    }
    assert_eq!(world.issuer.exchanges.load(Ordering::SeqCst), 1);
    world.key(PrincipalKind::ApiKey, "pok_made_up", &["things_read"]);
    world.source.advance(Duration::from_secs(2));
    assert_eq!(verify(&world, "pok_made_up").await, "ok");
}

#[tokio::test]
async fn a_key_whose_tokens_are_revoked_is_exchanged_anew() {
    let world = World::new();
    let before = world.key(PrincipalKind::ApiKey, "pok_a", &["things_read", "things_write"]);
    assert_eq!(verify(&world, "pok_a").await, "ok");
    let revocation = Revocation { what: Revoked::Key(before.id), at: world.source.now() };
    world.verifier.revoke(revocation);
    let mut after = before.clone();
    after.permissions = ["things_read"].into_iter().collect();
    world.issuer.keys.lock().expect("whole").insert("pok_a".to_owned(), after.clone());
    assert_eq!(verify(&world, "pok_a").await, "revoked_token", "a token of that very moment");
    world.source.advance(Duration::from_millis(1));
    let verified = world.verifier.verify("pok_a").await.expect("the key is good");
    assert_eq!(verified.principal.permissions, after.permissions);
    world.verifier.revoke(Revocation { at: world.source.now(), ..revocation });
    world.issuer.keys.lock().expect("whole").clear();
    assert_eq!(verify(&world, "pok_a").await, "invalid_key");
}

/// The token of a good key is not: no reason to tell the sender that its key is bad.
#[tokio::test]
async fn trouble_between_auth_and_us_is_not_the_keys_fault() {
    let world = World::new();
    world.key(PrincipalKind::ApiKey, "pok_a", &["things_read"]);
    world.key(PrincipalKind::IntegrationKey, "pik_a", &["things_write"]);
    for key in ["pok_a", "pik_a"] {
        assert_eq!(verify(&world, key).await, "ok");
    }
    world.source.advance(MINUTE);
    // The published keys were fetched this very second, and auth signs with another one.
    let claims = Claims::new(&world.user("owner"), ORG, MINUTE, &world.source);
    let strangers = Signer::from_seed(&[8; 32]).expect("a key").sign(&claims).expect("signed");
    assert_eq!(verify(&world, &strangers).await, "unknown_key");
    *world.issuer.signer.lock().expect("whole") = Signer::from_seed(&[2; 32]).expect("a key");
    assert_eq!(verify(&world, "pik_a").await, "ok", "the last good answer");
    let error = world.verifier.verify("pok_a").await.expect_err("not verified");
    assert_eq!((error.kind, error.code), (Kind::Unavailable, "key_unverified"));
    world.source.advance(Duration::from_secs(1));
    assert_eq!(verify(&world, "pok_a").await, "ok");
}

/// Publishes nothing, and takes two seconds of the clock to say so.
struct Hanging {
    source: Source,
    fetches: AtomicUsize,
}

#[async_trait]
impl KeySource for Hanging {
    async fn jwks(&self) -> Result<Vec<PublicKey>> {
        self.fetches.fetch_add(1, Ordering::SeqCst);
        tokio::task::yield_now().await;
        self.source.advance(Duration::from_secs(2));
        Err(Error::timeout("timeout", "auth hangs"))
    }
}

#[tokio::test]
async fn while_auth_hangs_those_who_wait_for_its_keys_wait_once() {
    let world = World::new();
    let keys = Arc::new(Hanging { source: world.source.clone(), fetches: AtomicUsize::new(0) });
    let verifier = Verifier::new(VerifierParts {
        access: world.door.access.clone(),
        secret: world.secret.clone(),
        keys: keys.clone(),
        exchange: world.issuer.clone(),
        source: world.source.clone(),
    })
    .expect("a verifier");
    let tokens: Vec<String> = (0..5).map(|_| world.token(&world.user("owner"))).collect();
    let answers = futures::future::join_all(tokens.iter().map(|token| verifier.verify(token))).await;
    assert!(answers.iter().all(|answer| answer.as_ref().is_err_and(|e| e.code == "keys_unavailable")));
    assert_eq!(keys.fetches.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn users_are_confirmed_while_revocations_are_not_heard() {
    let world = World::new();
    let token = world.token(&world.user("owner"));
    world.issuer.disabled.store(true, Ordering::SeqCst);
    world.source.advance(MINUTE);
    world.verifier.revocations_heard();
    assert_eq!(verify(&world, &token).await, "ok");
    world.source.advance(MINUTE);
    assert_eq!(verify(&world, &token).await, "revoked_token");
    // With auth silent too, people must still be able to act.
    world.issuer.up.store(false, Ordering::SeqCst);
    assert_eq!(verify(&world, &token).await, "ok");
}

#[tokio::test]
async fn service_tokens_are_used_for_half_their_time() {
    let world = World::new();
    let tokens = ServiceTokens::new(&world.secret, world.source.clone()).expect("a key");
    let cause = Some(Cause { event: world.source.id(), depth: 3 });
    let first = tokens.token("workflow", ORG, cause).expect("minted");
    assert_eq!(tokens.token("workflow", ORG, cause).expect("minted"), first);
    assert_ne!(tokens.token("workflow", OrgId::nil(), cause).expect("minted"), first);
    assert_ne!(tokens.token("workflow", ORG, None).expect("minted"), first);
    world.source.advance(Duration::from_secs(31));
    assert_ne!(tokens.token("workflow", ORG, cause).expect("minted"), first);
    let verified = world.verifier.verify(&first).await.expect("good for 60 s");
    assert_eq!((verified.org, verified.cause), (ORG, cause));
    assert_eq!(verified.principal.name, "workflow");
    world.source.advance(Duration::from_secs(31));
    assert_eq!(verify(&world, &first).await, "expired_token");
}

#[tokio::test]
async fn the_token_of_another_deployment_is_refused() {
    let world = World::new();
    let secret = platform::secret::DeploymentSecret::new([10; 32]);
    let tokens = ServiceTokens::new(&secret, world.source.clone()).expect("a key");
    let token = tokens.token("workflow", ORG, None).expect("minted");
    assert_eq!(verify(&world, &token).await, "invalid_token");
}
