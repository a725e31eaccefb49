//! Dependencies run one way: pulseops, then gateway and services, then what knows no word of the domain; and
//! all but that know the contract.

use std::collections::{BTreeMap, BTreeSet};

use cargo_metadata::{CargoOpt, DependencyKind, Metadata, MetadataCommand, Package};

const GROUND: [&str; 5] = ["platform", "ingest", "transcode", "expression", "proto"];
const SERVICES: [&str; 5] =
    ["auth-service", "incident-service", "workflow-service", "notification-service", "analytics-service"];

/// What a crate of ours may be built from, of ours.
fn allowed(krate: &str) -> Option<BTreeSet<&'static str>> {
    Some(match krate {
        ground if GROUND.contains(&ground) => BTreeSet::new(),
        service if SERVICES.contains(&service) => BTreeSet::from(["platform", "expression", "proto"]),
        "api-gateway" => BTreeSet::from(["platform", "ingest", "transcode", "proto"]),
        "pulseops" => GROUND.into_iter().chain(SERVICES).chain(["api-gateway"]).collect(),
        _ => return None,
    })
}

fn metadata() -> Metadata {
    MetadataCommand::new()
        .manifest_path(concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml"))
        .features(CargoOpt::AllFeatures)
        .no_deps()
        .other_options(["--offline".to_owned()])
        .exec()
        .expect("cargo metadata")
}

/// What is evaluated for strangers is evaluated within bounds.
#[test]
fn only_expression_knows_the_evaluator() {
    let metadata = metadata();
    let knows = |package: &&Package| package.dependencies.iter().any(|dependency| dependency.name == "cel");
    let packages = metadata.workspace_packages();
    let names: Vec<_> = packages.into_iter().filter(knows).map(|package| package.name.to_string()).collect();
    assert_eq!(names, ["expression"]);
}

#[test]
fn dependencies_run_one_way() {
    let metadata = metadata();
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
