//! Past the gateway, on the services' port, the same access and field rules hold.

use platform::ctx::OrgId;
use platform::error::Error;
use platform::token::ServiceTokens;
use prost_reflect::{DynamicMessage, MessageDescriptor, Value as Field};
use serde_json::{Value, json};
use tonic::client::Grpc;
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Request, Status};
use tonic_prost::ProstCodec;
use transcode::{Access, Body, Contract, Door, Operation};

use crate::contract::{access, contract};
use crate::examples::{Examples, Own};
use crate::fixture::Fixture;
use crate::world::{TestPlatform, config, ground};

type Outcome = Result<(), Status>;

struct Port(Channel);

impl Port {
    fn of(platform: &TestPlatform) -> Self {
        let endpoint = Endpoint::from_shared(format!("http://{}", platform.grpc)).expect("an address");
        Self(endpoint.connect_lazy())
    }

    async fn call(&self, operation: &Operation, token: Option<&str>, message: DynamicMessage) -> Outcome {
        let mut request = Request::new(message);
        if let Some(token) = token {
            let bearer = format!("Bearer {token}").parse().expect("ASCII");
            request.metadata_mut().insert("authorization", bearer);
        }
        let path = operation.rpc_path().parse().expect("a path");
        let mut client = Grpc::new(self.0.clone());
        client.ready().await.expect("the port answers");
        client.unary(request, path, ProstCodec::<DynamicMessage, ()>::default()).await.map(drop)
    }

    /// With a message that says nothing.
    async fn call_empty(&self, operation: &Operation, token: Option<&str>) -> Outcome {
        self.call(operation, token, DynamicMessage::new(operation.descriptor().input())).await
    }
}

fn code(answer: &Outcome) -> Code {
    answer.as_ref().map_or_else(Status::code, |()| Code::Ok)
}

/// (field, code) of what the answer finds wrong, sorted.
fn faults(answer: &Outcome) -> Vec<(String, String)> {
    let Err(status) = answer else { return Vec::new() };
    let fields = Error::from(status.clone()).fields;
    let mut faults: Vec<_> = fields.into_iter().map(|it| (it.field, it.code.to_string())).collect();
    faults.sort();
    faults
}

