//! What the other services' callers change, as this service keeps it.

use platform::bus::{Envelope, Record};
use platform::ctx::Ctx;
use platform::testing::eventually;
use proto::audit::RECORDED;
use proto::auth::v1::Team;
use proto::events::v1::AuditEvent;

use crate::world::{SOON, World};

/// What another service tells of a change that `cx` made.
fn recorded(cx: &Ctx, action: &str, after: &str) -> Record {
    let shown = Team { name: after.to_owned(), ..Team::default() };
    let resource = cx.id();
    let event = AuditEvent {
        actor_kind: "user".to_owned(),
        actor_id: cx.principal.id.to_string(),
        actor_name: "Ada".to_owned(),
        request_id: cx.id().to_string(),
        ..AuditEvent::of(action, resource, None, Some(&shown)).expect("of the contract")
    };
    Record::new(resource.as_bytes().to_vec(), Envelope::new(cx, "incident", RECORDED, resource, 0), &event)
}

#[tokio::test]
async fn changes_of_other_services_are_kept_once() {
    let world = World::new().await;
    let ada = world.organization("acme").await;
    let (created, updated) = (recorded(&ada, "rule.created", "one"), recorded(&ada, "rule.updated", "two"));
    let mut broken = recorded(&ada, "rule.archived", "three");
    broken.data = b"no event".as_slice().into();
    let topic = proto::topics::AUDIT.name;
    world.deps.bus.append(topic, &[created.clone(), updated, broken, created]).await.expect("appended");

    let admin = world.db.admin().await;
    let letters = "SELECT count(*) FROM pulseops_bus.dead_letters WHERE consumer = 'audit'";
    eventually(SOON, async || {
        let letters: i64 = admin.query_one(letters, &[]).await.expect("asked").get(0);
        (letters == 1 && world.actions(ada.org).await.len() == 2).then_some(())
    })
    .await;
    let sql = "SELECT action, subject_kind, actor_name, after ->> 'name', before IS NULL, request_id IS NOT NULL \
        FROM pulseops_auth.audit ORDER BY action";
    let rows = admin.query(sql, &[]).await.expect("the audit");
    let kept: Vec<(String, String, String, String)> =
        rows.iter().map(|row| (row.get(0), row.get(1), row.get(2), row.get(3))).collect();
    let row = |action: &str, name: &str| (action.into(), "rule".into(), "Ada".into(), name.into());
    assert_eq!(kept, [row("rule.created", "one"), row("rule.updated", "two")]);
    assert!(rows.iter().all(|row| row.get(4) && row.get(5)));
}
