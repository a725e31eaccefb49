//! Summary and MTTR.

use std::collections::BTreeMap;

use chrono::{DateTime, TimeDelta, Utc};
use diesel_async::AsyncPgConnection;
use platform::ctx::{Ctx, parse_ids};
use platform::error::{Error, Result};
use proto::analytics::v1 as wire;
use uuid::Uuid;

use crate::convert;
use crate::kinds::Severity;
use crate::store::{self, CountRow, Filter, Grouping};

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
        urgencies: convert::urgencies(&request.urgency),
        auto_resolved: request.auto_resolved,
        ..ranged(
            cx.now,
            convert::time(request.created_after.as_ref()),
            convert::time(request.created_before.as_ref()),
        )
    };
    Ok(sum(&store::counts(conn, cx.org, &filter).await?))
}

fn sum(rows: &[CountRow]) -> wire::Summary {
    let mut summary = wire::Summary::default();
    let mut by_severity: BTreeMap<Severity, wire::SeverityCount> = BTreeMap::new();
    let mut by_service: BTreeMap<Uuid, wire::ServiceCount> = BTreeMap::new();
    for row in rows {
        let open = row.triggered + row.acknowledged;
        summary.total += row.total;
        summary.triggered += row.triggered;
        summary.acknowledged += row.acknowledged;
        summary.resolved += row.resolved;
        summary.open += open;
        let severity = by_severity.entry(row.severity).or_default();
        severity.severity = row.severity.wire();
        severity.total += row.total;
        severity.open += open;
        severity.resolved += row.resolved;
        let service = by_service.entry(row.service_id).or_default();
        // The last row has the name that it bears now.
        service.service = Some(convert::service(row));
        service.total += row.total;
        service.open += open;
        service.resolved += row.resolved;
    }
    summary.by_severity = by_severity.into_values().collect();
    summary.by_service = by_service.into_values().collect();
    summary
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
    let rows = store::statistics(conn, cx.org, &filter, &grouping).await;
    let mut rows = rows.map_err(|error| or_unknown_zone(error, &grouping))?;
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
    let zone: chrono_tz::Tz = zone.parse().map_err(|_| unknown_zone(zone))?;
    Ok(match request.group_by() {
        wire::GroupBy::Unspecified => Grouping::None,
        wire::GroupBy::Service => Grouping::Service,
        wire::GroupBy::Team => Grouping::Team,
        wire::GroupBy::Severity => Grouping::Severity,
        wire::GroupBy::Day => Grouping::Day(zone.name().to_owned()),
    })
}

fn unknown_zone(zone: &str) -> Error {
    Error::field("time_zone", "unknown_time_zone", format!("{zone} is no IANA time zone"))
}

/// The database works with the zones of its machine, which may lack old names.
fn or_unknown_zone(error: Error, grouping: &Grouping) -> Error {
    match grouping {
        Grouping::Day(zone) if error.chain().contains(&format!("time zone \"{zone}\" not recognized")) => {
            unknown_zone(zone)
        }
        _ => error,
    }
}

fn ranged(now: DateTime<Utc>, after: Option<DateTime<Utc>>, before: Option<DateTime<Utc>>) -> Filter {
    let created_after = match (after, before) {
        (None, None) => Some(now - DEFAULT_RANGE),
        (after, _) => after,
    };
    Filter { created_after, created_before: before, ..Filter::default() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_zone_that_only_the_database_does_not_know_is_the_callers_fault() {
        let grouping = Grouping::Day("US/Pacific".to_owned());
        let of_zone = Error::internal("ERROR: time zone \"US/Pacific\" not recognized");
        assert_eq!(or_unknown_zone(of_zone, &grouping).code, "unknown_time_zone");
        let other = Error::internal("ERROR: column \"zone\" does not exist");
        assert_eq!(or_unknown_zone(other, &grouping).code, "internal");
    }

    #[test]
    fn totals_are_the_sums_of_their_parts() {
        let source = platform::source::Source::fixed(1, DateTime::UNIX_EPOCH);
        let (one, two) = (source.id(), source.id());
        let row = |severity, service_id, service_name: &str, triggered, resolved| CountRow {
            severity,
            service_id,
            service_name: service_name.to_owned(),
            total: triggered + resolved,
            triggered,
            acknowledged: 0,
            resolved,
        };
        let summary = sum(&[
            row(Severity::Low, one, "Shop", 1, 2),
            row(Severity::Critical, two, "Mail", 0, 4),
            row(Severity::Critical, one, "Store", 3, 0),
        ]);
        assert_eq!((summary.total, summary.triggered, summary.open, summary.resolved), (10, 4, 4, 6));
        let by_severity = summary.by_severity.iter().map(|part| (part.severity, part.total));
        assert_eq!(
            by_severity.collect::<Vec<_>>(),
            [(Severity::Critical.wire(), 7), (Severity::Low.wire(), 3)]
        );
        let name = |part: &wire::ServiceCount| part.service.as_ref().map(|service| service.name.clone());
        let by_service = summary.by_service.iter().map(|part| (name(part), part.total, part.open));
        assert_eq!(
            by_service.collect::<Vec<_>>(),
            [(Some("Store".into()), 6, 4), (Some("Mail".into()), 4, 0)]
        );
    }
}
