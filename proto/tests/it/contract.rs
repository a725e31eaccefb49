//! The real contract.

use std::collections::BTreeSet;

use prost::{Message as _, Name as _};
use prost_reflect::{DynamicMessage, Kind, Value};
use proto::incident::v1::{Incident, UpdateIncidentRequest};
use proto::validate::{Behavior, Resource as _};
use proto::{FILE_DESCRIPTOR_SET, Validate, descriptor_pool};

use crate::faults;

#[test]
fn every_area_has_its_package() {
    let packages: BTreeSet<_> =
        descriptor_pool().files().map(|file| file.package_name().to_owned()).collect();
    for area in ["analytics", "api", "auth", "events", "incident", "notification", "workflow"] {
        assert!(packages.contains(&format!("pulseops.{area}.v1")), "{area}");
    }
}

#[test]
fn names_in_descriptors_and_types_agree() {
    assert_eq!(Incident::full_name(), "pulseops.incident.v1.Incident");
    assert!(descriptor_pool().get_message_by_name(&Incident::full_name()).is_some());
    assert_eq!(Incident::type_url(), "type.googleapis.com/pulseops.incident.v1.Incident");
}

#[test]
fn descriptors_keep_options_and_comments() {
    let pool = descriptor_pool();
    let op = pool.get_extension_by_name("pulseops.api.v1.op").expect("our option");
    let http = pool.get_extension_by_name("google.api.http").expect("google's option");
    let service = pool.get_service_by_name("pulseops.incident.v1.IncidentService").expect("the service");
    let method = service.methods().find(|method| method.name() == "CreateIncident").expect("the method");
    assert!(method.options().has_extension(&op));
    assert!(method.options().has_extension(&http));

    let set = prost_types::FileDescriptorSet::decode(FILE_DESCRIPTOR_SET).expect("a set");
    let commented = |file: &prost_types::FileDescriptorProto| {
        let info = file.source_code_info.as_ref();
        info.is_some_and(|info| info.location.iter().any(|at| at.leading_comments.is_some()))
    };
    let ours = set.file.iter().filter(|file| file.package().starts_with("pulseops."));
    assert!(ours.into_iter().all(commented));
}

/// A rule that `third_party/buf/validate/validate.proto` does not declare would be carried as an
/// unknown field and hold nowhere.
#[test]
fn every_rule_is_a_supported_one() {
    let pool = descriptor_pool();
    let extension = pool.get_extension_by_name("buf.validate.field").expect("the option");
    let mut count = 0;
    for field in pool.all_messages().flat_map(|message| message.fields().collect::<Vec<_>>()) {
        let options = field.options();
        if options.has_extension(&extension) {
            let rules = options.get_extension(&extension);
            assert_known(rules.as_message().expect("a message"), field.full_name());
            count += 1;
        }
    }
    assert!(count > 100, "only {count} fields with rules");
}

fn assert_known(rules: &DynamicMessage, at: &str) {
    assert_eq!(rules.unknown_fields().count(), 0, "{at}");
    for value in rules.fields().filter_map(|(_, value)| Value::as_message(value)) {
        assert_known(value, at);
    }
}

/// Requests are validated, what they carry and what is answered is not: see `Validate::INPUT`.
#[test]
fn requests_are_inputs() {
    const { assert!(UpdateIncidentRequest::INPUT) };
    const { assert!(!Incident::INPUT) };
}

#[test]
fn the_generated_checks_are_those_of_the_contract() {
    assert_eq!(
        faults(&Incident::default()),
        ["title: required", "severity: required", "service_id: required"]
    );
    let incident = Incident {
        title: "Payment fails".into(),
        severity: 99,
        service_id: "payment".into(),
        runbook_url: Some("wiki".into()),
        id: "set by the server".into(),
        ..Incident::default()
    };
    let expected =
        ["severity: undefined_value", "service_id: uuid", "runbook_url: pattern", "runbook_url: uri"];
    assert_eq!(faults(&incident), expected);
    assert_eq!(Incident::behavior("service_id"), Some(Behavior::Immutable));
    assert_eq!(Incident::behavior("version"), Some(Behavior::OutputOnly));
}

/// A resource's behaviours are those of the descriptor, field by field.
#[test]
fn resources_list_the_fields_of_the_contract() {
    let descriptor = descriptor_pool().get_message_by_name(&Incident::full_name()).expect("the message");
    let expected: Vec<_> = descriptor.fields().map(|field| field.name().to_owned()).collect();
    let listed: Vec<_> = Incident::FIELDS.iter().map(|(name, _)| (*name).to_owned()).collect();
    assert_eq!(listed, expected);
}

/// Enum values are named after their enum; REST and `proto::json` strip exactly that prefix.
#[test]
fn enum_values_carry_their_prefix() {
    for of in descriptor_pool().all_enums().filter(|of| of.package_name().starts_with("pulseops.")) {
        let prefix = heck::ToShoutySnakeCase::to_shouty_snake_case(of.name()) + "_";
        for value in of.values() {
            assert!(value.name().starts_with(&prefix), "{}", value.full_name());
        }
    }
}

/// 64-bit floats and signed integers only: the rules' types and JSON numbers cover these.
#[test]
fn fields_use_the_types_that_rules_and_json_cover() {
    let ours = descriptor_pool().all_messages().filter(|m| m.package_name().starts_with("pulseops."));
    for field in ours.flat_map(|message| message.fields().collect::<Vec<_>>()) {
        let kind = field.kind();
        let odd = matches!(
            kind,
            Kind::Sint32 | Kind::Sint64 | Kind::Fixed32 | Kind::Fixed64 | Kind::Sfixed32 | Kind::Sfixed64
        );
        assert!(!odd, "{}: {kind:?} has no rules", field.full_name());
    }
}

/// POSTs without Idempotency-Key although their answers hold no secret, and why.
const NOT_REPEATED: [(&str, &str); 3] = [
    ("SendEvents", "each event has an id of its own"),
    ("ValidateRule", "changes nothing"),
    ("Logout", "the token that repeats it is refused"),
];

/// An answer with a secret is not kept for 24 hours; every other POST can be repeated under its key.
#[test]
fn only_answers_with_a_secret_are_not_kept() {
    let pool = descriptor_pool();
    let op = pool.get_extension_by_name("pulseops.api.v1.op").expect("our option");
    let http = pool.get_extension_by_name("google.api.http").expect("google's option");
    let mut found = BTreeSet::new();
    for rpc in pool.services().flat_map(|service| service.methods().collect::<Vec<_>>()) {
        let options = rpc.options();
        if !options.has_extension(&http) {
            continue;
        }
        let facts = options.get_extension(&op);
        let facts = facts.as_message().expect("a message");
        let refuses = facts.has_field_by_name("idempotent")
            && facts.get_field_by_name("idempotent").and_then(|it| it.as_bool()) == Some(false);
        let secret =
            ["access_token", "key", "secret"].iter().any(|it| rpc.output().get_field_by_name(it).is_some());
        if refuses && !secret {
            found.insert(rpc.name().to_owned());
        }
    }
    assert_eq!(found, NOT_REPEATED.iter().map(|(name, _)| (*name).to_owned()).collect());
}
