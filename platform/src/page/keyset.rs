//! The macros that make a query that of one page.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::Sort;

/// Makes a boxed diesel query that of one page: ordered by `$column` and `$id`, limited, behind the
/// page's key. `$page` is a `&Page` whose key is both values of a row. The longer form takes the
/// direction and the key apart, for lists with columns of several types, and does not limit.
#[macro_export]
macro_rules! keyset {
    ($query:expr, $column:expr, $id:expr, $page:expr) => {{
        let page = $page;
        let query = $query.limit(page.limit());
        $crate::keyset!(query, $column, $id, page.sort.descending, page.after.clone())
    }};
    ($query:expr, $column:expr, $id:expr, $descending:expr, $after:expr) => {{
        let query = $query;
        match ($descending, $after) {
            (false, None) => query.order(($column.asc(), $id.asc())),
            (true, None) => query.order(($column.desc(), $id.desc())),
            // The first half of each bounds the index; no part of an OR does.
            (false, Some((value, id))) => query
                .filter($column.ge(value.clone()).and($column.gt(value).or($id.gt(id))))
                .order(($column.asc(), $id.asc())),
            (true, Some((value, id))) => query
                .filter($column.le(value.clone()).and($column.lt(value).or($id.lt(id))))
                .order(($column.desc(), $id.desc())),
        }
    }};
}

/// Where a page of a configuration list ended: these lists are sorted by creation or by name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ConfigKey {
    /// Sorted by `created_at`.
    CreatedAt(DateTime<Utc>, Uuid),
    /// Sorted by `name`.
    Name(String, Uuid),
}

impl ConfigKey {
    /// The key of a row in a list sorted like this.
    pub fn of(sort: Sort, created_at: DateTime<Utc>, name: &str, id: Uuid) -> Self {
        match sort.field {
            "name" => Self::Name(name.to_owned(), id),
            _ => Self::CreatedAt(created_at, id),
        }
    }
}

/// What configuration lists can be sorted by.
pub const CONFIG_SORTS: &[&str] = &["created_at", "name"];

/// [`keyset!`](crate::keyset) for a configuration table: by its `name` or its `created_at`. `$page`
/// is a `&Page<ConfigKey>`.
#[macro_export]
macro_rules! config_list {
    ($query:expr, $table:ident, $page:expr) => {{
        use $crate::page::ConfigKey;
        let page = $page;
        let (query, descending) = ($query.limit(page.limit()), page.sort.descending);
        match (page.after.clone(), page.sort.field == "name") {
            (Some(ConfigKey::Name(name, id)), _) => {
                $crate::keyset!(query, $table::name, $table::id, descending, Some((name, id)))
            }
            (Some(ConfigKey::CreatedAt(at, id)), _) => {
                $crate::keyset!(query, $table::created_at, $table::id, descending, Some((at, id)))
            }
            (None, true) => {
                let start = None::<(String, $crate::__private::Uuid)>;
                $crate::keyset!(query, $table::name, $table::id, descending, start)
            }
            (None, false) => {
                let start = None::<($crate::__private::DateTime, $crate::__private::Uuid)>;
                $crate::keyset!(query, $table::created_at, $table::id, descending, start)
            }
        }
    }};
}
