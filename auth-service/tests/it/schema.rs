use platform::testing::TestDb;

use crate::world::{OURS, World, deps};

platform::schema_tests!(OURS);

/// With the code's own filter gone, the database still shows a tenant nothing of another.
#[tokio::test(flavor = "multi_thread")]
async fn without_an_organization_there_are_no_rows() {
    let world = World::new().await;
    let ours = world.organization("ours").await;
    let admin = world.db.admin().await;
    let count = async |setup: &str| -> i64 {
        admin.batch_execute(&format!("BEGIN; SET LOCAL ROLE pulseops_auth; {setup}")).await.expect("role");
        let row = admin.query_one("SELECT count(*) FROM pulseops_auth.users", &[]).await;
        admin.batch_execute("ROLLBACK").await.expect("rolled back");
        row.expect("counted").get(0)
    };
    assert_eq!(count("").await, 0);
    assert_eq!(count(&format!("SET LOCAL pulseops.org = '{}'", ours.org)).await, 1);
    let other = world.db.source().id();
    assert_eq!(count(&format!("SET LOCAL pulseops.org = '{other}'")).await, 0);
}

/// History is not rewritten by the service that writes it.
#[tokio::test(flavor = "multi_thread")]
async fn audit_rows_cannot_be_changed() {
    let world = World::new().await;
    let admin = world.db.admin().await;
    for role in ["pulseops_auth", "pulseops_auth_sys"] {
        for statement in ["UPDATE pulseops_auth.audit SET action = ''", "DELETE FROM pulseops_auth.audit"] {
            admin.batch_execute(&format!("BEGIN; SET LOCAL ROLE {role}")).await.expect("role");
            let refused = admin.batch_execute(statement).await.expect_err(statement);
            let refused = refused.as_db_error().expect("from Postgres").message().to_owned();
            assert!(refused.contains("permission denied"), "{refused}");
            admin.batch_execute("ROLLBACK").await.expect("rolled back");
        }
    }
}

/// Two processes that start at once share one key, and it lies sealed.
#[tokio::test(flavor = "multi_thread")]
async fn one_signing_key_is_made() {
    let db = TestDb::with(&[OURS]).await;
    let (one, two) = (deps(&db), deps(&db));
    let config = auth_service::Config::default();
    let (a, b) = tokio::join!(auth_service::build(&one, &config), auth_service::build(&two, &config));
    a.and(b).expect("both built");
    let sql = "SELECT kid, sealed_seed, public_key FROM pulseops_auth.signing_keys";
    let rows = db.admin().await.query(sql, &[]).await.expect("keys");
    assert_eq!(rows.len(), 1);
    let sealed: Vec<u8> = rows[0].get(1);
    let place = format!("signing_keys.sealed_seed/{}", rows[0].get::<_, String>(0));
    let seed = one.sealer("auth").open(place.as_bytes(), &sealed).expect("ours");
    assert!(!sealed.windows(32).any(|part| part == seed));
    let signer = platform::token::Signer::from_seed(&seed.try_into().expect("32 bytes")).expect("a key");
    assert_eq!(signer.public_key().x.to_vec(), rows[0].get::<_, Vec<u8>>(2));
}
