//! Messages to one destination that belong to no incident: nothing cancels them and nobody's timeline
//! has them.

use chrono::TimeDelta;
use diesel_async::AsyncPgConnection;
use platform::ctx::Ctx;
use platform::error::{Error, Result};

use super::plan::{self, Begun};
use super::request::Request;
use super::{insert, known};
use crate::addresses::Addresses;
use crate::store::channels::Channel;
use crate::store::contact_methods::ContactMethod;
use crate::targets::{Resolved, Told, Way};

/// A delivery that only shows that `channel` works; start it right after the commit.
///
/// # Errors
/// Those of the database.
pub async fn test(
    cx: &Ctx,
    conn: &mut AsyncPgConnection,
    channel: &Channel,
    addresses: &Addresses,
) -> Result<Begun> {
    let way = known::way_of(channel, addresses);
    let told = Told { way, user: None, names: vec![channel.name.clone()] };
    single(cx, conn, &Request::test(cx, channel), told).await
}

/// A delivery of a code to `method`, whose address need not be proven for that; start it right after the
/// commit.
///
/// # Errors
/// Those of the database.
pub async fn code(
    cx: &Ctx,
    conn: &mut AsyncPgConnection,
    method: &ContactMethod,
    name: String,
    addresses: &Addresses,
) -> Result<Begun> {
    let way = Way { to: addresses.open(method), ..known::way_of(method, addresses) };
    let told = Told { way, user: Some(method.user_id), names: vec![name] };
    single(cx, conn, &Request::code(cx), told).await
}

async fn single(cx: &Ctx, conn: &mut AsyncPgConnection, request: &Request, told: Told) -> Result<Begun> {
    let resolved = Resolved { told: vec![told], left_out: Vec::new() };
    let message = plan::message(cx, request, true);
    if !crate::store::messages::insert_message(conn, &message).await? {
        return Err(Error::internal("the key of a message was used before"));
    }
    let mut plan = insert(cx, conn, request, message, &resolved, TimeDelta::zero()).await?;
    plan.begun.pop().ok_or_else(|| Error::internal("such a message waits for nothing"))
}
