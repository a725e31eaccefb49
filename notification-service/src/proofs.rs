//! That an email address belongs to its person: a code is mailed there, and whoever enters it has read it.
//! The code is made of its message and the deployment's secret; no table, log or answer has it.

use chrono::{DateTime, TimeDelta, Utc};
use diesel_async::AsyncPgConnection;
use platform::ctx::Ctx;
use platform::db::Db;
use platform::error::{Error, Result};
use platform::secret::{self, sha256_hex};
use proto::notification::v1 as wire;

use crate::addresses::{Addresses, refuse_archived};
use crate::delivery::Job;
use crate::ids::{ContactMethodId, UserId};
use crate::kinds::Kind;
use crate::sending::{self, Begun};
use crate::store::codes::{self, Code};
use crate::store::contact_methods::{self, ContactMethod};
use crate::store::messages::{self, Message};
use crate::store::{self, people};
use crate::{audit, convert};

/// Where the text of a message has the code.
pub const PLACE: &str = "{code}";
/// How long a code is good.
pub const VALID: TimeDelta = TimeDelta::minutes(15);
/// How often a code may be tried.
const MAX_TRIES: i32 = 5;
/// Why a mail with a code that proves nothing any more is not sent.
pub const OVER: &str = "the code is not good any more";
/// The shortest time between two codes to one address, whoever asks for them.
const PAUSE: TimeDelta = TimeDelta::minutes(1);
/// Codes that are mailed to one address in a [`WINDOW`], whichever organizations ask for them.
const MAX_TO_ADDRESS: usize = 5;
/// Codes that one organization has mailed in a [`WINDOW`]: the mail server is everybody's.
const MAX_CODES: usize = 10;
/// Those of them that one person has: the others are their colleagues'.
const MAX_OF_USER: usize = 3;
pub const WINDOW: TimeDelta = TimeDelta::hours(1);

/// A code on its way to the address. Start it right after the commit.
///
/// # Errors
/// Invalid `not_needed`; Conflict `already_verified`, `archived`, `no_mail_server`; TooMany
/// `too_many_codes`.
pub async fn send(
    cx: &Ctx,
    conn: &mut AsyncPgConnection,
    addresses: &Addresses,
    user: UserId,
    id: &str,
) -> Result<(wire::Notification, Begun)> {
    let id = ContactMethodId::parse("id", id)?;
    let method = contact_methods::get_for_update(conn, cx.org, id).await?;
    let method = unproven(crate::contact_methods::of_user(method, user)?)?;
    if let Some(why) = addresses.ways.of(Kind::Email).hindrance() {
        return Err(Error::conflict("no_mail_server", why));
    }
    leave_room(cx, conn, &method).await?;
    let people = people::find_people(conn, cx.org, &[user]).await?;
    let name = people.into_iter().map(|person| person.name).find(|name| !name.is_empty());
    let name = name.unwrap_or_else(|| method.address_shown.clone());
    let begun = sending::code(cx, conn, &method, name, addresses).await?;
    let Job { row, message, attempt } = begun.job.clone();
    let (sent_at, message_id) = (message.created_at, message.id);
    let code = Code {
        org_id: cx.org,
        contact_method_id: id,
        message_id,
        tries: 0,
        sent_at,
        expires_at: sent_at + VALID,
    };
    codes::upsert_code(conn, &code).await?;
    codes::insert_mail(conn, &method.address_digest, sent_at).await?;
    Ok((convert::notification(row, message.subject, vec![attempt]), begun))
}

/// Counts a try of `given` and says whether it is the code. The try is committed whatever follows; call it
/// outside of transactions, before [`accept`].
///
/// # Errors
/// Those of [`send`] about the method; Conflict `code_expired`; Invalid `wrong_code` at field `code`.
pub async fn check(
    cx: &Ctx,
    db: &Db,
    addresses: &Addresses,
    user: UserId,
    request: &wire::VerifyContactMethodRequest,
) -> Result<()> {
    let id = ContactMethodId::parse("id", &request.id)?;
    let code = platform::tx!(db, cx, |conn| {
        let method = contact_methods::get(conn, cx.org, id).await?;
        unproven(crate::contact_methods::of_user(method, user)?)?;
        codes::try_code(conn, cx.org, id, cx.source.now(), MAX_TRIES).await
    })?;
    let code = code.ok_or_else(expired)?;
    let right = addresses.vault.code(cx.org, code.message_id.uuid());
    if secret::same(right.expose().as_bytes(), request.code.as_bytes()) {
        return Ok(());
    }
    let detail = match MAX_TRIES - code.tries {
        0 => "is wrong, and was the last try: ask for a new one".to_owned(),
        left => format!("is wrong; tries left: {left}"),
    };
    Err(Error::field("code", "wrong_code", detail))
}

