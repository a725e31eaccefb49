//! The RPC's input from path, query and body, with every fault of the three.

use crate::contract::Contract;
use crate::json::{Node, Reader, parse};
use crate::plan::Shape;
use crate::problem::Fault;
use crate::route::{BodyPlan, Route};
use crate::wire::{Raw, put_field};

/// Encodes the input. `path` holds the decoded values of the path's variables, left to right; an
/// empty `body` counts as none.
pub(crate) fn build(
    contract: &Contract,
    route: &Route,
    path: &[&str],
    query: Option<&str>,
    body: &[u8],
) -> Result<Vec<u8>, Fault> {
    let node = match (route.body, body) {
        (BodyPlan::None, _) => None,
        (BodyPlan::Whole | BodyPlan::Patch { .. }, []) => Some(Node::Object(Vec::new())),
        (_, body) => Some(parse(body, contract.options.json_depth)?),
    };
    let mut reader = Reader::new(&contract.plans);
    let mut out = Vec::with_capacity(body.len() + 64);
    let plan = contract.plans.message(route.input);
    for (index, text) in route.path.iter().zip(path) {
        reader.parameter(&plan.fields[*index], text, &mut out);
    }
    parameters(contract, route, query, &mut reader, &mut out);
    if let Some(node) = node {
        put_body(contract, route, &node, &mut reader, &mut out);
    }
    reader.into_faults().into_result().map(|()| out)
}

fn parameters(
    contract: &Contract,
    route: &Route,
    query: Option<&str>,
    reader: &mut Reader<'_>,
    out: &mut Vec<u8>,
) {
    let plan = contract.plans.message(route.input);
    let mut given: Vec<usize> = Vec::new();
    for (name, value) in form_urlencoded::parse(query.unwrap_or_default().as_bytes()) {
        if route.csv.is_some() && name == "format" {
            continue;
        }
        let Some(index) = route.query.get(name.as_ref()) else {
            reader.note(&name, "unknown_parameter", "is not a parameter of this operation");
            continue;
        };
        let field = &plan.fields[*index];
        if field.shape == Shape::Single && given.contains(index) {
            reader.note(&name, "repeated_parameter", "may be given once");
            continue;
        }
        given.push(*index);
        reader.parameter(field, &value, out);
    }
}

fn put_body(contract: &Contract, route: &Route, node: &Node<'_>, reader: &mut Reader<'_>, out: &mut Vec<u8>) {
    match route.body {
        BodyPlan::None => {}
        BodyPlan::Whole => {
            reader.message(contract.plans.message(route.input), node, &route.path, out);
        }
        BodyPlan::Field { number, message } => {
            let mut inner = Vec::new();
            reader.message(contract.plans.message(message), node, &[], &mut inner);
            put_field(out, number, Raw::Bytes(&inner));
        }
        BodyPlan::Patch { number, message, mask } => {
            let mut inner = Vec::new();
            let keys = reader.patch(contract.plans.message(message), node, &mut inner);
            put_field(out, number, Raw::Bytes(&inner));
            let mut paths = Vec::new();
            for key in keys {
                put_field(&mut paths, 1, Raw::Bytes(key.as_bytes()));
            }
            put_field(out, mask, Raw::Bytes(&paths));
        }
    }
}
