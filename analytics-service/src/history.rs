//! The list of records.

use chrono::{DateTime, Utc};
use diesel_async::AsyncPgConnection;
use platform::ctx::Ctx;
use platform::error::Result;
use platform::page::{self, Fingerprint, PageToken, Sort};
use proto::analytics::v1 as wire;
use uuid::Uuid;

use crate::convert;
use crate::store::{self, Filter};

/// A page of records, newest first unless sorted otherwise.
///
/// # Errors
/// Invalid for a page token of another list or a filter that cannot be read; those of the database.
pub async fn list(
    cx: &Ctx,
    conn: &mut AsyncPgConnection,
    request: wire::ListHistoryRequest,
) -> Result<wire::ListHistoryResponse> {
    let filter = Filter {
        service_ids: convert::ids(&request.service_id, "service_id")?,
        team_ids: convert::ids(&request.team_id, "team_id")?,
        severities: convert::severities(&request.severity),
        statuses: convert::statuses(&request.status),
        created_after: convert::time(request.created_after.as_ref()),
        created_before: convert::time(request.created_before.as_ref()),
        ..Filter::default()
    };
    let sort = Sort::parse(&request.sort, &["created_at"], "-created_at")?;
    let size = page::size(request.page_size);
    let token = request.page_token.clone();
    let list = Fingerprint::of_message(&wire::ListHistoryRequest {
        page_size: 0,
        page_token: String::new(),
        ..request
    });
    let after: Option<(DateTime<Utc>, Uuid)> = PageToken::decode(&token, list)?;
    let limit = i64::try_from(size).unwrap_or(i64::MAX).saturating_add(1);
    let rows = store::list_records(conn, cx.org, &filter, sort.descending, after, limit).await?;
    let (rows, next_page_token) = page::finish(rows, size, list, |row| (row.created_at, row.incident_id))?;
    Ok(wire::ListHistoryResponse { items: rows.into_iter().map(convert::record).collect(), next_page_token })
}
