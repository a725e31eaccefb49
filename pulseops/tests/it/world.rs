//! Every role in one process on a database of this test's own.

use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use platform::config::Environment;
use platform::secret::DeploymentSecret;
use platform::testing::{TestDb, eventually, left_behind};
use pulseops::assemble::{Assembly, Ports};
use pulseops::config::Config;
use pulseops::ground::Ground;
use pulseops::roles::{Role, migrations};
use tokio_postgres::Client as Admin;

use crate::support::client::{Client, SOON, User};

const SECRET: [u8; 32] = [7; 32];
const FREE: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 0);

/// A running platform. Dropping it fails the test when it leaves unsent events, dead letters or ended
/// leases behind.
pub struct TestPlatform {
    pub db: TestDb,
    pub assembly: Assembly,
    /// REST, as nobody.
    pub nobody: Client,
    /// Where all gRPC services answer.
    pub grpc: SocketAddr,
    forgiven: bool,
}

/// The defaults, with short waits between deliveries and loopback allowed.
pub fn config() -> Config {
    let environment = [
        ("PULSEOPS__EGRESS__ALLOW", "127.0.0.0/8"),
        ("PULSEOPS__NOTIFICATION__FIRST_RETRY_MS", "50"),
        ("PULSEOPS__NOTIFICATION__MAX_RETRY_MS", "200"),
    ];
    let environment: Environment = environment.into_iter().collect();
    Config::load(Some(Path::new("/dev/null")), &environment).expect("a configuration")
}

/// What processes of one deployment stand on.
pub fn ground(db: &TestDb) -> Ground {
    Ground::on(db.source().clone(), DeploymentSecret::new(SECRET), db.config())
}

/// Assembles `roles` and listens on free ports.
pub async fn start(db: &TestDb, config: &Config, roles: &[Role]) -> (Assembly, Ports) {
    let mut assembly = Assembly::build(&ground(db), config, roles).await.expect("assembled");
    let rest = roles.contains(&Role::Gateway).then_some(FREE);
    let ports = Ports { grpc: vec![(FREE, roles.to_vec())], rest };
    let ports = assembly.listen(&ports).await.expect("free ports");
    let health = assembly.health.clone();
    eventually(SOON, async || health.is_ready().then_some(())).await;
    (assembly, ports)
}

impl TestPlatform {
    pub async fn start() -> Self {
        Self::with(config()).await
    }

    pub async fn with(config: Config) -> Self {
        let db = TestDb::with(&migrations()).await;
        let (assembly, ports) = start(&db, &config, &Role::ALL).await;
        let nobody = Client::new(format!("http://{}", ports.rest.expect("the gateway is here")));
        Self { db, assembly, nobody, grpc: ports.grpc[0].0, forgiven: false }
    }

    /// A new organization and its owner.
    pub async fn register(&self) -> User {
        self.nobody.register("Ada").await
    }

    /// Moves every clock forward.
    pub async fn advance(&self, by: Duration) {
        self.db.advance(by).await;
    }

    /// Waits until nothing is under way.
    pub async fn settle(&self) {
        self.db.settle(SOON).await;
    }

    pub async fn admin(&self) -> Admin {
        self.db.admin().await
    }

    /// This test leaves things behind on purpose.
    pub fn forgive(&mut self) {
        self.forgiven = true;
    }

    async fn end(&self) -> Vec<String> {
        let admin = self.admin().await;
        let mut left = Vec::new();
        if !self.forgiven {
            let clean = async || left_behind(&admin).await.is_empty().then_some(());
            if tokio::time::timeout(SOON, eventually(Duration::MAX, clean)).await.is_err() {
                left = left_behind(&admin).await;
            }
        }
        if let Err(error) = self.assembly.stop().await {
            left.push(format!("{error:#}"));
        }
        left
    }
}

impl Drop for TestPlatform {
    fn drop(&mut self) {
        let panicking = std::thread::panicking();
        self.forgiven |= panicking;
        let left = tokio::task::block_in_place(|| tokio::runtime::Handle::current().block_on(self.end()));
        assert!(panicking || left.is_empty(), "the test leaves behind: {left:?}");
    }
}
