//! Dependencies run one way: pulseops, then gateway and services, then platform, ingest and transcode;
//! and all but those three know the contract.

use std::collections::{BTreeMap, BTreeSet};

use cargo_metadata::{CargoOpt, DependencyKind, MetadataCommand};

const GROUND: [&str; 4] = ["platform", "ingest", "transcode", "proto"];
const SERVICES: [&str; 5] =
    ["auth-service", "incident-service", "workflow-service", "notification-service", "analytics-service"];

/// What a crate of ours may be built from, of ours.
fn allowed(krate: &str) -> Option<BTreeSet<&'static str>> {
    Some(match krate {
        ground if GROUND.contains(&ground) => BTreeSet::new(),
        service if SERVICES.contains(&service) => BTreeSet::from(["platform", "proto"]),
        "api-gateway" => BTreeSet::from(GROUND),
        "pulseops" => GROUND.into_iter().chain(SERVICES).chain(["api-gateway"]).collect(),
        _ => return None,
    })
}

#[test]
fn dependencies_run_one_way() {
    let manifest = concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml");
    let metadata = MetadataCommand::new()
        .manifest_path(manifest)
        .features(CargoOpt::AllFeatures)
        .no_deps()
        .other_options(["--offline".to_owned()])
        .exec()
        .expect("cargo metadata");
    let packages = metadata.workspace_packages();
    let ours: BTreeSet<String> = packages.iter().map(|package| package.name.to_string()).collect();
    let mut wrong = BTreeMap::new();
    for package in packages {
        let name = package.name.to_string();
        let allowed = allowed(&name).unwrap_or_else(|| panic!("no rule says what {name} may depend on"));
        let built_from = package.dependencies.iter().filter(|it| it.kind != DependencyKind::Development);
        let too_much: Vec<_> = built_from
            .map(|dependency| dependency.name.clone())
            .filter(|name| ours.contains(name) && !allowed.contains(name.as_str()))
            .collect();
        if !too_much.is_empty() {
            wrong.insert(name, too_much);
        }
    }
    assert!(wrong.is_empty(), "dependencies against the rule: {wrong:?}");
}
