//! How one operation's request is put together and its answer taken apart: field indexes instead of
//! names, all checked here so that a request has nothing left to check.

mod location;

use std::collections::HashMap;

use http::Method;
use http::uri::PathAndQuery;

use crate::annotations::{Annotations, message, number};
use crate::csv::PAGE_SIZE;
use crate::operation::{Binding, Body, Operation};
use crate::plan::{FieldPlan, Kind, MessageId, MessagePlan, Plans, Scalar, Shape, WellKnown};

pub(crate) use location::{Location, LocationPart};

/// A message that carries bytes of a media type of its own.
pub(crate) const HTTP_BODY: &str = "google.api.HttpBody";

pub(crate) struct Route {
    /// Index of the operation in the contract.
    pub(crate) operation: usize,
    pub(crate) rpc: PathAndQuery,
    pub(crate) input: MessageId,
    pub(crate) output: Output,
    /// Input fields of the path's variables, left to right.
    pub(crate) path: Vec<usize>,
    /// Input fields that are query parameters, by name.
    pub(crate) query: HashMap<String, usize>,
    pub(crate) body: BodyPlan,
    /// The answer's `version`.
    pub(crate) etag: Option<usize>,
    pub(crate) location: Option<Location>,
    pub(crate) csv: Option<CsvPlan>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Output {
    Empty,
    Message(MessageId),
    HttpBody,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum BodyPlan {
    None,
    Whole,
    Field {
        number: u32,
        message: MessageId,
    },
    /// A body whose present keys fill the mask.
    Patch {
        number: u32,
        message: MessageId,
        mask: u32,
    },
}

/// How a list is turned into rows.
pub(crate) struct CsvPlan {
    /// Number of the answer's repeated field, and its items' message.
    pub(crate) items: u32,
    pub(crate) item: MessageId,
    /// The item's fields that are columns.
    pub(crate) columns: Vec<usize>,
    pub(crate) next_page_token: u32,
    pub(crate) page_token: u32,
    pub(crate) page_size: u32,
    /// The largest page that the contract allows.
    pub(crate) page_size_limit: u64,
}

impl Route {
    pub(crate) fn plan(
        index: usize,
        operations: &[Operation],
        plans: &Plans,
        annotations: &Annotations,
    ) -> Result<Self, String> {
        let operation = &operations[index];
        let binding = operation.http.as_ref().ok_or("has no google.api.http")?;
        if operation.descriptor.is_client_streaming() || operation.descriptor.is_server_streaming() {
            return Err("streams need a door by hand".into());
        }
        let input = planned(plans, operation.input().full_name())?;
        let output = output(operation, plans)?;
        let plan = plans.message(input);
        let path = path_fields(binding, plan)?;
        let body = body_plan(binding, plan)?;
        Ok(Self {
            operation: index,
            rpc: operation.rpc_path.parse().map_err(|_| "the RPC's name is no path")?,
            input,
            output,
            query: query_fields(binding, plan, &path, body)?,
            path,
            body,
            etag: etag_field(operation, output, plans)?,
            location: Location::plan(operation, operations, output, plans),
            csv: csv_plan(operation, binding, plan, output, plans, annotations)?,
        })
    }
}

fn planned(plans: &Plans, name: &str) -> Result<MessageId, String> {
    plans.find(name).ok_or_else(|| format!("{name} cannot be carried as JSON"))
}

fn output(operation: &Operation, plans: &Plans) -> Result<Output, String> {
    Ok(match operation.output().full_name() {
        "google.protobuf.Empty" => Output::Empty,
        HTTP_BODY => Output::HttpBody,
        name => Output::Message(planned(plans, name)?),
    })
}

fn path_fields(binding: &Binding, plan: &MessagePlan) -> Result<Vec<usize>, String> {
    let field = |name: &str| {
        let index = plan.index_of(name);
        let index = index.ok_or_else(|| format!("path variable `{name}` is no field of the input"))?;
        let field = &plan.fields[index];
        if field.shape != Shape::Single || !field.is_textual() {
            return Err(format!("path variable `{name}` must be a scalar"));
        }
        Ok(index)
    };
    binding.template.variables().map(field).collect()
}

fn body_plan(binding: &Binding, plan: &MessagePlan) -> Result<BodyPlan, String> {
    let patches = binding.method == Method::PATCH;
    let Body::Field(name) = &binding.body else {
        return match binding.body {
            _ if patches => Err("PATCH needs `body` to name the resource".into()),
            Body::None => Ok(BodyPlan::None),
            _ if matches!(binding.method, Method::GET | Method::DELETE) => {
                Err(format!("{} takes no body", binding.method))
            }
            _ => Ok(BodyPlan::Whole),
        };
    };
    let field = plan.field(name).ok_or_else(|| format!("body `{name}` is no field of the input"))?;
    let (Kind::Message(message), Shape::Single) = (field.kind, field.shape) else {
        return Err(format!("body `{name}` must be a message"));
    };
    let number = field.number;
    if !patches {
        return Ok(BodyPlan::Field { number, message });
    }
    let mask = plan.field("update_mask");
    let mask = mask.filter(|field| field.kind == Kind::WellKnown(WellKnown::FieldMask));
    let mask = mask.ok_or("PATCH needs `google.protobuf.FieldMask update_mask`")?.number;
    Ok(BodyPlan::Patch { number, message, mask })
}

fn query_fields(
    binding: &Binding,
    plan: &MessagePlan,
    path: &[usize],
    body: BodyPlan,
) -> Result<HashMap<String, usize>, String> {
    let mut query = HashMap::new();
    if body == BodyPlan::Whole {
        return Ok(query);
    }
    for (index, field) in plan.fields.iter().enumerate() {
        if path.contains(&index) || is_body(binding, body, field) {
            continue;
        }
        if matches!(field.shape, Shape::Map(_)) || !field.is_textual() {
            return Err(format!("`{}` cannot be a query parameter", field.name));
        }
        query.insert(field.name.clone(), index);
    }
    Ok(query)
}

fn is_body(binding: &Binding, body: BodyPlan, field: &FieldPlan) -> bool {
    let is_mask = matches!(body, BodyPlan::Patch { mask, .. } if mask == field.number);
    is_mask || matches!(&binding.body, Body::Field(name) if *name == field.name)
}

fn etag_field(operation: &Operation, output: Output, plans: &Plans) -> Result<Option<usize>, String> {
    if !operation.etag {
        return Ok(None);
    }
    let id = match output {
        Output::Message(id) => id,
        // What is deleted has a version that If-Match names, and no answer that tells a new one.
        Output::Empty if operation.method() == Some(&Method::DELETE) => return Ok(None),
        Output::Empty | Output::HttpBody => return Err("etag needs an answer".into()),
    };
    let plan = plans.message(id);
    let index = plan.index_of("version").filter(|index| is_plain(&plan.fields[*index]));
    index.map(Some).ok_or_else(|| "etag needs a field `version` in the answer".into())
}

fn is_plain(field: &FieldPlan) -> bool {
    field.shape == Shape::Single && matches!(field.kind, Kind::Scalar(_))
}

fn csv_plan(
    operation: &Operation,
    binding: &Binding,
    input: &MessagePlan,
    output: Output,
    plans: &Plans,
    annotations: &Annotations,
) -> Result<Option<CsvPlan>, String> {
    if !operation.csv {
        return Ok(None);
    }
    let text = |plan: &MessagePlan, name: &str| {
        let field = plan.field(name).filter(|f| f.kind == Kind::Scalar(Scalar::String));
        field.map(|field| field.number).ok_or_else(|| format!("csv needs a string `{name}`"))
    };
    let Output::Message(answer) = output else {
        return Err("csv needs a list".into());
    };
    if binding.method != Method::GET || input.index_of("format").is_some() {
        return Err("csv needs GET and leaves the parameter `format` to the transcoder".into());
    }
    let answer = plans.message(answer);
    let items = answer.fields.iter().find_map(|field| match (field.shape, field.kind) {
        (Shape::List, Kind::Message(item)) => Some((field.number, item)),
        _ => None,
    });
    let (items, item) = items.ok_or("csv needs a repeated message in the answer")?;
    let fields = plans.message(item).fields.iter().enumerate();
    let columns = fields.filter(|(_, field)| {
        field.shape == Shape::Single && field.is_textual() && !field.behavior.input_only
    });
    let size = input.field("page_size").filter(|f| f.kind == Kind::Scalar(Scalar::Int32));
    let size = size.ok_or("csv needs an int32 `page_size`")?;
    Ok(Some(CsvPlan {
        items,
        item,
        columns: columns.map(|(index, _)| index).collect(),
        next_page_token: text(answer, "next_page_token")?,
        page_token: text(input, "page_token")?,
        page_size: size.number,
        page_size_limit: page_size_limit(size, annotations),
    }))
}

fn page_size_limit(page_size: &FieldPlan, annotations: &Annotations) -> u64 {
    let rules = annotations.rules(&page_size.descriptor);
    let limit = rules.and_then(|rules| number(&message(&rules, "int32")?, "lte"));
    limit.and_then(|limit| u64::try_from(limit).ok()).unwrap_or(PAGE_SIZE)
}
