//! The channels that an organization keeps: create, read, change, archive, test.

use chrono::TimeDelta;
use diesel_async::AsyncPgConnection;
use platform::ctx::{Ctx, parse_ids};
use platform::error::{Error, Result};
use platform::page::{CONFIG_SORTS, ConfigKey};
use proto::notification::v1 as wire;

use crate::addresses::{Addresses, refuse_archived};
use crate::audit;
use crate::convert;
use crate::delivery::Job;
use crate::ids::{ChannelId, TeamId};
use crate::peers::Peers;
use crate::sending::{self, Begun};
use crate::store::channels::{self, Channel, ChannelChange, Filter};
use crate::store::{self, notifications};
use crate::vault::{Row, Table};

/// Who changes channels may read their whole addresses; others see the short form.
const SEES_ADDRESSES: &str = "channels_write";
/// Channels of one organization that are not archived.
const MAX_CHANNELS: i64 = 200;
/// What tests are counted over.
const TEST_WINDOW: TimeDelta = TimeDelta::hours(1);

/// Refuses a team that auth-service does not know; call it outside of transactions.
///
/// # Errors
/// Invalid at `channel.team_id`.
pub async fn check_team(cx: &Ctx, peers: &Peers, team_id: Option<&str>) -> Result<()> {
    let Some(team_id) = team_id else { return Ok(()) };
    let team = TeamId::parse("channel.team_id", team_id)?;
    match peers.is_team(cx, team).await? {
        true => Ok(()),
        false => Err(Error::field("channel.team_id", "unknown_reference", "is no team of this organization")),
    }
}

pub async fn create(
    cx: &Ctx,
    conn: &mut AsyncPgConnection,
    addresses: &Addresses,
    input: wire::Channel,
) -> Result<wire::Channel> {
    let id = ChannelId(cx.id());
    let kind = convert::read_kind(input.kind(), "channel.kind")?;
    let place = Row { org: cx.org, table: Table::Channels, id: id.uuid() };
    let admitted = addresses.admit(place, kind, &input.address, input.secret, &cx.source);
    let admitted = admitted.map_err(|error| error.under("channel"))?;
    leave_room(cx, conn).await?;
    let secret = admitted.shown_once();
    let row = Channel {
        org_id: cx.org,
        id,
        slug: input.slug,
        name: input.name,
        team_id: team_of(input.team_id.as_deref())?,
        kind,
        address_sealed: admitted.kept.sealed,
        address_shown: admitted.kept.shown,
        address_digest: admitted.kept.digest,
        secret_sealed: admitted.secret_sealed,
        disabled: input.disabled,
        labels: convert::labels_json(input.labels),
        created_at: cx.now,
        created_by: cx.principal.id,
        updated_at: cx.now,
        updated_by: cx.principal.id,
        version: 1,
        archived_at: None,
    };
    let inserted = channels::insert_channel(conn, &row).await;
    inserted.map_err(|error| error.under("channel"))?;
    audit::write(cx, conn, "channel.created", id.uuid(), None, Some(&masked(&row))).await?;
    let warning = addresses.reach(&row).err();
    Ok(convert::channel(row, admitted.kept.plain, secret, warning))
}

pub async fn get(
    cx: &Ctx,
    conn: &mut AsyncPgConnection,
    addresses: &Addresses,
    id: &str,
) -> Result<wire::Channel> {
    let row = channels::get(conn, cx.org, ChannelId::parse("id", id)?).await?;
    Ok(match cx.principal.permissions.contains(SEES_ADDRESSES) {
        true => whole(addresses, row),
        false => short(addresses, row),
    })
}

pub async fn list(
    cx: &Ctx,
    conn: &mut AsyncPgConnection,
    addresses: &Addresses,
    request: &wire::ListChannelsRequest,
) -> Result<wire::ListChannelsResponse> {
    let page = platform::page!(request, CONFIG_SORTS, "-created_at")?;
    let filter = Filter { team_ids: parse_ids("team_id", &request.team_id)?, archived: request.archived };
    let rows = channels::list_channels(conn, cx.org, &filter, &page).await?;
    let key = |row: &Channel| ConfigKey::of(page.sort, row.created_at, &row.name, row.id.uuid());
    let (rows, next_page_token) = page.finish(rows, key)?;
    let items = rows.into_iter().map(|row| short(addresses, row)).collect();
    Ok(wire::ListChannelsResponse { items, next_page_token })
}

