//! What the platform says about itself is checked in: a change of the contract is seen in a diff.
//! `make snapshots` rewrites it.

use std::fmt::Write as _;
use std::path::Path;

use platform::access::{AccessTable, OptionNames};
use transcode::Contract;

pub fn contract() -> Contract {
    api_gateway::contract(&api_gateway::Config::default()).expect("a contract that can be served")
}

pub fn access() -> AccessTable {
    AccessTable::from_pool(proto::descriptor_pool(), OptionNames::default()).expect("the options")
}

#[test]
fn openapi_is_as_checked_in() {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/openapi.json");
    let now = api_gateway::openapi(&contract()).expect("JSON");
    if updating() {
        std::fs::write(&file, &now).expect("docs/openapi.json");
    }
    let then = std::fs::read_to_string(&file).unwrap_or_default();
    let differs = then.lines().zip(now.lines()).position(|(then, now)| then != now);
    assert!(
        then == now,
        "docs/openapi.json differs from line {:?} on: make snapshots",
        differs.map(|at| at + 1)
    );
}

#[expect(clippy::disallowed_methods, reason = "insta's own variable decides for this file too")]
fn updating() -> bool {
    std::env::var("INSTA_UPDATE").is_ok_and(|how| how == "always")
}

#[test]
fn the_contract_has_nothing_to_put_right() {
    assert_eq!(contract().lint(), Vec::<String>::new());
}

#[test]
fn who_may_call_what() {
    let (contract, access) = (contract(), access());
    let mut table = String::new();
    for operation in contract.operations() {
        let spec = access.op(operation.rpc_path()).expect("the same contract");
        // Both sides read the options by themselves.
        assert_eq!(spec.access.to_string(), operation.access().as_str(), "{}", operation.name());
        let face = match (operation.method(), operation.path()) {
            (Some(method), Some(path)) => format!("{method} {path}"),
            _ => "-".to_owned(),
        };
        let roles: Vec<_> = access
            .roles()
            .filter(|(_, held)| held.contains(&spec.access.to_string()))
            .map(|(role, _)| role)
            .collect();
        writeln!(table, "{:<28} {:<22} {face:<62} {}", operation.name(), spec.access, roles.join(" "))
            .expect("a string grows");
    }
    insta::assert_snapshot!("operations", table);
}

#[test]
fn which_role_holds_which_permission() {
    let access = access();
    let mut matrix = String::new();
    for permission in access.permissions().iter() {
        let holders: Vec<_> =
            access.roles().filter(|(_, held)| held.contains(permission)).map(|(role, _)| role).collect();
        writeln!(matrix, "{permission:<22} {}", holders.join(" ")).expect("a string grows");
    }
    insta::assert_snapshot!("permissions", matrix);
}

#[test]
fn every_operation_says_who_may_call_it() {
    let refused: Vec<_> = access()
        .ops()
        .into_iter()
        .filter(|op| op.access == platform::access::Access::Refused)
        .map(|op| op.path.to_string())
        .collect();
    assert!(refused.is_empty(), "{refused:?}");
}

#[test]
fn topics_are_as_checked_in() {
    use proto::topics::{AUDIT, AUTH, EVENTS, INCIDENTS};
    insta::assert_debug_snapshot!("topics", [EVENTS, INCIDENTS, AUTH, AUDIT]);
}
