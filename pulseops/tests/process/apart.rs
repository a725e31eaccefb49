//! Roles in processes of their own, as `pulseops serve` starts them, on one database.

use std::net::SocketAddr;
use std::process::Stdio;
use std::time::Duration;

use platform::testing::{Receiver, SOON, TestDb, eventually, left_behind};
use pulseops::roles::{Role, migrations};
use serde_json::json;
use tokio::process::Child;

use crate::home::{Home, START};
use crate::support::client::{Client, id};
use crate::support::ports::free;
use crate::support::story::{Cast, failure, time_to_resolve};

const LEVEL_MS: i64 = 60_000;

/// Ports of all roles and what the processes have in common.
struct Deployment {
    home: Home,
    settings: Vec<(String, String)>,
    ports: Vec<(Role, SocketAddr)>,
    rest: SocketAddr,
}

impl Deployment {
    fn on(db: &TestDb) -> Self {
        let rest = free();
        let ports: Vec<_> = Role::ALL.into_iter().map(|role| (role, free())).collect();
        let mut settings = vec![
            ("DATABASE_URL".to_owned(), db.url()),
            ("PULSEOPS__SECRET".to_owned(), "5e".repeat(32)),
            ("PULSEOPS__REST__LISTEN".to_owned(), rest.to_string()),
        ];
        for (role, port) in &ports {
            let key = format!("PULSEOPS__SERVICES__{}", role.name().to_uppercase());
            settings.push((format!("{key}__LISTEN"), port.to_string()));
            settings.push((format!("{key}__ADDRESS"), format!("http://{port}")));
        }
        Self { home: Home::new(), settings, ports, rest }
    }

    /// Starts a process with these roles and waits until each answers.
    async fn serve(&self, roles: &[Role]) -> Child {
        let names = roles.iter().map(|role| role.name());
        let arguments: Vec<_> = std::iter::once("serve").chain(names).collect();
        let log = std::fs::File::options().create(true).append(true).open(self.home.path().join("log"));
        let mut command = self.home.command(&arguments);
        command.envs(self.settings.iter().cloned()).stdout(Stdio::null()).stderr(log.expect("a log"));
        let child = command.spawn().expect("the binary starts");
        for (_, port) in self.ports.iter().filter(|(role, _)| roles.contains(role)) {
            let client = Client::new(format!("http://{port}"));
            let listens = async || tokio::net::TcpStream::connect(port).await.ok();
            if tokio::time::timeout(START, eventually(Duration::MAX, listens)).await.is_err() {
                panic!("{roles:?} do not listen: {}", self.home.log());
            }
            client.until("/readyz", |report| (report["ready"] == true).then_some(())).await;
        }
        child
    }

    /// Whether `doctor` finds nothing bad, and what it says.
    async fn doctor(&self) -> (bool, String) {
        let settings: Vec<_> =
            self.settings.iter().map(|(key, value)| (key.as_str(), value.as_str())).collect();
        let output = self.home.run(&["doctor"], &settings).await;
        (output.status.success(), String::from_utf8_lossy(&output.stdout).into_owned())
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_story_runs_over_processes() {
    let db = TestDb::with(&migrations()).await;
    let deployment = Deployment::on(&db);
    let receiver = Receiver::start().await;
    let people = deployment.serve(&[Role::Auth, Role::Notification]).await;
    let rules = deployment.serve(&[Role::Incident]).await;
    let rest = deployment.serve(&[Role::Workflow, Role::Analytics, Role::Gateway]).await;

    let nobody = Client::new(format!("http://{}", deployment.rest));
    let cast = Cast::set_up(&nobody, &receiver, LEVEL_MS).await;
    cast.report(json!([failure(), failure(), failure()])).await;
    receiver.nth("/ada", 1).await;
    let incident = id(&cast.incident().await);
    cast.delivered(&incident, 1).await;
    let path = format!("/v1/incidents/{incident}");
    cast.ada.post(&format!("{path}/acknowledge"), json!({})).await.expect(200);
    let resolved = cast.ada.post(&format!("{path}/resolve"), json!({})).await.expect(200);
    let mttr = cast.mttr().await;
    assert_eq!(mttr.pointer("/mttr/mean_ms"), Some(&json!(time_to_resolve(&resolved))));
    cast.ended_runs(&incident).await;
    // A session that ends in one process is refused by the doors of the others.
    cast.grace.post("/v1/auth/logout", json!({})).await.expect(204);
    eventually(SOON, async || (cast.grace.get("/v1/incidents").await.status == 401).then_some(())).await;
    let admin = db.admin().await;
    eventually(START, async || left_behind(&admin).await.is_empty().then_some(())).await;
    let (ready, text) = deployment.doctor().await;
    assert!(ready, "{text}");
    for role in Role::ALL.into_iter().filter(|role| *role != Role::Gateway) {
        assert!(text.contains(&format!("ok    {role} ")), "{role}: {text}");
    }
    let mut rules = crate::home::Process::from(rules);
    rules.signal(nix::sys::signal::Signal::SIGTERM);
    assert!(rules.ended().await.success(), "{}", deployment.home.log());
    let (_, text) = deployment.doctor().await;
    assert!(text.contains("note  incident ") && text.contains("pulseops serve incident"), "{text}");
    for child in [rest, people] {
        let mut process = crate::home::Process::from(child);
        process.signal(nix::sys::signal::Signal::SIGTERM);
        assert!(process.ended().await.success(), "{}", deployment.home.log());
    }
}
