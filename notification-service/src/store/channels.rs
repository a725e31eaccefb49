use chrono::{DateTime, Utc};
use diesel::prelude::*;
use diesel_async::{AsyncPgConnection, RunQueryDsl};
use platform::ctx::OrgId;
use platform::error::{Error, Result};
use platform::page::{ConfigKey, Page};
use uuid::Uuid;

use crate::ids::{ChannelId, TeamId};
use crate::kinds::Kind;
use crate::schema::channels;

/// A destination of an organization or a team.
#[derive(Clone, Debug, Queryable, Selectable, Insertable)]
#[diesel(table_name = channels, check_for_backend(diesel::pg::Pg))]
pub struct Channel {
    pub org_id: OrgId,
    pub id: ChannelId,
    pub slug: String,
    pub name: String,
    pub team_id: Option<TeamId>,
    pub kind: Kind,
    pub address_sealed: Vec<u8>,
    pub address_shown: String,
    pub address_digest: Vec<u8>,
    pub secret_sealed: Option<Vec<u8>>,
    pub disabled: bool,
    pub labels: serde_json::Value,
    pub created_at: DateTime<Utc>,
    pub created_by: Uuid,
    pub updated_at: DateTime<Utc>,
    pub updated_by: Uuid,
    pub version: i64,
    pub archived_at: Option<DateTime<Utc>>,
}

/// What a change may touch; the version goes up by one with it.
#[derive(Clone, Debug, AsChangeset)]
#[diesel(table_name = channels, treat_none_as_null = true)]
pub struct ChannelChange {
    pub name: String,
    pub team_id: Option<TeamId>,
    pub address_sealed: Vec<u8>,
    pub address_shown: String,
    pub address_digest: Vec<u8>,
    pub disabled: bool,
    pub labels: serde_json::Value,
    pub updated_at: DateTime<Utc>,
    pub updated_by: Uuid,
}

/// Which channels a list shows.
#[derive(Clone, Debug, Default)]
pub struct Filter {
    pub team_ids: Vec<TeamId>,
    pub archived: bool,
}

pub async fn insert_channel(conn: &mut AsyncPgConnection, row: &Channel) -> Result<()> {
    diesel::insert_into(channels::table).values(row).execute(conn).await?;
    Ok(())
}

destinations!(channels, Channel, ChannelChange, ChannelId, "channel");

/// Those of `ids` that exist, archived ones too: what refers to them goes on working.
pub async fn find_channels(
    conn: &mut AsyncPgConnection,
    org: OrgId,
    ids: &[ChannelId],
) -> Result<Vec<Channel>> {
    if ids.is_empty() {
        return Ok(Vec::new());
    }
    let rows = channels::table
        .filter(channels::org_id.eq(org).and(channels::id.eq_any(ids)))
        .select(Channel::as_select())
        .load(conn)
        .await?;
    Ok(rows)
}

/// The channels of these teams that are not archived.
pub async fn find_team_channels(
    conn: &mut AsyncPgConnection,
    org: OrgId,
    teams: &[TeamId],
) -> Result<Vec<Channel>> {
    if teams.is_empty() {
        return Ok(Vec::new());
    }
    let rows = channels::table
        .filter(channels::org_id.eq(org).and(channels::team_id.eq_any(teams)))
        .filter(channels::archived_at.is_null())
        .order(channels::id)
        .select(Channel::as_select())
        .load(conn)
        .await?;
    Ok(rows)
}

/// One page of channels.
pub async fn list_channels(
    conn: &mut AsyncPgConnection,
    org: OrgId,
    filter: &Filter,
    page: &Page<ConfigKey>,
) -> Result<Vec<Channel>> {
    let mut query =
        channels::table.filter(channels::org_id.eq(org)).select(Channel::as_select()).into_boxed();
    if !filter.archived {
        query = query.filter(channels::archived_at.is_null());
    }
    if !filter.team_ids.is_empty() {
        query = query.filter(channels::team_id.eq_any(&filter.team_ids));
    }
    Ok(platform::config_list!(query, channels, page).load(conn).await?)
}

/// How many channels the organization has that are not archived.
pub async fn count(conn: &mut AsyncPgConnection, org: OrgId) -> Result<i64> {
    let live = channels::table.filter(channels::org_id.eq(org).and(channels::archived_at.is_null()));
    Ok(live.count().get_result(conn).await?)
}
