//! What the tables of configuration have in common: a row per thing, changed under its lock, archived
//! and never deleted.

/// The queries of the configuration table `$table` with the rows `$row`; people call one `$noun`.
macro_rules! configured {
    ($table:ident, $row:ident, $noun:literal) => {
        pub async fn insert(conn: &mut AsyncPgConnection, row: &$row) -> Result<()> {
            diesel::insert_into($table::table).values(row).execute(conn).await?;
            Ok(())
        }

        pub async fn update(conn: &mut AsyncPgConnection, row: &$row) -> Result<()> {
            let target = $table::table.find((row.org_id, row.id));
            diesel::update(target).set(row).execute(conn).await?;
            Ok(())
        }

        /// The one with this id, archived or not.
        pub async fn find(conn: &mut AsyncPgConnection, org: Uuid, id: Uuid) -> Result<Option<$row>> {
            Ok($table::table.find((org, id)).first(conn).await.optional()?)
        }

        /// As [`find`]; NotFound without it.
        pub async fn get(conn: &mut AsyncPgConnection, org: Uuid, id: Uuid) -> Result<$row> {
            find(conn, org, id).await?.ok_or_else(|| Error::not_found($noun))
        }

        /// As [`get`], its row locked until the transaction ends.
        pub async fn get_for_update(conn: &mut AsyncPgConnection, org: Uuid, id: Uuid) -> Result<$row> {
            let row = $table::table.find((org, id)).for_update().first(conn).await.optional()?;
            row.ok_or_else(|| Error::not_found($noun))
        }

        /// A page of them, the archived too when asked for.
        pub async fn list(
            conn: &mut AsyncPgConnection,
            org: Uuid,
            archived: bool,
            page: &Page<ConfigKey>,
        ) -> Result<Vec<$row>> {
            let mut query = $table::table.filter(dsl::org_id.eq(org)).into_boxed();
            if !archived {
                query = query.filter(dsl::archived_at.is_null());
            }
            Ok(platform::config_list!(query, dsl, page).load(conn).await?)
        }

        /// Archives one and gives it as it was and is; `None` when it was archived already. NotFound;
        /// Precondition `version_mismatch`.
        pub async fn archive(
            cx: &Ctx,
            conn: &mut AsyncPgConnection,
            id: &str,
        ) -> Result<Option<($row, $row)>> {
            let before = get_for_update(conn, cx.org.uuid(), parse_id("id", id)?).await?;
            cx.expect_version(before.version)?;
            if before.archived_at.is_some() {
                return Ok(None);
            }
            let after = $row {
                archived_at: Some(cx.now),
                updated_at: cx.now,
                updated_by: cx.principal.subject().to_string(),
                version: before.version + 1,
                ..before.clone()
            };
            update(conn, &after).await?;
            Ok(Some((before, after)))
        }
    };
}

pub(super) use configured;
