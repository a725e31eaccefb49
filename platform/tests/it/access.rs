//! The access table as it is read from a contract.

use std::fmt::Write;

use platform::access::{AccessError, AccessTable, OptionNames};
use prost_reflect::DescriptorPool;

use crate::door::fixture;

#[test]
fn operations_say_who_may_call_them() {
    let table = fixture::access();
    let mut text = String::new();
    for op in table.ops() {
        let _ = writeln!(text, "{} {} idempotent={}", op.path, op.access, op.idempotent);
    }
    insta::assert_snapshot!(text, @r"
    /test.v1.Things/Fail public idempotent=true
    /test.v1.Things/Foreign public idempotent=true
    /test.v1.Things/Inside internal idempotent=true
    /test.v1.Things/Open public idempotent=true
    /test.v1.Things/Panic public idempotent=true
    /test.v1.Things/Read things_read idempotent=true
    /test.v1.Things/Secret things_write idempotent=false
    /test.v1.Things/Silent refused idempotent=true
    /test.v1.Things/Slow public idempotent=true
    /test.v1.Things/Write things_write idempotent=true
    ");
    assert_eq!(table.ops()[0].service(), "test.v1.Things");
}

#[test]
fn permissions_say_which_roles_hold_them() {
    let table = fixture::access();
    let matrix: Vec<_> =
        table.roles().map(|(role, permissions)| (role, permissions.iter().collect::<Vec<_>>())).collect();
    let expected = [("owner", vec!["things_read", "things_write"]), ("viewer", vec!["things_read"])];
    assert_eq!(matrix, expected);
    assert!(table.role("jester").is_empty());
    assert_eq!(table.permissions(), &table.role("owner"));
}

#[test]
fn a_contract_without_the_options_is_an_error() {
    let pool = DescriptorPool::decode(fixture::descriptors().as_slice()).expect("descriptors");
    let missing = AccessTable::from_pool(&pool, OptionNames { op: "test.v1.none", ..fixture::NAMES });
    assert!(matches!(missing, Err(AccessError::NoExtension(_))));
    let swapped = OptionNames { op: fixture::NAMES.roles, roles: fixture::NAMES.op };
    assert!(matches!(AccessTable::from_pool(&pool, swapped), Err(AccessError::WrongType(_))));
}
