//! Who has an account that is not active is told of nothing.

use platform::rpc;
use platform::testing::{Receiver, eventually};
use proto::notification::v1 as wire;
use uuid::Uuid;

use crate::world::{SOON, World, own, user};

async fn until_known(world: &World, user: Uuid, version: i64) {
    let admin = world.db.admin().await;
    eventually(SOON, async || {
        let sql = "SELECT version FROM pulseops_notification.people WHERE user_id::text = $1";
        let row = admin.query_one(sql, &[&user.to_string()]).await.ok()?;
        (row.get::<_, i64>(0) == version).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_person_without_an_active_account_is_not_told_though_named() {
    let world = World::new().await;
    let receiver = Receiver::start().await;
    let ada = world.hear_of("Ada", "ada@example.com", true).await;
    let method = wire::ContactMethod {
        kind: wire::ChannelKind::Webhook.into(),
        address: receiver.url("ada"),
        ..Default::default()
    };
    let request = wire::CreateContactMethodRequest { user_id: ada.to_string(), contact_method: Some(method) };
    world.methods().create_contact_method(rpc::request(&own(&world, ada), request)).await.expect("created");

    world.hear_change(ada, "Ada Lovelace", true, 2).await;
    until_known(&world, ada, 2).await;
    let left = world.send(world.page("left", vec![user(ada)])).await;
    assert_eq!(
        (left.recipients.as_slice(), left.nobody_reachable),
        (["server log".to_owned()].as_slice(), true)
    );

    world.hear_change(ada, "Ada King", false, 4).await;
    // Older than what is known.
    world.hear_change(ada, "Ada Lovelace", true, 3).await;
    until_known(&world, ada, 4).await;
    world.hear_of("Bob", "bob@example.com", true).await;
    let back = world.send(world.page("back", vec![user(ada)])).await;
    assert_eq!(
        (back.recipients.as_slice(), back.nobody_reachable),
        (["Ada King".to_owned()].as_slice(), false)
    );

    // A change says nothing about the address: it stays proven.
    let list = wire::ListContactMethodsRequest { user_id: ada.to_string(), ..Default::default() };
    let methods = world.methods().list_contact_methods(rpc::request(&own(&world, ada), list)).await;
    let methods = methods.expect("hers").into_inner().items;
    assert_eq!(methods.len(), 2);
    let delete = wire::DeleteContactMethodRequest { user_id: ada.to_string(), id: methods[0].id.clone() };
    world.methods().delete_contact_method(rpc::request(&own(&world, ada), delete)).await.expect("ended");
    let again = wire::ContactMethod {
        kind: wire::ChannelKind::Email.into(),
        address: "ada@example.com".to_owned(),
        ..Default::default()
    };
    let request = wire::CreateContactMethodRequest { user_id: ada.to_string(), contact_method: Some(again) };
    let again = world.methods().create_contact_method(rpc::request(&own(&world, ada), request)).await;
    assert!(again.expect("created").into_inner().verified_at.is_some());
}

#[tokio::test(flavor = "multi_thread")]
async fn the_accounts_address_is_proven_however_late_it_is_heard_of() {
    let world = World::new().await;
    let ada = world.db.source().id();
    world.hear_change(ada, "Ada King", false, 2).await;
    until_known(&world, ada, 2).await;
    // Out of the dead letters, older than what is known.
    world.hear_again(ada, "Ada", "ada@example.com", true, world.db.source().id()).await;
    world.hear_of("Bob", "bob@example.com", true).await;
    until_known(&world, ada, 2).await;

    let cx = own(&world, ada);
    let list = wire::ListContactMethodsRequest { user_id: ada.to_string(), ..Default::default() };
    let methods = world.methods().list_contact_methods(rpc::request(&cx, list)).await;
    let id = methods.expect("hers").into_inner().items.remove(0).id;
    let delete = wire::DeleteContactMethodRequest { user_id: ada.to_string(), id };
    world.methods().delete_contact_method(rpc::request(&cx, delete)).await.expect("ended");
    let again = wire::ContactMethod {
        kind: wire::ChannelKind::Email.into(),
        address: "ada@example.com".to_owned(),
        ..Default::default()
    };
    let request = wire::CreateContactMethodRequest { user_id: ada.to_string(), contact_method: Some(again) };
    let again = world.methods().create_contact_method(rpc::request(&cx, request)).await;
    assert!(again.expect("created").into_inner().verified_at.is_some());
}
