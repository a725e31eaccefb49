//! Summary and MTTR.

use chrono::{DateTime, TimeDelta, Utc};
use diesel_async::AsyncPgConnection;
use platform::ctx::{Ctx, parse_ids};
use platform::error::{Error, Result};
use proto::analytics::v1 as wire;

use crate::convert;
use crate::kinds::Severity;
use crate::store::{self, Filter, Grouping};

/// What is counted when a query names no range.
const DEFAULT_RANGE: TimeDelta = TimeDelta::days(30);

/// Totals, by severity and by service.
///
/// # Errors
/// Those of the database; Invalid for a filter that cannot be read.
pub async fn summary(
    cx: &Ctx,
    conn: &mut AsyncPgConnection,
    request: &wire::GetSummaryRequest,
) -> Result<wire::Summary> {
    let filter = Filter {
        service_ids: parse_ids("service_id", &request.service_id)?,
        team_ids: parse_ids("team_id", &request.team_id)?,
        severities: convert::severities(&request.severity),
        ..ranged(
            cx.now,
            convert::time(request.created_after.as_ref()),
            convert::time(request.created_before.as_ref()),
        )
    };
    let total = store::count_by(conn, cx.org, &filter, &Grouping::None).await?;
    let by_severity = store::count_by(conn, cx.org, &filter, &Grouping::Severity).await?;
    let by_service = store::count_by(conn, cx.org, &filter, &Grouping::Service).await?;
    Ok(convert::summary(total.first(), by_severity, by_service))
}

/// MTTA and MTTR, as a whole or by group.
///
/// # Errors
/// Invalid for an unknown time zone or a filter that cannot be read; those of the database.
pub async fn mttr(
    cx: &Ctx,
    conn: &mut AsyncPgConnection,
    request: &wire::GetMttrRequest,
) -> Result<wire::Mttr> {
    let filter = Filter {
        service_ids: parse_ids("service_id", &request.service_id)?,
        team_ids: parse_ids("team_id", &request.team_id)?,
        severities: convert::severities(&request.severity),
        urgencies: convert::urgencies(&request.urgency),
        auto_resolved: request.auto_resolved,
        ..ranged(
            cx.now,
            convert::time(request.created_after.as_ref()),
            convert::time(request.created_before.as_ref()),
        )
    };
    let grouping = grouping(request)?;
    let mut rows = store::statistics(conn, cx.org, &filter, &grouping).await?;
    if rows.is_empty() && grouping == Grouping::None {
        return Ok(wire::Mttr { groups: vec![wire::MttrGroup::default()] });
    }
    if grouping == Grouping::Severity {
        rows.sort_by_key(|row| Severity::parse(&row.key));
    }
    Ok(wire::Mttr { groups: rows.into_iter().map(convert::group).collect() })
}

fn grouping(request: &wire::GetMttrRequest) -> Result<Grouping> {
    let zone = if request.time_zone.is_empty() { "UTC" } else { request.time_zone.as_str() };
    let zone: chrono_tz::Tz = zone.parse().map_err(|_| {
        Error::field("time_zone", "unknown_time_zone", format!("{zone} is no IANA time zone"))
    })?;
    Ok(match request.group_by() {
        wire::GroupBy::Unspecified => Grouping::None,
        wire::GroupBy::Service => Grouping::Service,
        wire::GroupBy::Team => Grouping::Team,
        wire::GroupBy::Severity => Grouping::Severity,
        wire::GroupBy::Day => Grouping::Day(zone.name().to_owned()),
    })
}

fn ranged(now: DateTime<Utc>, after: Option<DateTime<Utc>>, before: Option<DateTime<Utc>>) -> Filter {
    let created_after = match (after, before) {
        (None, None) => Some(now - DEFAULT_RANGE),
        (after, _) => after,
    };
    Filter { created_after, created_before: before, ..Filter::default() }
}