#[tokio::test(flavor = "multi_thread")]
async fn every_rpc_is_held_to_its_access_and_its_rules() {
    let mut platform = TestPlatform::start().await;
    let owner = platform.register().await;
    let viewer = owner.colleague("Vera", "viewer").await;
    let port = Port::of(&platform);
    let (contract, access) = (contract(), access());
    let mut wrong = Vec::new();
    // Logging out ends the session that the others need.
    for operation in contract.operations().iter().filter(|it| it.name() != "logout") {
        let mut found = |who: &str, answer: &Outcome, right: bool| {
            if !right {
                wrong.push(format!("{who}: {}: {answer:?}", operation.name()));
            }
        };
        let nobody = port.call_empty(operation, None).await;
        let by_viewer = port.call_empty(operation, viewer.token()).await;
        let by_owner = port.call_empty(operation, owner.token()).await;
        if operation.door() == Door::Hand {
            // The gateway's own door for REST; there is no gRPC service behind it.
            found("nobody", &nobody, matches!(code(&nobody), Code::Unimplemented | Code::Unauthenticated));
            continue;
        }
        match operation.access() {
            Access::Public => {
                let asked = code(&nobody) == Code::Unauthenticated && reason(&nobody) == "missing_token";
                found("nobody", &nobody, !asked && obeys_rules(operation, &nobody));
            }
            Access::Internal => {
                found("nobody", &nobody, code(&nobody) == Code::Unauthenticated);
                found("owner", &by_owner, code(&by_owner) == Code::PermissionDenied);
            }
            Access::Permission(name) => {
                found("nobody", &nobody, code(&nobody) == Code::Unauthenticated);
                if !access.role("viewer").contains(name) {
                    found("viewer", &by_viewer, code(&by_viewer) == Code::PermissionDenied);
                }
                let refused = matches!(code(&by_owner), Code::PermissionDenied | Code::Unauthenticated);
                found("owner", &by_owner, !refused && obeys_rules(operation, &by_owner));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    platform.forgive();
}

fn reason(answer: &Outcome) -> String {
    answer.as_ref().err().map_or_else(String::new, |status| Error::from(status.clone()).code.to_string())
}

/// What an empty message must have and does not is told by field; where nothing is demanded, nothing is
/// wrong with the message.
fn obeys_rules(operation: &Operation, answer: &Outcome) -> bool {
    let mut demanded = required(&operation.descriptor().input());
    demanded.extend(operation.path_variables().into_iter().map(str::to_owned));
    if demanded.is_empty() {
        return code(answer) != Code::Internal;
    }
    let told = faults(answer);
    code(answer) == Code::InvalidArgument
        && demanded.iter().all(|field| told.iter().any(|(told, _)| told == field))
}

/// The fields that `google.api.field_behavior` calls REQUIRED.
fn required(message: &MessageDescriptor) -> Vec<String> {
    const REQUIRED: i32 = 2;
    let behavior = message.parent_pool().get_extension_by_name("google.api.field_behavior");
    let behavior = behavior.expect("the contract uses it");
    let is_required = |field: &prost_reflect::FieldDescriptor| {
        let options = field.options();
        let said = options.get_extension(&behavior);
        said.as_list().is_some_and(|said| said.iter().any(|it| it.as_enum_number() == Some(REQUIRED)))
    };
    message.fields().filter(is_required).map(|field| field.name().to_owned()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_has_a_limit_as_a_body_has() {
    let mut config = config();
    config.grpc.body_limit_bytes = 64 << 10;
    let platform = TestPlatform::with(config).await;
    let owner = platform.register().await;
    let (contract, port) = (contract(), Port::of(&platform));
    let create = contract.operation("create_team").expect("an operation");
    let named =
        |length: usize| message(&contract, create, &[], &json!({"slug": "a", "name": "n".repeat(length)}));
    let long = port.call(create, owner.token(), named(64 << 10)).await;
    assert_eq!((code(&long), reason(&long).as_str()), (Code::InvalidArgument, "too_large"), "{long:?}");
    let fits = port.call(create, owner.token(), named(63 << 10)).await;
    assert_eq!(faults(&fits), [("team.name".to_owned(), "too_long".to_owned())], "{fits:?}");

    // One service may ask another about more than that.
    let tokens = ServiceTokens::new(&ground(&platform.db).secret, platform.db.source().clone());
    let org = OrgId(owner.org.parse().expect("an id"));
    let token = tokens.expect("a key").token("incident", org, None).expect("signed");
    let check = contract.operation("check_permission").expect("an operation");
    let mut many = DynamicMessage::new(check.descriptor().input());
    many.set_field_by_name("permission", Field::String("p".repeat(64 << 10)));
    let answer = port.call(check, Some(&token), many).await;
    assert_eq!(code(&answer), Code::InvalidArgument);
    assert_ne!(reason(&answer), "too_large", "{answer:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn rest_and_grpc_find_the_same_faults() {
    let platform = TestPlatform::start().await;
    let owner = platform.register().await;
    let contract = contract();
    let create = contract.operation("create_team").expect("an operation");
    let body = json!({"slug": "No Slug", "name": "", "labels": {"UPPER CASE": "x"}});
    let rest = owner.post("/v1/teams", body.clone()).await.expect(422);
    let message = message(&contract, create, &[], &body);
    let grpc = faults(&Port::of(&platform).call(create, owner.token(), message).await);
    let mut told: Vec<_> = rest["errors"]
        .as_array()
        .expect("errors")
        .iter()
        .map(|it| (text(it, "field"), text(it, "code")))
        .collect();
    told.sort();
    assert!(told.len() >= 2, "{rest}");
    // The message's own path, which REST shortens by the field that is the body.
    let grpc: Vec<_> = grpc.into_iter().map(|(field, code)| (field.replacen("team.", "", 1), code)).collect();
    assert_eq!(grpc, told);
}

fn text(value: &Value, name: &str) -> String {
    value[name].as_str().unwrap_or_default().to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn another_tenants_things_are_not_there() {
    let mut platform = TestPlatform::start().await;
    let fixture = Fixture::make(&platform).await;
    let port = Port::of(&platform);
    let contract = contract();
    let (examples, theirs) = (Examples::of(&contract), Own::make(&fixture.other).await);
    let mut wrong = Vec::new();
    let mut called = 0;
    let by_path = |it: &&Operation| it.is_documented() && !it.path_variables().is_empty();
    for operation in contract.operations().iter().filter(by_path).filter(|it| it.door() != Door::Hand) {
        let body = examples.body(operation, &theirs);
        let message = message(&contract, operation, &fixture.variables(operation), &body);
        let answer = port.call(operation, fixture.other.token(), message).await;
        if code(&answer) != Code::NotFound {
            wrong.push(format!("{}: {answer:?}", operation.name()));
        }
        called += 1;
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(called >= 20, "the contract names things by their path, or this shows nothing: {called}");
    platform.forgive();
}

/// The message that the REST face makes of a path and a body.
fn message(
    contract: &Contract,
    operation: &Operation,
    path: &[(&str, &str)],
    body: &Value,
) -> DynamicMessage {
    let input = operation.descriptor().input();
    let read = |message: &MessageDescriptor| {
        let read = contract.read_json(message.full_name(), body.to_string().as_bytes());
        let bytes =
            read.expect("a message of the REST face").unwrap_or_else(|fault| panic!("{body}: {fault:?}"));
        DynamicMessage::decode(message.clone(), bytes.as_slice()).expect("what was just written")
    };
    let mut message = DynamicMessage::new(input.clone());
    match operation.body() {
        Body::None => {}
        Body::Whole => message = read(&input),
        Body::Field(name) => {
            let field = input.get_field_by_name(name).expect("the body's field");
            let content = read(field.kind().as_message().expect("a message"));
            message.set_field(&field, Field::Message(content));
        }
    }
    for (name, id) in path {
        message.set_field_by_name(name, Field::String((*id).to_owned()));
    }
    if let Some(mask) = input.get_field_by_name("update_mask") {
        let paths = body.as_object().into_iter().flat_map(|body| body.keys().cloned().map(Field::String));
        let mut value = DynamicMessage::new(mask.kind().as_message().expect("a FieldMask").clone());
        value.set_field_by_name("paths", Field::List(paths.collect()));
        message.set_field(&mask, Field::Message(value));
    }
    message
}
