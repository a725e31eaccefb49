//! Queries, a module per noun. All run under the organization of the transaction, those named
//! `*_of_all` under the system role.

pub mod policies;
pub mod runs;
pub mod states;
pub mod steps;
pub mod workflows;

/// Keyset order of a configuration table: `$column` in the direction of `$sort`, the id breaking
/// ties, from behind `$after` (the column's value and the id).
macro_rules! in_order {
    ($query:expr, $column:expr, $id:expr, $descending:expr, $after:expr) => {{
        let query = $query;
        match ($descending, $after) {
            (false, None) => query.order(($column.asc(), $id.asc())),
            (true, None) => query.order(($column.desc(), $id.desc())),
            (false, Some((value, id))) => query
                .filter($column.gt(value.clone()).or($column.eq(value).and($id.gt(id))))
                .order(($column.asc(), $id.asc())),
            (true, Some((value, id))) => query
                .filter($column.lt(value.clone()).or($column.eq(value).and($id.lt(id))))
                .order(($column.desc(), $id.desc())),
        }
    }};
}
pub(crate) use in_order;

/// Where a page of a configuration list ended.
#[derive(Clone, Debug, serde::Serialize, serde::Deserialize)]
#[serde(untagged)]
pub enum Key {
    /// Ordered by time of creation.
    CreatedAt(chrono::DateTime<chrono::Utc>, uuid::Uuid),
    /// Ordered by name.
    Name(String, uuid::Uuid),
}

/// A page of a configuration list.
#[derive(Clone, Debug)]
pub struct Page {
    /// The archived instead of the others.
    pub archived: bool,
    /// In which order.
    pub sort: platform::page::Sort,
    /// Behind this row.
    pub after: Option<Key>,
    /// Rows at most.
    pub limit: i64,
}
