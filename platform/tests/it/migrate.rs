//! Migrations up and down, and what they make.

use include_dir::{Dir, DirEntry, File};
use platform::migrate::{self, Migrations};
use platform::testing::{self, BARE, MECHANISMS, TestDb};

const UP: &str = "CREATE TABLE things (org_id uuid NOT NULL, id uuid NOT NULL, type text, \
    tags text[] NOT NULL, data jsonb, CONSTRAINT things_pkey PRIMARY KEY (org_id, id)); \
    SELECT pulseops.tenant_table('things');";
static FILES: [DirEntry<'static>; 2] = [
    DirEntry::File(File::new("0001_things/up.sql", UP.as_bytes())),
    DirEntry::File(File::new("0001_things/down.sql", b"DROP TABLE things;")),
];
static FOLDERS: [DirEntry<'static>; 1] = [DirEntry::Dir(Dir::new("0001_things", &FILES))];
static PROBE_DIR: Dir<'static> = Dir::new("", &FOLDERS);
const PROBE: Migrations = Migrations { owner: "probe", dir: &PROBE_DIR };

static BROKEN_FILES: [DirEntry<'static>; 2] = [
    DirEntry::File(File::new("0001_broken/up.sql", b"CREATE TABLE fine (id int); SELECT nonsense;")),
    DirEntry::File(File::new("0001_broken/down.sql", b"")),
];
static BROKEN_FOLDERS: [DirEntry<'static>; 1] = [DirEntry::Dir(Dir::new("0001_broken", &BROKEN_FILES))];
static BROKEN_DIR: Dir<'static> = Dir::new("", &BROKEN_FOLDERS);

#[tokio::test]
async fn up_down_and_up_again() {
    testing::assert_reversible(&[BARE, PROBE]).await;
}

#[tokio::test]
async fn running_twice_does_nothing_the_second_time() {
    let test = TestDb::with(&[PROBE]).await;
    assert!(migrate::run(&test.url(), &[PROBE]).await.expect("run").is_empty());
    assert!(migrate::pending(&test.url(), &[PROBE]).await.expect("asked").is_empty());
}

/// As when two processes start at the same time on an empty database.
#[tokio::test]
async fn two_at_once_migrate_once() {
    let test = TestDb::new().await;
    let (admin, empty) = (test.admin().await, format!("{}_b", test.name()));
    admin.batch_execute(&format!("CREATE DATABASE {empty}")).await.expect("an empty database");
    let url = url_of(&test, &empty);
    let services = [PROBE];
    let (one, two) = tokio::join!(migrate::run(&url, &services), migrate::run(&url, &services));
    let (one, two) = (one.expect("migrated"), two.expect("migrated"));
    assert!(one.is_empty() != two.is_empty(), "{} and {} steps", one.len(), two.len());
    assert!(migrate::pending(&url, &services).await.expect("asked").is_empty());
    admin.batch_execute(&format!("DROP DATABASE {empty} WITH (FORCE)")).await.expect("dropped");
}

/// Roles are the cluster's: two databases that are migrated for the first time want the same ones.
#[tokio::test]
async fn two_databases_at_once_make_the_roles_once() {
    const TWIN: Migrations = Migrations { owner: "twin", dir: BARE.dir };
    let test = TestDb::new().await;
    let (admin, names) = (test.admin().await, ["a", "b"].map(|end| format!("{}_{end}", test.name())));
    for _ in 0..3 {
        for name in &names {
            admin.batch_execute(&format!("CREATE DATABASE {name}")).await.expect("an empty database");
        }
        let [one, two] = names.each_ref().map(|name| url_of(&test, name));
        let (one, two) = tokio::join!(migrate::run(&one, &[TWIN]), migrate::run(&two, &[TWIN]));
        assert_eq!(one.expect("migrated").len(), two.expect("migrated").len());
        for name in &names {
            admin.batch_execute(&format!("DROP DATABASE {name} WITH (FORCE)")).await.expect("dropped");
        }
        admin.batch_execute("DROP ROLE pulseops_twin, pulseops_twin_sys").await.expect("nobody uses them");
    }
}

/// Another database of the server: with a URL of its own, or as text whose last `dbname=` counts.
fn url_of(test: &TestDb, name: &str) -> String {
    match url::Url::parse(&test.url()) {
        Ok(mut url) => {
            url.set_path(name);
            url.into()
        }
        Err(_) => format!("{} dbname={name}", test.url()),
    }
}

#[tokio::test]
async fn a_service_that_comes_later_is_added() {
    let test = TestDb::new().await;
    let pending = migrate::pending(&test.url(), &[PROBE]).await.expect("asked");
    let done = migrate::run(&test.url(), &[PROBE]).await.expect("run");
    assert_eq!(done, pending);
    let last = done.last().expect("something was pending");
    assert_eq!((last.owner.as_str(), last.version, last.name.as_str()), ("probe", 1, "things"));
    assert!(done.iter().any(|step| step.owner == "probe.mechanisms"));
}

#[tokio::test]
async fn a_failing_migration_is_named_and_leaves_nothing() {
    let test = TestDb::new().await;
    let broken = Migrations { owner: "broken", dir: &BROKEN_DIR };
    let error = migrate::run(&test.url(), &[PROBE, broken]).await.expect_err("broken");
    assert!(error.chain().contains("broken/0001_broken"), "{}", error.chain());
    assert!(error.chain().contains("nonsense"), "{}", error.chain());
    let pending = migrate::pending(&test.url(), &[PROBE]).await.expect("asked");
    assert!(pending.iter().any(|step| step.owner == "probe"), "probe was rolled back as well");
}

#[tokio::test]
async fn every_table_is_guarded_or_listed() {
    let test = TestDb::with(&[PROBE]).await;
    let admin = test.admin().await;
    for schema in ["pulseops_bus", "pulseops_probe"] {
        assert_eq!(testing::unguarded_tables(&admin, schema).await, Vec::<String>::new(), "{schema}");
    }
    admin.batch_execute("CREATE TABLE pulseops_probe.naked (id int)").await.expect("made");
    assert_eq!(testing::unguarded_tables(&admin, "pulseops_probe").await, ["naked"]);
}

#[tokio::test]
async fn tables_without_an_organization_are_no_tenant_tables() {
    let test = TestDb::with(&[BARE]).await;
    let sql = "CREATE TABLE pulseops_bare.x (org_id uuid); SELECT pulseops.tenant_table('pulseops_bare.x')";
    let error = test.admin().await.batch_execute(sql).await.expect_err("nullable");
    assert!(error.as_db_error().expect("told").message().contains("org_id uuid NOT NULL"));
}

#[tokio::test]
async fn mechanisms_are_those_that_the_schema_generator_leaves_out() {
    let test = TestDb::with(&[BARE]).await;
    let sql = "SELECT tablename::text FROM pg_tables WHERE schemaname = 'pulseops_bare' ORDER BY 1";
    let rows = test.admin().await.query(sql, &[]).await.expect("listed");
    let made: Vec<String> = rows.iter().map(|row| row.get(0)).collect();
    let mut known = MECHANISMS.map(str::to_owned);
    known.sort();
    assert_eq!(made, known);
}

#[tokio::test]
async fn schema_rs_is_what_diesel_reads() {
    let test = TestDb::with(&[PROBE]).await;
    let text = testing::schema_rs(&test.admin().await, "pulseops_probe", &MECHANISMS).await;
    let table = "diesel::table! {
    things (org_id, id) {
        org_id -> Uuid,
        id -> Uuid,
        #[sql_name = \"type\"]
        type_ -> Nullable<Text>,
        tags -> Array<Text>,
        data -> Nullable<Jsonb>,
    }
}
";
    assert!(text.ends_with(table), "{text}");
}
