//! Past the gateway, on the services' port, the same access and field rules hold.

use platform::error::Error;
use tonic::client::Grpc;
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Request, Status};
use tonic_prost::ProstCodec;
use transcode::{Access, Door, Operation};

use crate::contract::{access, contract};
use crate::support::client::Client;
use crate::world::TestPlatform;

/// Calls the RPC with a message that says nothing.
async fn call(channel: &Channel, operation: &Operation, token: Option<&str>) -> Result<(), Status> {
    let mut request = Request::new(());
    if let Some(token) = token {
        request.metadata_mut().insert("authorization", format!("Bearer {token}").parse().expect("ASCII"));
    }
    let path = operation.rpc_path().parse().expect("a path");
    let mut client = Grpc::new(channel.clone());
    client.ready().await.expect("the port answers");
    client.unary(request, path, ProstCodec::<(), ()>::default()).await.map(|_| ())
}

fn code(answer: &Result<(), Status>) -> Code {
    answer.as_ref().map_or_else(Status::code, |()| Code::Ok)
}

#[tokio::test(flavor = "multi_thread")]
async fn every_rpc_is_held_to_its_access_and_its_rules() {
    let mut platform = TestPlatform::start().await;
    let owner = platform.register().await;
    let viewer = owner.colleague("Vera", "viewer").await;
    let address = format!("http://{}", platform.grpc);
    let channel = Endpoint::from_shared(address).expect("an address").connect_lazy();
    let (contract, access) = (contract(), access());
    let mut wrong = Vec::new();
    // Logging out ends the session that the others need.
    for operation in contract.operations().iter().filter(|it| it.name() != "logout") {
        let mut found = |who: &str, answer: &Result<(), Status>, right: bool| {
            if !right {
                wrong.push(format!("{who}: {}: {answer:?}", operation.name()));
            }
        };
        let nobody = call(&channel, operation, None).await;
        let by_viewer = call(&channel, operation, viewer.token()).await;
        let by_owner = call(&channel, operation, owner.token()).await;
        if operation.door() == Door::Hand {
            // The gateway's own door for REST; there is no gRPC service behind it.
            found("nobody", &nobody, matches!(code(&nobody), Code::Unimplemented | Code::Unauthenticated));
            continue;
        }
        match operation.access() {
            Access::Public => {
                found("nobody", &nobody, code(&nobody) != Code::Unauthenticated || has_reason(&nobody))
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
                found("owner", &by_owner, obeys_rules(operation, &by_owner));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    platform.forgive();
}

fn has_reason(answer: &Result<(), Status>) -> bool {
    answer.as_ref().is_err_and(|status| Error::from(status.clone()).code != "missing_token")
}

/// What the message must have and does not is told by field.
fn obeys_rules(operation: &Operation, answer: &Result<(), Status>) -> bool {
    let mut demanded = operation.path_variables();
    demanded.extend(operation.body_field());
    if demanded.is_empty() {
        return !matches!(code(answer), Code::PermissionDenied | Code::Unauthenticated | Code::Internal);
    }
    let Err(status) = answer else { return false };
    let error = Error::from(status.clone());
    let told = |field: &&str| error.fields.iter().any(|fault| fault.field == **field);
    status.code() == Code::InvalidArgument && demanded.iter().all(told)
}

#[tokio::test(flavor = "multi_thread")]
async fn rest_and_grpc_find_the_same_faults() {
    let platform = TestPlatform::start().await;
    let owner = platform.register().await;
    let rest = owner.post("/v1/teams", serde_json::json!({"slug": "No Slug", "name": ""})).await;
    let faults = fields(&rest.expect(422));
    assert_eq!(faults, ["name", "slug"]);
    let gateway: &Client = &platform.nobody;
    gateway.post("/v1/auth/login", serde_json::json!({})).await.expect(422);
}

fn fields(problem: &serde_json::Value) -> Vec<String> {
    let errors = problem["errors"].as_array().cloned().unwrap_or_default();
    let mut fields: Vec<_> = errors.iter().filter_map(|it| it["field"].as_str().map(str::to_owned)).collect();
    fields.sort();
    fields
}
