//! The addresses of one person. Everybody keeps their own; who may change users may change all.

use diesel_async::AsyncPgConnection;
use platform::ctx::{Ctx, PrincipalKind};
use platform::error::{Error, Result};
use proto::notification::v1 as wire;

use crate::addresses::{Addresses, Kept};
use crate::convert;
use crate::ids::{ContactMethodId, UserId};
use crate::peers::Peers;
use crate::store::contact_methods::{self, ContactMethod, ContactMethodChange};
use crate::store::people;
use crate::vault::{Row, Table};

/// Lets a caller at the addresses of `user_id`; call it outside of transactions.
///
/// # Errors
/// NotFound for nobody of this organization; Forbidden for somebody else without `users_write`.
pub async fn authorize(cx: &Ctx, peers: &Peers, user_id: &str) -> Result<UserId> {
    let user = UserId::parse("user_id", user_id)?;
    if cx.principal.kind == PrincipalKind::User && cx.principal.id == user.uuid() {
        return Ok(user);
    }
    if peers.find_user(cx, user).await?.is_none() {
        return Err(Error::not_found("user"));
    }
    cx.require("users_write")?;
    Ok(user)
}

pub async fn create(
    cx: &Ctx,
    conn: &mut AsyncPgConnection,
    addresses: &Addresses,
    user: UserId,
    input: wire::ContactMethod,
) -> Result<wire::ContactMethod> {
    let id = ContactMethodId(cx.id());
    let kind = convert::read_kind(input.kind(), "contact_method.kind")?;
    let place = Row { org: cx.org, table: Table::ContactMethods, id: id.uuid() };
    let kept = addresses.keep(place, kind, &input.address).map_err(|error| error.under("contact_method"))?;
    let secret = addresses
        .first_secret(kind, input.secret, &cx.source)
        .map_err(|error| error.under("contact_method"))?;
    let verified_at = is_proven(cx, conn, user, &kept).await?.then_some(cx.now);
    let row = ContactMethod {
        org_id: cx.org,
        id,
        user_id: user,
        kind,
        address_sealed: kept.sealed,
        address_shown: kept.shown,
        address_digest: kept.digest,
        secret_sealed: secret
            .as_ref()
            .map(|secret| addresses.vault.seal_secret(place, secret))
            .transpose()?,
        disabled: input.disabled,
        verified_at,
        created_at: cx.now,
        created_by: cx.principal.id,
        updated_at: cx.now,
        updated_by: cx.principal.id,
        version: 1,
        archived_at: None,
    };
    let inserted = contact_methods::insert_contact_method(conn, &row).await;
    inserted.map_err(|error| error.under("contact_method"))?;
    Ok(convert::contact_method(row, kept.plain, secret.map(|secret| secret.expose().clone())))
}

pub async fn get(
    cx: &Ctx,
    conn: &mut AsyncPgConnection,
    addresses: &Addresses,
    user: UserId,
    id: &str,
) -> Result<wire::ContactMethod> {
    let id = ContactMethodId::parse("id", id)?;
    let row = contact_methods::get_contact_method(conn, cx.org, user, id).await?;
    whole(addresses, row)
}

pub async fn list(
    cx: &Ctx,
    conn: &mut AsyncPgConnection,
    user: UserId,
    request: &wire::ListContactMethodsRequest,
) -> Result<wire::ListContactMethodsResponse> {
    let page = platform::page!(request, "id")?;
    let rows = contact_methods::list_contact_methods(conn, cx.org, user, &page).await?;
    let (rows, next_page_token) = page.finish(rows, |row| row.id)?;
    let items = rows.into_iter().map(|row| {
        let shown = row.address_shown.clone();
        convert::contact_method(row, shown, None)
    });
    Ok(wire::ListContactMethodsResponse { items: items.collect(), next_page_token })
}

pub async fn update(
    cx: &Ctx,
    conn: &mut AsyncPgConnection,
    addresses: &Addresses,
    user: UserId,
    request: wire::UpdateContactMethodRequest,
) -> Result<wire::ContactMethod> {
    let id = ContactMethodId::parse("id", &request.id)?;
    let row = contact_methods::get_contact_method_for_update(conn, cx.org, user, id).await?;
    cx.expect_version(row.version)?;
    refuse_ended(&row)?;
    let (kind, place, digest, verified_at) =
        (row.kind, place_of(&row), row.address_digest.clone(), row.verified_at);
    let current = whole(addresses, row)?;
    let (patch, mask) = (request.contact_method.as_ref(), request.update_mask.as_ref());
    let merged = proto::update("contact_method", &current, patch, mask)?;
    let kept = addresses.keep(place, kind, &merged.address).map_err(|error| error.under("contact_method"))?;
    // Proof is of one address: another one needs its own.
    let verified_at = match kept.digest == digest {
        true => verified_at,
        false => is_proven(cx, conn, user, &kept).await?.then_some(cx.now),
    };
    let change = ContactMethodChange {
        address_sealed: kept.sealed,
        address_shown: kept.shown,
        address_digest: kept.digest,
        disabled: merged.disabled,
        verified_at,
        updated_at: cx.now,
        updated_by: cx.principal.id,
    };
    let row = contact_methods::update_contact_method(conn, cx.org, id, &change).await;
    let row = row.map_err(|error| error.under("contact_method"))?;
    Ok(convert::contact_method(row, kept.plain, None))
}

/// Ends the method. Twice is once.
pub async fn delete(cx: &Ctx, conn: &mut AsyncPgConnection, user: UserId, id: &str) -> Result<()> {
    let id = ContactMethodId::parse("id", id)?;
    let row = contact_methods::get_contact_method_for_update(conn, cx.org, user, id).await?;
    cx.expect_version(row.version)?;
    if row.archived_at.is_some() {
        return Ok(());
    }
    contact_methods::archive_contact_method(conn, cx.org, id, cx.now, cx.principal.id).await
}

/// Whether the address is the one that the account was registered with.
async fn is_proven(cx: &Ctx, conn: &mut AsyncPgConnection, user: UserId, kept: &Kept) -> Result<bool> {
    let people = people::find_people(conn, cx.org, &[user]).await?;
    Ok(people.iter().any(|person| person.verified_digest.as_ref() == Some(&kept.digest)))
}

fn refuse_ended(row: &ContactMethod) -> Result<()> {
    match row.archived_at {
        Some(_) => Err(Error::conflict("archived", "the contact method has ended")),
        None => Ok(()),
    }
}

fn place_of(row: &ContactMethod) -> Row {
    Row { org: row.org_id, table: Table::ContactMethods, id: row.id.uuid() }
}

fn whole(addresses: &Addresses, row: ContactMethod) -> Result<wire::ContactMethod> {
    let address = addresses.vault.open_address(place_of(&row), &row.address_sealed)?;
    Ok(convert::contact_method(row, address, None))
}
