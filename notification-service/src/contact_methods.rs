//! The addresses of one person. Everybody keeps their own; who may change users may change all.

use diesel_async::AsyncPgConnection;
use platform::ctx::{Ctx, PrincipalKind};
use platform::error::{Error, Result};
use proto::notification::v1 as wire;

use crate::addresses::{Addresses, Kept, refuse_archived};
use crate::audit;
use crate::convert;
use crate::ids::{ContactMethodId, UserId};
use crate::peers::Peers;
use crate::store;
use crate::store::contact_methods::{self, ContactMethod, ContactMethodChange};
use crate::store::people;
use crate::vault::{Row, Table};

/// Methods of one person that have not ended.
const MAX_METHODS: i64 = 20;

/// Lets a caller at the addresses of `user_id`; call it outside of transactions.
///
/// # Errors
/// NotFound for nobody of this organization; Forbidden for somebody else without `users_write`.
pub async fn authorize(cx: &Ctx, peers: &Peers, user_id: &str) -> Result<UserId> {
    let user = UserId::parse("user_id", user_id)?;
    if cx.principal.kind == PrincipalKind::User && cx.principal.id == user.uuid() {
        return Ok(user);
    }
    // Of a disabled account too: whoever may change it puts its addresses in order.
    if !peers.is_user(cx, user).await? {
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
    let admitted = addresses.admit(place, kind, &input.address, input.secret, &cx.source);
    let admitted = admitted.map_err(|error| error.under("contact_method"))?;
    leave_room(cx, conn, user).await?;
    let verified_at = is_proven(cx, conn, user, &admitted.kept).await?.then_some(cx.now);
    let secret = admitted.shown_once();
    let row = ContactMethod {
        org_id: cx.org,
        id,
        user_id: user,
        kind,
        address_sealed: admitted.kept.sealed,
        address_shown: admitted.kept.shown,
        address_digest: admitted.kept.digest,
        secret_sealed: admitted.secret_sealed,
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
    audit::write(cx, conn, "contact_method.created", id.uuid(), None, Some(&masked(&row))).await?;
    let warning = addresses.reach(&row).err();
    Ok(convert::contact_method(row, admitted.kept.plain, secret, warning))
}

pub async fn get(
    cx: &Ctx,
    conn: &mut AsyncPgConnection,
    addresses: &Addresses,
    user: UserId,
    id: &str,
) -> Result<wire::ContactMethod> {
    let row = contact_methods::get(conn, cx.org, ContactMethodId::parse("id", id)?).await?;
    Ok(whole(addresses, of_user(row, user)?))
}

pub async fn list(
    cx: &Ctx,
    conn: &mut AsyncPgConnection,
    addresses: &Addresses,
    user: UserId,
    request: &wire::ListContactMethodsRequest,
) -> Result<wire::ListContactMethodsResponse> {
    let page = platform::page!(request, "id")?;
    let rows = contact_methods::list_contact_methods(conn, cx.org, user, &page).await?;
    let (rows, next_page_token) = page.finish(rows, |row| row.id)?;
    let items = rows.into_iter().map(|row| {
        let (shown, warning) = (row.address_shown.clone(), addresses.reach(&row).err());
        convert::contact_method(row, shown, None, warning)
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
    let row = of_user(contact_methods::get_for_update(conn, cx.org, id).await?, user)?;
    cx.expect_version(row.version)?;
    refuse_archived(&row)?;
    let current = whole(addresses, row.clone());
    let (patch, mask) = (request.contact_method.as_ref(), request.update_mask.as_ref());
    let merged = proto::update("contact_method", &current, patch, mask)?;
    let kept = addresses.readdress(&row, &current.address, &merged.address);
    let kept = kept.map_err(|error| error.under("contact_method"))?;
    // Proof is of one address: another one needs its own.
    if kept.digest != row.address_digest {
        store::codes::delete_code(conn, cx.org, id).await?;
    }
    let verified_at = match row.verified_at.filter(|_| kept.digest == row.address_digest) {
        Some(at) => Some(at),
        None => is_proven(cx, conn, user, &kept).await?.then_some(cx.now),
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
    let before = masked(&row);
    let row = contact_methods::update(conn, cx.org, id, &change).await;
    let row = row.map_err(|error| error.under("contact_method"))?;
    audit::write(cx, conn, "contact_method.updated", id.uuid(), Some(&before), Some(&masked(&row))).await?;
    let warning = addresses.reach(&row).err();
    Ok(convert::contact_method(row, kept.plain, None, warning))
}

/// Ends the method. Twice is once.
pub async fn delete(cx: &Ctx, conn: &mut AsyncPgConnection, user: UserId, id: &str) -> Result<()> {
    let id = ContactMethodId::parse("id", id)?;
    let row = of_user(contact_methods::get_for_update(conn, cx.org, id).await?, user)?;
    cx.expect_version(row.version)?;
    if row.archived_at.is_some() {
        return Ok(());
    }
    contact_methods::archive(conn, cx.org, id, cx.now, cx.principal.id).await?;
    let after = masked(&contact_methods::get(conn, cx.org, id).await?);
    audit::write(cx, conn, "contact_method.archived", id.uuid(), Some(&masked(&row)), Some(&after)).await
}

/// As lists show it.
pub fn masked(row: &ContactMethod) -> wire::ContactMethod {
    convert::contact_method(row.clone(), row.address_shown.clone(), None, None)
}

/// Whether the address is the one that the account was registered with.
async fn is_proven(cx: &Ctx, conn: &mut AsyncPgConnection, user: UserId, kept: &Kept) -> Result<bool> {
    let people = people::find_people(conn, cx.org, &[user]).await?;
    Ok(people.iter().any(|person| person.verified_digest.as_ref() == Some(&kept.digest)))
}

/// Waits for others who add methods of the person, then counts.
async fn leave_room(cx: &Ctx, conn: &mut AsyncPgConnection, user: UserId) -> Result<()> {
    store::lock(conn, &format!("contact-methods/{}/{user}", cx.org)).await?;
    if contact_methods::count(conn, cx.org, user).await? < MAX_METHODS {
        return Ok(());
    }
    let detail = format!("a person has at most {MAX_METHODS} contact methods: delete one");
    Err(Error::conflict("too_many", detail))
}

/// The row, when it is this person's.
pub fn of_user(row: ContactMethod, user: UserId) -> Result<ContactMethod> {
    if row.user_id == user { Ok(row) } else { Err(Error::not_found("contact method")) }
}

/// As its person reads it.
pub fn whole(addresses: &Addresses, row: ContactMethod) -> wire::ContactMethod {
    let (address, warning) = (addresses.whole(&row), addresses.reach(&row).err());
    convert::contact_method(row, address, None, warning)
}
