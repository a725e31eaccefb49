use platform::ctx::Ctx;
use platform::error::{Error, Kind};
use platform::rpc::{self, Fault};
use proto::notification::v1 as wire;
use uuid::Uuid;

use crate::world::{World, error};

fn own(world: &World, user: Uuid) -> Ctx {
    let mut cx = world.db.cx_in(world.org, &["profile"]);
    let mut principal = (*cx.principal).clone();
    principal.id = user;
    cx.principal = principal.into();
    cx
}

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
async fn addresses_are_private() {
    let world = World::new().await;
    let ada = world.hear_of("Ada", "ada@example.com", true).await;
    // Nobody knows whether Ada is of this organization while auth is silent.
    let other = own(&world, world.db.source().id());
    assert_eq!(list(&world, &other, ada).await.expect_err("silent").kind, Kind::Unavailable);
    let path = "/pulseops.auth.v1.AccessService/CheckPermission";
    let fault = Fault::Fail(Error::unavailable("down", "auth is down"));
    world.deps.directory.faults().inject(path, 1, fault);
    assert_eq!(list(&world, &world.owner(), ada).await.expect_err("silent").kind, Kind::Unavailable);

    let row = world.db.admin().await;
    let row = row.query_one("SELECT c::text FROM pulseops_notification.contact_methods c", &[]).await;
    let row: String = row.expect("the raw row").get(0);
    assert!(!row.contains("ada@example.com"), "{row}");
}
