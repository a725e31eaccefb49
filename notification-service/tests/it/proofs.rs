//! A mailed code proves an address, with the SMTP server of [`email`](crate::email).

use std::time::Duration;

use notification_service::Delivery;
use platform::ctx::{Ctx, OrgId};
use platform::error::{Error, Kind};
use platform::rpc;
use proto::notification::v1 as wire;
use uuid::Uuid;
use wire::NotificationStatus::{Dead, Delivered};

use crate::email::{self, Mailbox};
use crate::world::{World, error, own, quick, user};

/// A person whose account's address is not proven.
struct Person<'w> {
    world: &'w World,
    cx: Ctx,
    id: Uuid,
    method: String,
}

impl<'w> Person<'w> {
    async fn new(world: &'w World, name: &str) -> Self {
        let id = world.hear_of(name, &format!("{name}@example.com"), false).await;
        let cx = own(world, id);
        let list = wire::ListContactMethodsRequest { user_id: id.to_string(), ..Default::default() };
        let methods = world.methods().list_contact_methods(rpc::request(&cx, list)).await;
        let method = methods.expect("theirs").into_inner().items.remove(0).id;
        Self { world, cx, id, method }
    }

    async fn get(&self) -> wire::ContactMethod {
        let get = wire::GetContactMethodRequest { user_id: self.id.to_string(), id: self.method.clone() };
        self.world
            .methods()
            .get_contact_method(rpc::request(&self.cx, get))
            .await
            .expect("there")
            .into_inner()
    }

    async fn create(&self, kind: wire::ChannelKind, address: &str) -> Self {
        let method =
            wire::ContactMethod { kind: kind.into(), address: address.to_owned(), ..Default::default() };
        let request =
            wire::CreateContactMethodRequest { user_id: self.id.to_string(), contact_method: Some(method) };
        let created = self.world.methods().create_contact_method(rpc::request(&self.cx, request)).await;
        let method = created.expect("created").into_inner().id;
        Self { world: self.world, cx: self.cx.clone(), id: self.id, method }
    }

    async fn ask(&self) -> Result<wire::Notification, tonic::Status> {
        self.ask_as(&self.cx).await
    }

    async fn ask_as(&self, cx: &Ctx) -> Result<wire::Notification, tonic::Status> {
        let request =
            wire::SendContactMethodCodeRequest { user_id: self.id.to_string(), id: self.method.clone() };
        let cx = Ctx { now: self.world.db.source().now(), ..cx.clone() };
        let sent = self.world.methods().send_contact_method_code(rpc::request(&cx, request)).await?;
        Ok(sent.into_inner())
    }

    /// A code that has arrived.
    async fn mailed(&self) {
        let sent = self.ask().await.expect("accepted");
        self.world.until(&sent.id, Delivered).await;
    }

    /// Until this mail is given up at its attempt `number`, because its code is over.
    async fn over(&self, id: &str, number: i32) {
        let dead = self.world.until(id, Dead).await;
        let last = dead.attempts.last().expect("tried");
        assert_eq!((last.number, last.detail.as_str()), (number, "the code is not good any more"));
    }

    /// The code of a new mail.
    async fn code(&self, mailbox: &Mailbox) -> String {
        let sent = self.ask().await.expect("accepted");
        self.world.until(&sent.id, Delivered).await;
        code_in(mailbox.mails().last().expect("a mail"))
    }

    async fn verify(&self, code: &str) -> Result<wire::ContactMethod, tonic::Status> {
        self.verify_as(&self.cx, code).await
    }

    async fn verify_as(&self, cx: &Ctx, code: &str) -> Result<wire::ContactMethod, tonic::Status> {
        let request = wire::VerifyContactMethodRequest {
            user_id: self.id.to_string(),
            id: self.method.clone(),
            code: code.to_owned(),
        };
        let verified = self.world.methods().verify_contact_method(rpc::request(cx, request)).await?;
        Ok(verified.into_inner())
    }
}

fn code_in(mail: &str) -> String {
    let code = mail.split_once("The code is ").expect("a code").1;
    code.chars().take(6).collect()
}

/// Another code than `code`.
fn wrong(code: &str) -> String {
    let first = if code.starts_with('1') { '2' } else { '1' };
    format!("{first}{}", &code[1..])
}