/// The address is proven by the code that [`check`] has found right, unless it has changed since.
pub async fn accept(
    cx: &Ctx,
    conn: &mut AsyncPgConnection,
    addresses: &Addresses,
    user: UserId,
    request: &wire::VerifyContactMethodRequest,
) -> Result<wire::ContactMethod> {
    let id = ContactMethodId::parse("id", &request.id)?;
    let before = contact_methods::get_for_update(conn, cx.org, id).await?;
    cx.expect_version(before.version)?;
    let before = unproven(crate::contact_methods::of_user(before, user)?)?;
    let code = codes::find_code(conn, cx.org, id).await?.ok_or_else(expired)?;
    let right = addresses.vault.code(cx.org, code.message_id.uuid());
    if !secret::same(right.expose().as_bytes(), request.code.as_bytes()) {
        return Err(expired());
    }
    codes::delete_code(conn, cx.org, id).await?;
    let row = contact_methods::prove(conn, cx.org, id, cx.now, cx.principal.id).await?;
    let masked = crate::contact_methods::masked;
    let action = "contact_method.verified";
    audit::write(cx, conn, action, id.uuid(), Some(&masked(&before)), Some(&masked(&row))).await?;
    Ok(crate::contact_methods::whole(addresses, row))
}

/// A method that a code can prove.
fn unproven(method: ContactMethod) -> Result<ContactMethod> {
    refuse_archived(&method)?;
    if method.kind != Kind::Email {
        return Err(Error::invalid("not_needed", "only email addresses are verified"));
    }
    match method.verified_at {
        Some(_) => Err(Error::conflict("already_verified", "the address is verified")),
        None => Ok(method),
    }
}

/// Whether the code that `message` carries is the one that proves `method`.
pub async fn is_good(
    cx: &Ctx,
    conn: &mut AsyncPgConnection,
    message: &Message,
    method: Option<ContactMethodId>,
) -> Result<bool> {
    let Some(method) = method else { return Ok(false) };
    let code = codes::find_code(conn, cx.org, method).await?;
    Ok(code.is_some_and(|code| {
        code.message_id == message.id && code.tries < MAX_TRIES && cx.source.now() < code.expires_at
    }))
}

/// Conflict `code_expired`.
pub fn expired() -> Error {
    Error::conflict("code_expired", "no code is good any more: ask for a new one (send-code)")
}

/// Waits for others who ask for codes, then counts.
async fn leave_room(cx: &Ctx, conn: &mut AsyncPgConnection, method: &ContactMethod) -> Result<()> {
    let (now, digest) = (cx.source.now(), &method.address_digest);
    store::lock(conn, &format!("codes/{}", cx.org)).await?;
    let ours = messages::find_codes(conn, cx.org, now - WINDOW).await?;
    let user = Some(method.user_id);
    let of_user = ours.iter().filter(|(of, _)| *of == user).map(|(_, at)| *at).collect();
    bound(now, of_user, MAX_OF_USER, "a person is mailed")?;
    bound(now, ours.into_iter().map(|(_, at)| at).collect(), MAX_CODES, "an organization is mailed")?;
    // Always after the organization's: who holds it waits for nobody.
    store::lock(conn, &format!("codes/to/{}", sha256_hex(digest))).await?;
    let to_address = codes::find_mails(conn, digest, now - WINDOW).await?;
    if let Some(last) = to_address.iter().max()
        && now < *last + PAUSE
    {
        return Err(too_many(*last + PAUSE - now, "an address is mailed one code a minute"));
    }
    bound(now, to_address, MAX_TO_ADDRESS, "an address is mailed")
}

/// Refuses when as many as `most` codes were mailed at these times of the last [`WINDOW`].
fn bound(now: DateTime<Utc>, mut mailed: Vec<DateTime<Utc>>, most: usize, who: &str) -> Result<()> {
    mailed.sort_unstable();
    let Some(first) = mailed.len().checked_sub(most).and_then(|at| mailed.get(at)) else { return Ok(()) };
    Err(too_many(*first + WINDOW - now, &format!("{who} {most} codes an hour")))
}

fn too_many(wait: TimeDelta, detail: &str) -> Error {
    Error::too_many("too_many_codes", detail).with_retry_after(wait.to_std().unwrap_or_default())
}
