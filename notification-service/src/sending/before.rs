//! What the same request has made before: a later try adds to it.

use diesel_async::AsyncPgConnection;
use platform::ctx::Ctx;
use platform::error::Result;
use platform::leased::{self, Work};
use serde_json::Value;

use super::request::Request;
use crate::delivery::Deliverer;
use crate::store::messages::{self, Message};
use crate::store::notifications::{self, Notification};
use crate::targets::Told;

/// The message of a request and what it has become so far: `new` itself and nothing, or what the same key
/// has made before, which then nobody else adds to until the transaction ends.
pub async fn begin(conn: &mut AsyncPgConnection, new: Message) -> Result<(Message, Vec<Notification>)> {
    if messages::insert_message(conn, &new).await? {
        return Ok((new, Vec::new()));
    }
    let message = messages::get_by_key_for_update(conn, new.org_id, &new.send_key).await?;
    let rows = notifications::find_by_message(conn, message.org_id, message.id).await?;
    Ok((message, rows))
}

/// Those of `told` whose address has the word already are named by the delivery that went there.
pub async fn name(
    conn: &mut AsyncPgConnection,
    request: &Request,
    before: &mut [Notification],
    told: &[Told],
) -> Result<()> {
    for row in before.iter_mut().filter(|row| !row.was_overtaken_at_birth()) {
        let mut recipient = row.recipient.clone();
        for name in told.iter().filter(|told| request.has_told(row, told)).flat_map(|told| &told.names) {
            if !is_named(&recipient, name) {
                recipient = format!("{recipient}, {name}");
            }
        }
        if recipient != row.recipient {
            row.recipient = recipient;
            notifications::set_recipient(conn, row).await?;
        }
    }
    Ok(())
}

/// `notes` of a try that tells nobody new wait in a row of an earlier one: best in one that has ended,
/// which has nothing else to wait for.
pub async fn owe(
    cx: &Ctx,
    conn: &mut AsyncPgConnection,
    before: &[Notification],
    notes: &Value,
) -> Result<()> {
    let ended = before.iter().find(|row| row.ended_at.is_some());
    let Some(row) = ended.or(before.last()) else { return Ok(()) };
    notifications::owe(conn, row, notes, cx.source.now()).await?;
    leased::wake_on_commit(conn, Deliverer::TABLE);
    Ok(())
}

/// Whether `recipient`, names with commas between, has this one.
fn is_named(recipient: &str, name: &str) -> bool {
    format!(", {recipient}, ").contains(&format!(", {name}, "))
}
