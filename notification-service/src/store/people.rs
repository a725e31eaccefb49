//! People and groups as auth-service last said them.

use chrono::{DateTime, Utc};
use diesel::prelude::*;
use diesel::upsert::excluded;
use diesel_async::{AsyncPgConnection, RunQueryDsl};
use platform::ctx::OrgId;
use platform::error::Result;
use uuid::Uuid;

use crate::ids::UserId;
use crate::kinds::GroupKind;
use crate::schema::{groups_seen, people};

/// A person's name and standing, and the address of the account.
#[derive(Clone, Debug, Queryable, Selectable, Insertable)]
#[diesel(table_name = people, check_for_backend(diesel::pg::Pg))]
pub struct PersonSeen {
    pub org_id: OrgId,
    pub user_id: UserId,
    pub name: String,
    pub verified_digest: Option<Vec<u8>>,
    pub inactive: bool,
    pub version: i64,
    pub seen_at: DateTime<Utc>,
}

/// Who was in a team, or who the owners were.
#[derive(Clone, Debug, Queryable, Selectable, Insertable)]
#[diesel(table_name = groups_seen, check_for_backend(diesel::pg::Pg))]
pub struct GroupSeen {
    pub org_id: OrgId,
    pub kind: GroupKind,
    pub group_id: Uuid,
    pub user_ids: Vec<UserId>,
    pub names: Vec<String>,
    pub seen_at: DateTime<Utc>,
}

impl PersonSeen {
    /// Both words about one person as one: the later one counts, a verified address stays.
    pub fn and(self, other: Self) -> Self {
        let (older, newer) = if other.version >= self.version { (self, other) } else { (other, self) };
        Self { verified_digest: newer.verified_digest.or(older.verified_digest), ..newer }
    }
}

/// Keeps what was said, unless something later is known; one row a person. A verified address stays, and
/// counts however late it is heard of.
pub async fn upsert_people(conn: &mut AsyncPgConnection, rows: &[PersonSeen]) -> Result<()> {
    let verified = diesel::dsl::sql::<diesel::sql_types::Nullable<diesel::sql_types::Binary>>(
        "coalesce(excluded.verified_digest, people.verified_digest)",
    );
    let insert = diesel::insert_into(people::table)
        .values(rows)
        .on_conflict((people::org_id, people::user_id))
        .do_update()
        .set((
            people::name.eq(excluded(people::name)),
            people::verified_digest.eq(verified),
            people::inactive.eq(excluded(people::inactive)),
            people::version.eq(excluded(people::version)),
            people::seen_at.eq(excluded(people::seen_at)),
        ));
    // Named in full: a query's own `filter` is another one.
    let newer = people::version.le(excluded(people::version));
    diesel::query_dsl::methods::FilterDsl::filter(insert, newer).execute(conn).await?;
    for row in rows.iter().filter(|row| row.verified_digest.is_some()) {
        diesel::update(people::table.find((row.org_id, row.user_id)))
            .filter(people::verified_digest.is_null())
            .set(people::verified_digest.eq(&row.verified_digest))
            .execute(conn)
            .await?;
    }
    Ok(())
}

pub async fn find_people(
    conn: &mut AsyncPgConnection,
    org: OrgId,
    ids: &[UserId],
) -> Result<Vec<PersonSeen>> {
    if ids.is_empty() {
        return Ok(Vec::new());
    }
    let rows = people::table
        .filter(people::org_id.eq(org).and(people::user_id.eq_any(ids)))
        .select(PersonSeen::as_select())
        .load(conn)
        .await?;
    Ok(rows)
}

/// Keeps an answer unless a later one is already there. Rows are locked in one order for all.
pub async fn upsert_groups(conn: &mut AsyncPgConnection, rows: &[GroupSeen]) -> Result<()> {
    let mut rows: Vec<&GroupSeen> = rows.iter().collect();
    rows.sort_unstable_by_key(|row| (row.kind.as_str(), row.group_id));
    for row in rows {
        let insert = diesel::insert_into(groups_seen::table)
            .values(row)
            .on_conflict((groups_seen::org_id, groups_seen::kind, groups_seen::group_id))
            .do_update()
            .set((
                groups_seen::user_ids.eq(excluded(groups_seen::user_ids)),
                groups_seen::names.eq(excluded(groups_seen::names)),
                groups_seen::seen_at.eq(excluded(groups_seen::seen_at)),
            ));
        // Named in full: a query's own `filter` is another one.
        let newer = groups_seen::seen_at.lt(excluded(groups_seen::seen_at));
        diesel::query_dsl::methods::FilterDsl::filter(insert, newer).execute(conn).await?;
    }
    Ok(())
}

/// The last good answers about these groups of either kind.
pub async fn find_groups(conn: &mut AsyncPgConnection, org: OrgId, ids: &[Uuid]) -> Result<Vec<GroupSeen>> {
    if ids.is_empty() {
        return Ok(Vec::new());
    }
    let rows = groups_seen::table
        .filter(groups_seen::org_id.eq(org).and(groups_seen::group_id.eq_any(ids)))
        .select(GroupSeen::as_select())
        .load(conn)
        .await?;
    Ok(rows)
}