fn told(error: &Error) -> (Kind, &str) {
    (error.kind, error.code)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mailed_code_opens_the_way_to_a_person() {
    let (address, mailbox) = email::start();
    let world = email::world(address).await;
    let bob = Person::new(&world, "bob").await;
    let warning = bob.get().await.warning.expect("it is not proven");
    assert!(warning.contains("send-code"), "{warning}");
    let page = async |key: &str| world.send(world.page(key, vec![user(bob.id)])).await;
    assert!(page("before").await.nobody_reachable);

    let sent = bob.ask().await.expect("accepted");
    assert_eq!((sent.kind(), sent.address.as_str()), (wire::ChannelKind::Email, "b***@example.com"));
    assert_eq!((sent.user_id, sent.recipient.as_str()), (Some(bob.id.to_string()), "bob"));
    world.until(&sent.id, Delivered).await;
    let mails = mailbox.mails();
    assert!(mails.len() == 1 && mails[0].contains("To: bob@example.com"), "{mails:?}");
    let code = code_in(&mails[0]);
    let verified = bob.verify(&code).await.expect("proven");
    assert_eq!((verified.verified_at.is_some(), verified.warning, verified.version), (true, None, 2));

    let after = page("after").await;
    assert_eq!((after.recipients.as_slice(), after.nobody_reachable), (["bob".to_owned()].as_slice(), false));
    world.until(&after.notification_ids[0], Delivered).await;
    assert!(mailbox.mails()[1].contains("Subject: [critical] #12"));
    assert_eq!(told(&error(bob.verify(&code).await)), (Kind::Conflict, "already_verified"));
    assert_eq!(told(&error(bob.ask().await)), (Kind::Conflict, "already_verified"));

    // No row has the code; what it is made of is no number.
    let admin = world.db.admin().await;
    for table in ["messages", "notifications", "attempts", "contact_method_codes"] {
        let sql = format!(
            "SELECT count(*) FROM pulseops_notification.{table} t WHERE (t.*)::text ~ '(^|[^0-9a-f-]){code}([^0-9]|$)'"
        );
        let found: i64 = admin.query_one(&sql, &[]).await.expect("searched").get(0);
        assert_eq!(found, 0, "{table}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn five_wrong_tries_end_a_code() {
    let (address, mailbox) = email::start();
    let world = email::world(address).await;
    let bob = Person::new(&world, "bob").await;
    assert_eq!(told(&error(bob.verify("123456").await)), (Kind::Conflict, "code_expired"), "none was mailed");
    let code = bob.code(&mailbox).await;
    for left in (0..5).rev() {
        let refused = error(bob.verify(&wrong(&code)).await);
        let fault = &refused.fields[0];
        assert_eq!((refused.kind, fault.field.as_str(), fault.code), (Kind::Invalid, "code", "wrong_code"));
        assert!(left == 0 || fault.detail.ends_with(&format!("tries left: {left}")), "{}", fault.detail);
    }
    assert_eq!(told(&error(bob.verify(&code).await)), (Kind::Conflict, "code_expired"));
    assert_eq!(bob.get().await.verified_at, None);

    world.db.advance(Duration::from_secs(61)).await;
    let next = bob.code(&mailbox).await;
    bob.verify(&next).await.expect("proven");
}

#[tokio::test(flavor = "multi_thread")]
async fn only_the_last_code_to_this_address_is_good_and_not_for_long() {
    let (address, mailbox) = email::start();
    let world = email::world(address).await;
    let bob = Person::new(&world, "bob").await;
    let first = bob.code(&mailbox).await;
    world.db.advance(Duration::from_secs(16 * 60)).await;
    assert_eq!(told(&error(bob.verify(&first).await)), (Kind::Conflict, "code_expired"));

    let second = bob.code(&mailbox).await;
    if first != second {
        assert_eq!(error(bob.verify(&first).await).code, "wrong_code");
    }
    let patch = wire::UpdateContactMethodRequest {
        user_id: bob.id.to_string(),
        id: bob.method.clone(),
        contact_method: Some(wire::ContactMethod {
            address: "eve@example.com".to_owned(),
            ..Default::default()
        }),
        update_mask: Some(prost_types::FieldMask { paths: vec!["address".to_owned()] }),
    };
    world.methods().update_contact_method(rpc::request(&bob.cx, patch)).await.expect("changed");
    assert_eq!(told(&error(bob.verify(&second).await)), (Kind::Conflict, "code_expired"));
}

#[tokio::test(flavor = "multi_thread")]
async fn codes_are_counted() {
    let (address, _) = email::start();
    let world = email::world(address).await;
    let bob = Person::new(&world, "bob").await;
    bob.mailed().await;
    let refused = error(bob.ask().await);
    assert_eq!(told(&refused), (Kind::TooMany, "too_many_codes"));
    assert!(refused.retry_after.is_some_and(|wait| wait <= Duration::from_secs(60)), "{refused:?}");
    for n in 1..3 {
        bob.create(wire::ChannelKind::Email, &format!("bob{n}@example.com")).await.mailed().await;
    }
    // A person has three, so that colleagues can prove theirs; an organization has ten.
    let fourth = bob.create(wire::ChannelKind::Email, "bob4@example.com").await;
    assert!(too_many(fourth.ask().await, "a person"));
    for n in 0..7 {
        Person::new(&world, &format!("ada{n}")).await.mailed().await;
    }
    let eleventh = Person::new(&world, "mia").await;
    assert!(too_many(eleventh.ask().await, "an organization"));
    world.db.advance(Duration::from_secs(3_601)).await;
    eleventh.ask().await.expect("an hour later");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_address_is_mailed_so_much_whoever_asks() {
    let (address, _) = email::start();
    let mut world = email::world(address).await;
    let ours = world.org;
    // Each time another organization, with another person and method of that address.
    for _ in 0..5 {
        world.org = OrgId(world.db.source().id());
        Person::new(&world, "bob").await.ask().await.expect("accepted");
        world.org = OrgId(world.db.source().id());
        let again = Person::new(&world, "bob").await;
        assert!(too_many(again.ask().await, "an address is mailed one code a minute"));
        world.db.advance(Duration::from_secs(61)).await;
    }
    world.org = ours;
    let bob = Person::new(&world, "bob").await;
    assert!(too_many(bob.ask().await, "an address is mailed 5 codes an hour"));
    Person::new(&world, "eve").await.ask().await.expect("another address");
    world.db.advance(Duration::from_secs(3_601)).await;
    bob.ask().await.expect("an hour later");
}

fn too_many(answer: Result<wire::Notification, tonic::Status>, whose: &str) -> bool {
    answer.is_err_and(|refused| {
        let refused = Error::from(refused);
        refused.code == "too_many_codes" && refused.detail.starts_with(whose)
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mail_whose_code_is_over_is_not_sent() {
    let (address, mailbox) = email::start();
    let delivery = Delivery { first_retry_ms: 1_800_000, max_retry_ms: 1_800_000, ..quick().delivery };
    let world = email::world_with(address, delivery).await;
    // A mailbox that is full: the mail waits for its next try.
    let full = Person::new(&world, "full").await;
    let sent = full.ask().await.expect("accepted");
    world.failed(&sent.id, 1).await;
    world.db.advance(Duration::from_secs(3_601)).await;
    full.over(&sent.id, 2).await;

    // Another address gets no code that was meant for the one before.
    let eve = full.create(wire::ChannelKind::Email, "full+eve@example.com").await;
    let sent = eve.ask().await.expect("accepted");
    world.failed(&sent.id, 1).await;
    let patch = wire::UpdateContactMethodRequest {
        user_id: eve.id.to_string(),
        id: eve.method.clone(),
        contact_method: Some(wire::ContactMethod {
            address: "eve@example.com".to_owned(),
            ..Default::default()
        }),
        update_mask: Some(prost_types::FieldMask { paths: vec!["address".to_owned()] }),
    };
    world.methods().update_contact_method(rpc::request(&eve.cx, patch)).await.expect("changed");
    world.db.advance(Duration::from_secs(3_601)).await;
    eve.over(&sent.id, 2).await;
    let replay = wire::ReplayNotificationRequest { id: sent.id };
    let replayed = world.notifications().replay_notification(rpc::request(&world.owner(), replay)).await;
    assert_eq!(told(&error(replayed)), (Kind::Conflict, "code_expired"));
    assert_eq!(mailbox.mails().len(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn who_needs_no_code_or_can_get_none_is_told_so() {
    let (address, mailbox) = email::start();
    let world = email::world(address).await;
    let bob = Person::new(&world, "bob").await;
    let hook = bob.create(wire::ChannelKind::Webhook, "http://127.0.0.1:9/").await;
    assert_eq!(told(&error(hook.ask().await)), (Kind::Invalid, "not_needed"));
    assert_eq!(told(&error(hook.verify("123456").await)), (Kind::Invalid, "not_needed"));
    let gone = bob.create(wire::ChannelKind::Email, "old@example.com").await;
    let delete = wire::DeleteContactMethodRequest { user_id: bob.id.to_string(), id: gone.method.clone() };
    world.methods().delete_contact_method(rpc::request(&bob.cx, delete)).await.expect("ended");
    assert_eq!(told(&error(gone.ask().await)), (Kind::Conflict, "archived"));

    // Neither another tenant nor another person comes near it.
    let code = bob.code(&mailbox).await;
    let stranger = Ctx { org: OrgId(world.db.source().id()), ..bob.cx.clone() };
    assert_eq!(error(bob.ask_as(&stranger).await).kind, Kind::NotFound);
    assert_eq!(error(bob.verify_as(&stranger, &code).await).kind, Kind::NotFound);
    let ada = Person { method: bob.method.clone(), ..Person::new(&world, "ada").await };
    assert_eq!(error(ada.ask().await).kind, Kind::NotFound);
    assert_eq!(error(ada.verify(&code).await).kind, Kind::NotFound);
    bob.verify(&code).await.expect("nobody has spent a try");

    let world = World::new().await;
    let bob = Person::new(&world, "bob").await;
    let refused = error(bob.ask().await);
    assert_eq!(told(&refused), (Kind::Conflict, "no_mail_server"));
    assert!(refused.detail.contains("smtp.host"), "{}", refused.detail);
}
