//! Dead letters of all consumers, through the handle on the bus.

use diesel_async::AsyncPgConnection;
use platform::ctx::{Ctx, parse_id};
use platform::db::Db;
use platform::dead_letters::{self, DeadLetter, Filter};
use platform::error::Result;
use platform::rpc::unpack;
use platform::wake::Wakes;
use proto::api::v1 as wire;
use tonic::{Request, Response, Status};
use uuid::Uuid;

pub struct Grpc {
    pub db: Db,
    pub wakes: Wakes,
}

#[tonic::async_trait]
impl wire::dead_letter_service_server::DeadLetterService for Grpc {
    async fn list_dead_letters(
        &self,
        request: Request<wire::ListDeadLettersRequest>,
    ) -> Result<Response<wire::ListDeadLettersResponse>, Status> {
        let (cx, request) = unpack(request)?;
        let answer = platform::tx!(self.db, &cx, |conn| list(&cx, conn, &request).await)?;
        Ok(Response::new(answer))
    }

    async fn get_dead_letter(
        &self,
        request: Request<wire::GetDeadLetterRequest>,
    ) -> Result<Response<wire::DeadLetter>, Status> {
        let (cx, request) = unpack(request)?;
        let id: Uuid = parse_id("id", &request.id)?;
        let row = platform::tx!(self.db, &cx, |conn| dead_letters::get(conn, cx.org, id).await)?;
        Ok(Response::new(pack(row, true)))
    }

    async fn replay_dead_letter(
        &self,
        request: Request<wire::ReplayDeadLetterRequest>,
    ) -> Result<Response<wire::DeadLetter>, Status> {
        let (cx, request) = unpack(request)?;
        let id: Uuid = parse_id("id", &request.id)?;
        let answer = platform::mutation!(self.db, &cx, &request, |conn| {
            Ok(pack(dead_letters::request_replay(&cx, conn, id).await?, false))
        })?;
        self.wakes.notify(dead_letters::REPLAY);
        Ok(answer)
    }
}

async fn list(
    cx: &Ctx,
    conn: &mut AsyncPgConnection,
    request: &wire::ListDeadLettersRequest,
) -> Result<wire::ListDeadLettersResponse> {
    let filter = Filter {
        consumers: request.consumer.clone(),
        states: request.state().filter_map(state_name).map(str::to_owned).collect(),
        topics: Vec::new(),
    };
    let page = platform::page!(request, "-id")?;
    let rows = dead_letters::list(conn, cx.org, &filter, page.after, page.limit()).await?;
    let (rows, next_page_token) = page.finish(rows, |row| row.id)?;
    let items = rows.into_iter().map(|row| pack(row, false)).collect();
    Ok(wire::ListDeadLettersResponse { items, next_page_token })
}

fn state_name(state: wire::DeadLetterState) -> Option<&'static str> {
    match state {
        wire::DeadLetterState::Unspecified => None,
        wire::DeadLetterState::Dead => Some("dead"),
        wire::DeadLetterState::Replaying => Some("replay"),
        wire::DeadLetterState::Replayed => Some("replayed"),
    }
}

fn state_of(name: &str) -> wire::DeadLetterState {
    match name {
        "dead" => wire::DeadLetterState::Dead,
        "replay" => wire::DeadLetterState::Replaying,
        "replayed" => wire::DeadLetterState::Replayed,
        _ => wire::DeadLetterState::Unspecified,
    }
}

/// Lists leave the payload out: it may be large, and nobody reads it there.
fn pack(row: DeadLetter, with_payload: bool) -> wire::DeadLetter {
    wire::DeadLetter {
        id: row.id.to_string(),
        consumer: row.consumer,
        topic: row.topic,
        partition: row.partition,
        offset: row.log_offset,
        state: state_of(&row.state).into(),
        event_type: row.event_type,
        event_id: row.event_id.to_string(),
        subject: row.subject,
        error_code: row.error_code,
        error_detail: row.error_detail,
        attempts: row.attempts,
        created_at: Some(proto::time::to_timestamp(row.created_at)),
        replayed_at: row.replayed_at.map(proto::time::to_timestamp),
        payload: if with_payload { row.data.into() } else { bytes::Bytes::new() },
    }
}
