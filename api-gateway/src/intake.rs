//! The hand-written door for events: `POST /v1/events`.
//!
//! One object, an array, or NDJSON comes in; each item is read and checked by itself; what is good
//! goes through the bounded buffer of `ingest` into the log. The answer waits until it is durable.
//!
//! `body.rs` receives and splits the body, `items.rs` reads items, `services.rs` finds the services
//! they name, `sink.rs` writes batches; `room.rs` bounds what is held before the buffer counts it;
//! `refusal.rs` is why nothing of a request was taken.

mod body;
mod items;
mod refusal;
mod room;
mod services;
mod sink;

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use http::StatusCode;
use http::request::Parts;
use ingest::{Limits, NotWritten, Pipeline, Refused};
use platform::access::AccessTable;
use platform::bus::TopicSpec;
use platform::ctx::{Ctx, OrgId};
use platform::deps::Deps;
use platform::error::{Error, Result};
use platform::lifecycle::Stage;
use proto::topics;
use serde::Serialize;
use transcode::{Contract, Fault, Faults, FieldFault};

use crate::config::{Config, IntakeConfig};
use crate::problems;
use items::{Items, Rejected};
use refusal::Refusal;
use room::{Permit, Room};
use services::Services;
use sink::{Log, Meter, Outgoing};

/// Where events go.
pub const EVENTS: TopicSpec =
    TopicSpec::new(topics::EVENTS.name, topics::EVENTS.partitions, topics::EVENTS.retention_ms);

const SEND_EVENTS: &str = "/pulseops.events.v1.EventService/SendEvents";
const RETRY_AFTER: Duration = Duration::from_secs(1);

#[derive(Clone)]
struct Door {
    access: Arc<AccessTable>,
    contract: Arc<Contract>,
    services: Services,
    pipeline: Pipeline<Outgoing, Log>,
    limits: IntakeConfig,
    room: Room,
}

/// What was accepted and is not yet answered.
#[derive(Clone)]
pub struct Intake(Pipeline<Outgoing, Log>);

impl Intake {
    /// Events that wait for the log.
    pub fn waiting(&self) -> usize {
        self.0.waiting()
    }
}

/// The route, its buffer and its writers.
///
/// # Errors
/// Those of the bus.
pub async fn routes(deps: &Deps, config: &Config, contract: Arc<Contract>) -> Result<(Router, Intake)> {
    deps.bus.ensure_topic(&EVENTS).await?;
    let door = Door {
        access: deps.door.access.clone(),
        contract,
        services: Services::new(&deps.directory),
        pipeline: start(deps, &config.intake),
        limits: config.intake.clone(),
        room: Room::new(&config.intake),
    };
    let intake = Intake(door.pipeline.clone());
    Ok((Router::new().route("/v1/events", post(send_events)).with_state(door), intake))
}

/// Starts the writers. They end after the listeners, when everything accepted is in the log.
fn start(deps: &Deps, config: &IntakeConfig) -> Pipeline<Outgoing, Log> {
    let limits = Limits {
        items: config.buffer_events,
        bytes: config.buffer_bytes,
        batch_items: config.batch_events,
        retry_after: RETRY_AFTER,
        ..Limits::default()
    };
    let log = Arc::new(Log { bus: deps.bus.clone() });
    let (pipeline, first) = Pipeline::new(log.clone(), limits, Arc::new(Meter));
    let more = (1..config.writers).map(|_| pipeline.worker(log.clone()));
    for (number, writer) in std::iter::once(first).chain(more).enumerate() {
        let pipeline = pipeline.clone();
        deps.lifecycle.spawn(Stage::Consumers, format!("gateway.intake.{number}"), |shutdown| async move {
            let close = async {
                shutdown.cancelled().await;
                pipeline.close();
            };
            tokio::join!(writer.run(), close);
            Ok::<_, Error>(())
        });
    }
    pipeline
}

