//! The channels that an organization keeps: create, read, change, archive, test.

use diesel_async::AsyncPgConnection;
use platform::ctx::{Ctx, parse_ids};
use platform::error::{Error, Result};
use platform::leased::Claim;
use platform::page::{CONFIG_SORTS, ConfigKey};
use proto::notification::v1 as wire;

use crate::addresses::Addresses;
use crate::convert;
use crate::ids::{ChannelId, TeamId};
use crate::peers::Peers;
use crate::sending;
use crate::store::channels::{self, Channel, ChannelChange, Filter};
use crate::vault::{Row, Table};

/// Who changes channels may read their whole addresses; others see the short form.
const SEES_ADDRESSES: &str = "channels_write";

/// Refuses a team that auth-service does not know; call it outside of transactions.
///
/// # Errors
/// Invalid at `channel.team_id`.
pub async fn check_team(cx: &Ctx, peers: &Peers, team_id: Option<&str>) -> Result<()> {
    let Some(team_id) = team_id else { return Ok(()) };
    let team = TeamId::parse("channel.team_id", team_id)?;
    match peers.is_team(cx, team).await? {
        true => Ok(()),
        false => Err(Error::field("channel.team_id", "invalid_reference", "is no team of this organization")),
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
    let kept = addresses.keep(place, kind, &input.address).map_err(|error| error.under("channel"))?;
    let secret =
        addresses.first_secret(kind, input.secret, &cx.source).map_err(|error| error.under("channel"))?;
    let row = Channel {
        org_id: cx.org,
        id,
        slug: input.slug,
        name: input.name,
        team_id: team_of(input.team_id.as_deref())?,
        kind,
        address_sealed: kept.sealed,
        address_shown: kept.shown,
        address_digest: kept.digest,
        secret_sealed: secret
            .as_ref()
            .map(|secret| addresses.vault.seal_secret(place, secret))
            .transpose()?,
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
    Ok(convert::channel(row, kept.plain, secret.map(|secret| secret.expose().clone())))
}

pub async fn get(
    cx: &Ctx,
    conn: &mut AsyncPgConnection,
    addresses: &Addresses,
    id: &str,
) -> Result<wire::Channel> {
    let row = channels::get_channel(conn, cx.org, ChannelId::parse("id", id)?).await?;
    whole(cx, addresses, row)
}

pub async fn list(
    cx: &Ctx,
    conn: &mut AsyncPgConnection,
    request: &wire::ListChannelsRequest,
) -> Result<wire::ListChannelsResponse> {
    let page = platform::page!(request, CONFIG_SORTS, "-created_at")?;
    let filter = Filter { team_ids: parse_ids("team_id", &request.team_id)?, archived: request.archived };
    let rows = channels::list_channels(conn, cx.org, &filter, &page).await?;
    let key = |row: &Channel| ConfigKey::of(page.sort, row.created_at, &row.name, row.id.uuid());
    let (rows, next_page_token) = page.finish(rows, key)?;
    let items = rows.into_iter().map(short).collect();
    Ok(wire::ListChannelsResponse { items, next_page_token })
}

pub async fn update(
    cx: &Ctx,
    conn: &mut AsyncPgConnection,
    addresses: &Addresses,
    request: wire::UpdateChannelRequest,
) -> Result<wire::Channel> {
    let id = ChannelId::parse("id", &request.id)?;
    let row = channels::get_channel_for_update(conn, cx.org, id).await?;
    cx.expect_version(row.version)?;
    refuse_archived(&row)?;
    let (kind, place) = (row.kind, place_of(&row));
    let current = whole(cx, addresses, row)?;
    let (patch, mask) = (request.channel.as_ref(), request.update_mask.as_ref());
    let merged = proto::update("channel", &current, patch, mask)?;
    let kept = addresses.keep(place, kind, &merged.address).map_err(|error| error.under("channel"))?;
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
    let row = channels::update_channel(conn, cx.org, id, &change).await?;
    Ok(convert::channel(row, kept.plain, None))
}

/// Archives; what refers to the channel goes on working. Twice is once.
pub async fn delete(cx: &Ctx, conn: &mut AsyncPgConnection, id: &str) -> Result<()> {
    let id = ChannelId::parse("id", id)?;
    let row = channels::get_channel_for_update(conn, cx.org, id).await?;
    cx.expect_version(row.version)?;
    if row.archived_at.is_some() {
        return Ok(());
    }
    channels::archive_channel(conn, cx.org, id, cx.now, cx.principal.id).await
}

/// A test message through the channel. The claim is for right after the commit.
pub async fn test(
    cx: &Ctx,
    conn: &mut AsyncPgConnection,
    request: &wire::TestChannelRequest,
) -> Result<(wire::Notification, Claim)> {
    let id = ChannelId::parse("id", &request.id)?;
    let channel = channels::get_channel_for_update(conn, cx.org, id).await?;
    refuse_archived(&channel)?;
    let (row, message, attempt, claim) = sending::test(cx, conn, &channel).await?;
    Ok((convert::notification(row, message.subject, vec![attempt]), claim))
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

fn refuse_archived(row: &Channel) -> Result<()> {
    match row.archived_at {
        Some(_) => Err(Error::conflict("archived", "the channel is archived")),
        None => Ok(()),
    }
}

fn team_of(team_id: Option<&str>) -> Result<Option<TeamId>> {
    team_id.map(|id| TeamId::parse("channel.team_id", id)).transpose()
}

fn place_of(row: &Channel) -> Row {
    Row { org: row.org_id, table: Table::Channels, id: row.id.uuid() }
}

fn whole(cx: &Ctx, addresses: &Addresses, row: Channel) -> Result<wire::Channel> {
    if !cx.principal.permissions.contains(SEES_ADDRESSES) {
        return Ok(short(row));
    }
    let address = addresses.vault.open_address(place_of(&row), &row.address_sealed)?;
    Ok(convert::channel(row, address, None))
}

fn short(row: Channel) -> wire::Channel {
    let shown = row.address_shown.clone();
    convert::channel(row, shown, None)
}
