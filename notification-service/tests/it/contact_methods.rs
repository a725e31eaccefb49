use platform::ctx::Ctx;
use platform::error::{Error, Kind};
use platform::rpc;
use proto::notification::v1 as wire;
use uuid::Uuid;

use crate::world::{World, error, own};

async fn list(world: &World, cx: &Ctx, user: Uuid) -> Result<Vec<wire::ContactMethod>, Error> {
    let request = wire::ListContactMethodsRequest { user_id: user.to_string(), ..Default::default() };
    let page = world.methods().list_contact_methods(rpc::request(cx, request)).await?;
    Ok(page.into_inner().items)
}

fn method(kind: wire::ChannelKind, address: &str) -> Option<wire::ContactMethod> {
    Some(wire::ContactMethod { kind: kind.into(), address: address.to_owned(), ..Default::default() })
}

#[tokio::test(flavor = "multi_thread")]
async fn an_account_brings_its_address_once() {
    let world = World::new().await;
    let event = world.db.source().id();
    let ada = world.db.source().id();
    world.hear_again(ada, "Ada", "Ada@Example.com", true, event).await;
    let methods = list(&world, &own(&world, ada), ada).await.expect("hers");
    assert_eq!(methods.len(), 1);
    assert_eq!(
        (methods[0].address.as_str(), methods[0].kind()),
        ("a***@example.com", wire::ChannelKind::Email)
    );
    assert!(methods[0].verified_at.is_some());

    // Ended by her, heard again: it stays ended.
    let delete = wire::DeleteContactMethodRequest { user_id: ada.to_string(), id: methods[0].id.clone() };
    world.methods().delete_contact_method(rpc::request(&own(&world, ada), delete)).await.expect("ended");
    world.hear_again(ada, "Ada", "ada@example.com", true, event).await;
    let bob = world.hear_of("Bob", "bob@example.com", false).await;
    assert_eq!(list(&world, &own(&world, ada), ada).await.expect("hers"), []);
    let unverified = list(&world, &own(&world, bob), bob).await.expect("his");
    assert_eq!(unverified[0].verified_at, None);

    // The account's own address needs no proof; any other one does.
    let create = async |address: &str| {
        let request = wire::CreateContactMethodRequest {
            user_id: ada.to_string(),
            contact_method: method(wire::ChannelKind::Email, address),
        };
        world.methods().create_contact_method(rpc::request(&own(&world, ada), request)).await
    };
    let again = create("ADA@example.com").await.expect("created").into_inner();
    assert!(again.verified_at.is_some());
    let other = create("ada@elsewhere.example").await.expect("created").into_inner();
    assert_eq!((other.verified_at, other.address.as_str()), (None, "ada@elsewhere.example"));
    let twice = error(create("ada@example.com").await);
    assert_eq!((twice.kind, twice.fields[0].field.as_str()), (Kind::Conflict, "contact_method.address"));
}

#[tokio::test(flavor = "multi_thread")]
async fn addresses_are_sealed() {
    let world = World::new().await;
    world.hear_of("Ada", "ada@example.com", true).await;
    let row = world.db.admin().await;
    let row = row.query_one("SELECT c::text FROM pulseops_notification.contact_methods c", &[]).await;
    let row: String = row.expect("the raw row").get(0);
    assert!(!row.contains("ada@example.com"), "{row}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_accounts_address_is_verified_however_early_it_was_entered() {
    let world = World::new().await;
    let ada = world.db.source().id();
    let request = wire::CreateContactMethodRequest {
        user_id: ada.to_string(),
        contact_method: method(wire::ChannelKind::Email, "ada@example.com"),
    };
    let early = world.methods().create_contact_method(rpc::request(&own(&world, ada), request)).await;
    let early = early.expect("created").into_inner();
    assert_eq!((early.verified_at, early.version), (None, 1));
    world.hear_again(ada, "Ada", "Ada@Example.com", true, world.db.source().id()).await;
    let methods = list(&world, &own(&world, ada), ada).await.expect("hers");
    assert_eq!((methods.len(), &methods[0].id, methods[0].version), (1, &early.id, 2));
    assert!(methods[0].verified_at.is_some());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_method_says_why_nothing_reaches_it_and_when_it_ended() {
    let world = World::new().await;
    let ada = world.hear_of("Ada", "ada@example.com", true).await;
    let cx = own(&world, ada);
    let listed = list(&world, &cx, ada).await.expect("hers").remove(0);
    assert_eq!(listed.warning.as_deref(), Some("no mail server is configured (smtp.host)"));
    let request = wire::CreateContactMethodRequest {
        user_id: ada.to_string(),
        contact_method: method(wire::ChannelKind::Webhook, "http://127.0.0.1:9/"),
    };
    let created = world.methods().create_contact_method(rpc::request(&cx, request)).await;
    let created = created.expect("created").into_inner();
    assert_eq!((created.warning, created.archived_at), (None, None));
    let delete = wire::DeleteContactMethodRequest { user_id: ada.to_string(), id: created.id.clone() };
    world.methods().delete_contact_method(rpc::request(&cx, delete)).await.expect("ended");
    let get = wire::GetContactMethodRequest { user_id: ada.to_string(), id: created.id };
    let ended = world.methods().get_contact_method(rpc::request(&cx, get)).await.expect("there");
    assert!(ended.into_inner().archived_at.is_some());
}
