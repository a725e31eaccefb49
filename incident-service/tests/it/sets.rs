//! The engine's compiled rule sets, over the database.

use std::sync::Arc;

use incident_service::engine::{RuleSets, SetKey};
use incident_service::kinds::ServiceId;
use platform::consumer::Breaks;
use proto::incident::v1 as wire;

use crate::world::{World, charges, each, service};

#[tokio::test]
async fn a_batch_that_has_worked_enough_compiles_the_set_of_its_first_service_alone() {
    let world = World::new().await;
    let mut keys = Vec::new();
    for slug in ["a", "b", "c"] {
        let service = world.create_service(service(slug)).await;
        world.create_rule(wire::Rule { slug: slug.to_owned(), ..charges(&service, each()) }).await;
        keys.push((world.org, ServiceId(service.id.parse().expect("a UUID"))));
    }
    let sets = RuleSets::default();
    let load = async |keys: &[SetKey], mut breaks: Breaks| {
        let mut tx = world.db.db("incident").begin_system("test").await.expect("a transaction");
        sets.load(&mut tx, keys, &mut breaks).await.expect("loaded")
    };
    let mut rest = &keys[..];
    while let [first, others @ ..] = rest {
        let loaded = load(rest, Breaks::of_long_batch()).await;
        assert_eq!(loaded.sets.keys().collect::<Vec<_>>(), [first]);
        assert_eq!(loaded.waiting, others.iter().copied().collect());
        rest = others;
    }
    let loaded = load(&keys, Breaks::of_long_batch()).await;
    assert_eq!((loaded.sets.len(), loaded.waiting.len()), (3, 0), "what is compiled is there at once");
}

#[tokio::test]
async fn only_rules_that_changed_are_compiled_again() {
    let world = World::new().await;
    let mut payment = world.payment().await;
    let slugs = ["a", "b", "c"];
    let mut rules = Vec::new();
    for slug in slugs {
        let rule = wire::Rule { slug: slug.to_owned(), ..charges(&payment, each()) };
        rules.push(world.create_rule(rule).await);
    }
    let (sets, id) = (RuleSets::default(), payment.id.parse().expect("a UUID"));
    let load = async || {
        let mut tx = world.db.db("incident").begin_system("test").await.expect("a transaction");
        let key = (world.org, ServiceId(id));
        let mut loaded = sets.load(&mut tx, &[key], &mut Breaks::begin()).await.expect("loaded");
        loaded.sets.remove(&key).expect("the service's set")
    };
    let first = load().await;
    assert_eq!(first.rules.len(), 3);
    // Nothing that the engine reads.
    payment.description = "takes money".to_owned();
    world.update_service(payment, &["description"]).await;
    assert!(Arc::ptr_eq(&load().await, &first));

    let renamed = wire::Rule { name: "B".to_owned(), ..rules[1].clone() };
    world.update_rule(renamed, &["name"]).await;
    let second = load().await;
    let same: Vec<bool> = first.rules.iter().zip(&second.rules).map(|(a, b)| Arc::ptr_eq(a, b)).collect();
    assert_eq!((same, second.rules[1].row.name.as_str()), (vec![true, false, true], "B"));
}
