//! Nothing secret is written where it can be read: neither in logs nor in audit rows nor anywhere
//! else in the database.

use std::io;
use std::sync::{Arc, Mutex, PoisonError};

use platform::rpc;
use proto::auth::v1 as pb;
use tracing_subscriber::fmt::MakeWriter;

use crate::world::{PASSWORD, World, inner, org_of, user_of};

#[derive(Clone, Default)]
struct Captured(Arc<Mutex<Vec<u8>>>);

impl io::Write for Captured {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for Captured {
    type Writer = Self;

    fn make_writer(&'a self) -> Self {
        self.clone()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn secrets_are_nowhere_to_be_read() {
    let logs = Captured::default();
    let subscriber =
        tracing_subscriber::fmt().with_max_level(tracing::Level::TRACE).with_writer(logs.clone()).finish();
    tracing::subscriber::set_global_default(subscriber).expect("the only test that logs");

    let world = World::new().await;
    let session = world.register("ann@example.com", "Acme").await.expect("registered");
    let login = world.login("ann@example.com", PASSWORD).await.expect("signed in");
    drop(world.login("ann@example.com", "a wrong password").await);
    let renewed = world.refresh(&session.refresh_token).await.expect("rotated");
    drop(world.refresh(&session.refresh_token).await);
    let owner = world.user(org_of(&session), user_of(&session).id.parse().expect("a UUID"), "owner");
    let scopes = vec!["users_read".to_owned()];
    let api_key = Some(pb::ApiKey { name: "k".to_owned(), scopes, ..Default::default() });
    let request = rpc::request(&owner, pb::CreateApiKeyRequest { api_key });
    let made = inner(world.keys().create_api_key(request).await);
    world.me(&made.key).await.expect("a good key");
    let bob = pb::User {
        email: "bob@example.com".to_owned(),
        name: "Bob".to_owned(),
        role: proto::api::v1::Role::Viewer.into(),
        password: Some("the password of bob".to_owned()),
        ..Default::default()
    };
    let request = rpc::keyed(&owner, "once", pb::CreateUserRequest { user: Some(bob) });
    inner(world.users().create_user(request.expect("ASCII")).await);

    let secrets = [
        PASSWORD,
        "a wrong password",
        "the password of bob",
        &session.access_token,
        &session.refresh_token,
        &login.refresh_token,
        &renewed.access_token,
        &renewed.refresh_token,
        &made.key,
    ];
    let logs = logs.0.lock().unwrap_or_else(PoisonError::into_inner).clone();
    let logs = String::from_utf8_lossy(&logs);
    assert!(logs.contains("rpc"), "something is logged");
    let rows = everything(&world).await;
    assert!(rows.contains("api_key.created"), "something is stored");
    for secret in secrets {
        assert!(!logs.contains(secret), "{secret} is logged");
        assert!(!rows.contains(secret), "{secret} is stored");
        assert!(!rows.contains(&hex::encode(secret)), "{secret} is stored");
    }
    let hashes = "SELECT count(*) FROM pulseops_auth.audit \
        WHERE coalesce(before::text, '') || coalesce(after::text, '') ~ 'argon2|password\": \"'";
    let hashes: i64 = world.db.admin().await.query_one(hashes, &[]).await.expect("counted").get(0);
    assert_eq!(hashes, 0);
}

/// Every row of the service, and of the bus, as text; bytes are in hex.
async fn everything(world: &World) -> String {
    let admin = world.db.admin().await;
    let tables = "SELECT format('%I.%I', schemaname, tablename) FROM pg_tables \
        WHERE schemaname IN ('pulseops_auth', 'pulseops_bus')";
    let mut text = String::new();
    for table in admin.query(tables, &[]).await.expect("the catalog") {
        let sql = format!("SELECT t::text FROM {} t", table.get::<_, String>(0));
        for row in admin.query(&sql, &[]).await.expect("rows") {
            text.push_str(row.get(0));
            text.push('\n');
        }
    }
    text
}
