//! The private server: made, found again, and back after every kind of death.

use std::path::Path;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use platform::postgres::{Embedded, Options};
use platform::testing::{SOON, eventually};

/// Below /tmp, where every account gets to.
fn data_dir() -> tempfile::TempDir {
    use std::os::unix::fs::PermissionsExt;
    let dir = tempfile::tempdir_in("/tmp").expect("a folder");
    std::fs::set_permissions(dir.path(), std::fs::Permissions::from_mode(0o755)).expect("open");
    dir
}

async fn start(dir: &Path) -> Embedded {
    Embedded::start(Options::new(dir)).await.unwrap_or_else(|error| panic!("{}", error.chain()))
}

async fn ask(url: &str, sql: &str) -> Option<i32> {
    let (client, connection) = tokio_postgres::connect(url, tokio_postgres::NoTls).await.ok()?;
    tokio::spawn(async move { drop(connection.await) });
    Some(client.query_one(sql, &[]).await.ok()?.get(0))
}

async fn run(url: &str, sql: &str) {
    let connected = tokio_postgres::connect(url, tokio_postgres::NoTls).await;
    let (client, connection) = connected.expect("it answers");
    tokio::spawn(async move { drop(connection.await) });
    client.batch_execute(sql).await.expect("done");
}

fn send(pid: u32, signal: Signal) {
    kill(Pid::from_raw(pid.cast_signed()), signal).expect("it runs");
}

#[tokio::test]
async fn it_starts_on_its_own_data_and_survives_its_own_death() {
    let dir = data_dir();
    let server = start(dir.path()).await;
    run(server.url(), "CREATE TABLE t AS SELECT 42 AS n").await;
    let url = server.url().to_owned();
    server.stop().await;
    assert_eq!(ask(&url, "SELECT n FROM t").await, None, "stopped");

    let server = start(dir.path()).await;
    assert_eq!(ask(server.url(), "SELECT n FROM t").await, Some(42));
    // The server alone is killed: it is started again, and committed rows are there.
    let first = server.pid().expect("it runs");
    run(server.url(), "UPDATE t SET n = 43").await;
    send(first, Signal::SIGKILL);
    eventually(SOON, async || ask(server.url(), "SELECT n FROM t").await.filter(|n| *n == 43)).await;
    assert_ne!(server.pid(), Some(first));
    server.stop().await;
}

#[tokio::test]
async fn a_second_process_on_the_directory_is_refused() {
    let dir = data_dir();
    let server = start(dir.path()).await;
    let error = Embedded::start(Options::new(dir.path())).await.err().expect("refused");
    assert_eq!(error.code, "data_dir_in_use");
    server.stop().await;
    // Whoever has stopped holds nothing any more.
    start(dir.path()).await.stop().await;
}

#[tokio::test]
async fn what_cannot_start_says_why() {
    let dir = data_dir();
    let settings = vec![("no_such_setting".to_owned(), "1".to_owned())];
    let options = Options { settings, ..Options::new(dir.path()) };
    let error = Embedded::start(options).await.err().expect("it cannot");
    assert_eq!(error.code, "postgres_failed");
    assert!(error.detail.contains("no_such_setting"), "{}", error.detail);
    let options = Options { bin_dir: Some("/nowhere".into()), ..Options::new(dir.path()) };
    assert_eq!(Embedded::start(options).await.err().expect("none there").code, "postgres_missing");
}

/// What the other process of the test below does: starts a server and lives until it is killed.
async fn live_until_killed(dir: &Path) {
    let server = start(dir).await;
    run(server.url(), "CREATE TABLE IF NOT EXISTS t AS SELECT 7 AS n").await;
    std::fs::write(dir.join("ready"), server.pid().expect("it runs").to_string()).expect("told");
    std::future::pending::<()>().await;
}

/// The file in its folder that makes this test's second process what it is.
const OTHER: &str = "be the other process";

#[tokio::test]
async fn the_parent_may_be_killed() {
    let here = std::fs::read_link("/proc/self/cwd").expect("a folder");
    if here.join(OTHER).exists() {
        return live_until_killed(&here).await;
    }
    let dir = data_dir();
    std::fs::write(dir.path().join(OTHER), "").expect("a file");
    let mut parent = std::process::Command::new(std::env::current_exe().expect("this binary"))
        .args(["--exact", "postgres::the_parent_may_be_killed"])
        .current_dir(dir.path())
        .stdout(std::process::Stdio::null())
        .stderr(std::process::Stdio::null())
        .spawn()
        .expect("started");
    let pid: i32 =
        eventually(3 * SOON, async || std::fs::read_to_string(dir.path().join("ready")).ok()?.parse().ok())
            .await;
    parent.kill().expect("killed");
    parent.wait().expect("dead");
    // At once, while the orphan may still be on its way out.
    let server = start(dir.path()).await;
    assert_eq!(ask(server.url(), "SELECT n FROM t").await, Some(7));
    // Nothing but a zombie, where nobody reaps, may have its number.
    assert!(std::fs::read_link(format!("/proc/{pid}/cwd")).is_err(), "the orphan is gone");
    server.stop().await;
}
