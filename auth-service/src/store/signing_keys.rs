use chrono::{DateTime, Utc};
use diesel::prelude::*;
use diesel_async::{AsyncPgConnection, RunQueryDsl};
use platform::error::Result;

use crate::schema::signing_keys;

#[derive(Clone, Queryable, Selectable, Insertable)]
#[diesel(table_name = signing_keys, check_for_backend(diesel::pg::Pg))]
pub struct SigningKey {
    pub kid: String,
    pub sealed_seed: Vec<u8>,
    pub public_key: Vec<u8>,
    pub created_at: DateTime<Utc>,
    pub retired_at: Option<DateTime<Utc>>,
}

/// One process at a time makes the first key.
pub async fn lock(conn: &mut AsyncPgConnection) -> Result<()> {
    diesel::sql_query("SELECT pg_advisory_xact_lock(hashtext('pulseops_auth.signing_keys'))")
        .execute(conn)
        .await?;
    Ok(())
}

/// The newest key that still signs.
pub async fn find_current(conn: &mut AsyncPgConnection) -> Result<Option<SigningKey>> {
    let found = signing_keys::table
        .filter(signing_keys::retired_at.is_null())
        .order((signing_keys::created_at.desc(), signing_keys::kid))
        .select(SigningKey::as_select())
        .first(conn)
        .await;
    Ok(found.optional()?)
}

pub async fn insert(conn: &mut AsyncPgConnection, new: &SigningKey) -> Result<()> {
    diesel::insert_into(signing_keys::table).values(new).execute(conn).await?;
    Ok(())
}

/// Keys that sign, and those retired after `retired_after`, whose tokens may still last.
pub async fn list_verifying(
    conn: &mut AsyncPgConnection,
    retired_after: DateTime<Utc>,
) -> Result<Vec<(String, Vec<u8>)>> {
    let found = signing_keys::table
        .filter(signing_keys::retired_at.is_null().or(signing_keys::retired_at.gt(retired_after)))
        .order((signing_keys::created_at.desc(), signing_keys::kid))
        .select((signing_keys::kid, signing_keys::public_key))
        .load(conn)
        .await?;
    Ok(found)
}