async fn send_events(State(door): State<Door>, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    let instance = problems::instance(&parts.extensions);
    let Some(cx) = parts.extensions.get::<Ctx>() else {
        return problems::of_error(&Error::internal("a request without a context"), &instance);
    };
    let answer = async {
        door.access.check(SEND_EVENTS, cx)?;
        let (items, held) = read(&door, cx.org, &parts, body).await?;
        take(&door, cx, items, held).await
    };
    match answer.await {
        Ok(taken) => taken.into_response(&instance),
        Err(refusal) => refusal.into_response(&instance),
    }
}

async fn read(
    door: &Door,
    org: OrgId,
    parts: &Parts,
    body: Body,
) -> Result<(Items, Option<Permit>), Refusal> {
    let arriving = if body::is_small(&body) { None } else { Some(door.room.receive(org).await?) };
    let sent = body::receive(parts, body, door.limits.body_limit_bytes).await?;
    let (contract, limits) = (door.contract.clone(), door.limits.clone());
    let small = sent.is_small();
    let read = move || {
        let whole = sent.expand(limits.expanded_limit_bytes)?;
        // More than the buffer holds can never be taken.
        let texts = whole.split(limits.buffer_events)?;
        Ok::<_, Refusal>((items::read(&contract, &texts), whole.len()))
    };
    if small {
        return Ok((read()?.0, None));
    }
    let room = door.room.clone();
    let work = move || {
        let (items, bytes) = read()?;
        // What is small when it is expanded is held as what was sent small is.
        let held = if bytes > body::SMALL { Some(room.hold(org, bytes)?) } else { None };
        Ok((items, held))
    };
    door.room.read(org, arriving, work).await?
}

/// What became of a readable request.
struct Taken {
    accepted: usize,
    rejected: Vec<Rejected>,
    single: bool,
}

#[derive(Serialize)]
struct Answer {
    accepted: usize,
    rejected: Vec<Rejected>,
}

impl Taken {
    /// 202, or 422 when not one item was good.
    fn into_response(self, instance: &str) -> Response {
        if self.accepted > 0 {
            let answer = Answer { accepted: self.accepted, rejected: self.rejected };
            return (StatusCode::ACCEPTED, axum::Json(answer)).into_response();
        }
        let mut faults = Faults::default();
        for item in self.rejected {
            let field = if self.single { item.field } else { format!("[{}].{}", item.index, item.field) };
            faults.push(FieldFault::new(field.trim_end_matches('.'), item.code, item.reason));
        }
        problems::of_fault(&Fault::Invalid(faults), instance)
    }
}

async fn take(door: &Door, cx: &Ctx, items: Items, held: Option<Permit>) -> Result<Taken, Refusal> {
    let Items { good, mut rejected, single } = items;
    let (outgoing, unknown) = door.services.address(cx, good).await?;
    rejected.extend(unknown);
    rejected.sort_by_key(|item| item.index);
    let accepted = outgoing.len();
    if accepted > 0 {
        let ack = door.pipeline.submit(outgoing).map_err(refused)?;
        drop(held);
        metrics::gauge!("pulseops_intake_waiting_events").set(door.pipeline.waiting() as f64);
        ack.durable().await.map_err(not_written)?;
    }
    Ok(Taken { accepted, rejected, single })
}

fn refused(reason: Refused) -> Error {
    match reason {
        Refused::Full { retry_after } => full().with_retry_after(retry_after),
        Refused::Closed => {
            Error::unavailable("shutting_down", "the intake is shutting down").with_retry_after(RETRY_AFTER)
        }
        Refused::TooLarge => {
            Error::invalid("too_many_events", "more events than the intake can hold at once")
        }
    }
}

fn full() -> Error {
    Error::too_many("intake_full", "the intake is full").with_retry_after(RETRY_AFTER)
}

/// The events may or may not be in the log: the client sends them again under the same ids.
fn not_written(reason: NotWritten<Error>) -> Error {
    let detail = "the events could not be stored; send them again";
    let error = Error::unavailable("not_stored", detail).with_retry_after(RETRY_AFTER);
    match reason {
        NotWritten::Failed(source) => error.with_source(source),
        NotWritten::Abandoned => error,
    }
}
