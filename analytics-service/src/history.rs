//! The list of records.

use diesel_async::AsyncPgConnection;
use platform::ctx::{Ctx, parse_ids};
use platform::error::Result;
use proto::analytics::v1 as wire;

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
        service_ids: parse_ids("service_id", &request.service_id)?,
        team_ids: parse_ids("team_id", &request.team_id)?,
        severities: convert::severities(&request.severity),
        urgencies: convert::urgencies(&request.urgency),
        statuses: convert::statuses(&request.status),
        auto_resolved: request.auto_resolved,
        created_after: convert::time(request.created_after.as_ref()),
        created_before: convert::time(request.created_before.as_ref()),
    };
    let page = platform::page!(&request, &["created_at"], "-created_at")?;
    let rows = store::list_records(conn, cx.org, &filter, &page).await?;
    let (rows, next_page_token) = page.finish(rows, |row| (row.created_at, row.incident_id))?;
    Ok(wire::ListHistoryResponse { items: rows.into_iter().map(convert::record).collect(), next_page_token })
}
