//! `up` and `serve`: a process from its start to its end.

use std::collections::BTreeSet;

use platform::lifecycle::Stage;

use crate::assemble::{Assembly, Ports};
use crate::config::{Config, reachable};
use crate::ground::{Ground, Share};
use crate::roles::Role;

/// Every role in this process.
///
/// # Errors
/// What keeps it from starting, or made it end.
pub async fn up(config: &Config) -> anyhow::Result<()> {
    let ports =
        Ports { grpc: vec![(config.grpc.listen, Role::ALL.to_vec())], rest: Some(config.rest.listen) };
    run(config, &Role::ALL, ports, Share::Whole, greet).await
}

/// Some roles in this process, each on its own port.
///
/// # Errors
/// What keeps it from starting, or made it end.
pub async fn serve(config: &Config, roles: &[Role]) -> anyhow::Result<()> {
    let roles: Vec<Role> = roles.iter().copied().collect::<BTreeSet<_>>().into_iter().collect();
    let grpc = roles.iter().map(|role| (config.services.of(*role).listen, vec![*role])).collect();
    let rest = roles.contains(&Role::Gateway).then_some(config.rest.listen);
    run(config, &roles, Ports { grpc, rest }, Share::Part, |_, ports| {
        for (address, roles) in &ports.grpc {
            let names: Vec<_> = roles.iter().map(|role| role.name()).collect();
            println!("{} answers on {address}", names.join(", "));
        }
    })
    .await
}

async fn run(
    config: &Config,
    roles: &[Role],
    wanted: Ports,
    share: Share,
    tell: impl FnOnce(&Config, &Ports),
) -> anyhow::Result<()> {
    platform::telemetry::init(&config.telemetry)?;
    let ground = Ground::lay(config, share).await?;
    let lived = live(&ground, config, roles, wanted, tell).await;
    ground.leave().await;
    lived
}

async fn live(
    ground: &Ground,
    config: &Config,
    roles: &[Role],
    wanted: Ports,
    tell: impl FnOnce(&Config, &Ports),
) -> anyhow::Result<()> {
    let mut assembly = Assembly::build(ground, config, roles).await?;
    let (source, database) = (ground.source.clone(), assembly.deps.db("bus")?);
    let follow = |stop| platform::clock::follow(source, database, stop);
    assembly.deps.lifecycle.spawn(Stage::Pool, "clock", follow);
    match assembly.listen(&wanted).await {
        Ok(ports) => tell(config, &ports),
        Err(error) => {
            // What has started ends in order; the first error is the one to tell.
            let _ = assembly.stop().await;
            return Err(error);
        }
    }
    assembly.run().await
}

fn greet(config: &Config, ports: &Ports) {
    println!("PulseOps is up.");
    if let Some(rest) = ports.rest {
        let url = format!("http://{}", reachable(rest));
        println!("  REST   {url}          reference: {url}/docs");
    }
    for (address, _) in &ports.grpc {
        println!(
            "  gRPC   {address}   health and reflection; metrics: http://{}/metrics",
            reachable(*address)
        );
    }
    if config.database.url.is_empty() {
        println!("  data   {}", config.data_dir.display());
    }
    println!(
        "Next, in a second terminal: make demo (or `pulseops demo`) plays an incident from event to MTTR."
    );
    println!(
        "Something wrong? `pulseops doctor`. Ctrl-C ends it; what is under way goes on at the next start."
    );
}