pub async fn update(
    cx: &Ctx,
    conn: &mut AsyncPgConnection,
    addresses: &Addresses,
    request: wire::UpdateChannelRequest,
) -> Result<wire::Channel> {
    let id = ChannelId::parse("id", &request.id)?;
    let row = channels::get_for_update(conn, cx.org, id).await?;
    cx.expect_version(row.version)?;
    refuse_archived(&row)?;
    let current = whole(addresses, row.clone());
    let (patch, mask) = (request.channel.as_ref(), request.update_mask.as_ref());
    let merged = proto::update("channel", &current, patch, mask)?;
    let kept = addresses.readdress(&row, &current.address, &merged.address);
    let kept = kept.map_err(|error| error.under("channel"))?;
    let change = ChannelChange {
        name: merged.name,
        team_id: team_of(merged.team_id.as_deref())?,
        address_sealed: kept.sealed,
        address_shown: kept.shown,
        address_digest: kept.digest,
        disabled: merged.disabled,
        labels: convert::labels_json(merged.labels),
        updated_at: cx.now,
        updated_by: cx.principal.id,
    };
    let before = masked(&row);
    let row = channels::update(conn, cx.org, id, &change).await?;
    audit::write(cx, conn, "channel.updated", id.uuid(), Some(&before), Some(&masked(&row))).await?;
    let warning = addresses.reach(&row).err();
    Ok(convert::channel(row, kept.plain, None, warning))
}

/// Archives; what refers to the channel goes on working. Twice is once.
pub async fn delete(cx: &Ctx, conn: &mut AsyncPgConnection, id: &str) -> Result<()> {
    let id = ChannelId::parse("id", id)?;
    let row = channels::get_for_update(conn, cx.org, id).await?;
    cx.expect_version(row.version)?;
    if row.archived_at.is_some() {
        return Ok(());
    }
    channels::archive(conn, cx.org, id, cx.now, cx.principal.id).await?;
    let after = masked(&channels::get(conn, cx.org, id).await?);
    audit::write(cx, conn, "channel.archived", id.uuid(), Some(&masked(&row)), Some(&after)).await
}

/// As lists show it.
fn masked(row: &Channel) -> wire::Channel {
    convert::channel(row.clone(), row.address_shown.clone(), None, None)
}

/// A test message through the channel, of which it takes `per_hour`. Start it right after the commit.
pub async fn test(
    cx: &Ctx,
    conn: &mut AsyncPgConnection,
    addresses: &Addresses,
    per_hour: u32,
    request: &wire::TestChannelRequest,
) -> Result<(wire::Notification, Begun)> {
    let id = ChannelId::parse("id", &request.id)?;
    let channel = channels::get_for_update(conn, cx.org, id).await?;
    refuse_archived(&channel)?;
    let now = cx.source.now();
    let (count, oldest) = notifications::count_tests(conn, cx.org, id, now - TEST_WINDOW).await?;
    if count >= i64::from(per_hour) {
        let wait = oldest.map_or(TEST_WINDOW, |oldest| oldest + TEST_WINDOW - now).to_std();
        let detail = format!("a channel takes {per_hour} test messages in an hour");
        return Err(Error::too_many("too_many_tests", detail).with_retry_after(wait.unwrap_or_default()));
    }
    let begun = sending::test(cx, conn, &channel, addresses).await?;
    let Job { row, message, attempt } = begun.job.clone();
    Ok((convert::notification(row, message.subject, vec![attempt]), begun))
}

/// Those of `request` that exist and are not archived.
pub async fn check(
    cx: &Ctx,
    conn: &mut AsyncPgConnection,
    request: &wire::CheckChannelsRequest,
) -> Result<wire::CheckChannelsResponse> {
    let ids: Vec<ChannelId> = parse_ids("channel_ids", &request.channel_ids)?;
    let rows = channels::find_channels(conn, cx.org, &ids).await?;
    let usable = rows.into_iter().filter(|row| row.archived_at.is_none());
    Ok(wire::CheckChannelsResponse { channel_ids: usable.map(|row| row.id.to_string()).collect() })
}

/// Waits for others who add channels, then counts.
async fn leave_room(cx: &Ctx, conn: &mut AsyncPgConnection) -> Result<()> {
    store::lock(conn, &format!("channels/{}", cx.org)).await?;
    if channels::count(conn, cx.org).await? < MAX_CHANNELS {
        return Ok(());
    }
    let detail = format!("an organization has at most {MAX_CHANNELS} channels: archive one");
    Err(Error::conflict("too_many", detail))
}

fn team_of(team_id: Option<&str>) -> Result<Option<TeamId>> {
    team_id.map(|id| TeamId::parse("channel.team_id", id)).transpose()
}

fn whole(addresses: &Addresses, row: Channel) -> wire::Channel {
    let (address, warning) = (addresses.whole(&row), addresses.reach(&row).err());
    convert::channel(row, address, None, warning)
}

fn short(addresses: &Addresses, row: Channel) -> wire::Channel {
    let (address, warning) = (row.address_shown.clone(), addresses.reach(&row).err());
    convert::channel(row, address, None, warning)
}
