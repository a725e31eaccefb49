//! The generator of `schema.rs`: what diesel knows about a service's tables, read from a migrated
//! database (diesel_cli wants libpq).

use std::fmt::Write as _;
use std::path::Path;

use tokio_postgres::Client;

use super::TestDb;

/// Tables that the mechanisms bring into every service's schema; platform alone touches them.
pub const MECHANISMS: [&str; 4] = ["outbox", "positions", "members", "idempotency_keys"];

/// diesel builds tables of at most this many columns.
const MAX_COLUMNS: usize = 32;

const HEAD: &str = "\
//! Generated from the migrations; regenerate with `UPDATE_SCHEMA=1 cargo test -p <crate> schema_is_current`.
";

/// The text of `schema.rs` for `schema`, without the tables in `exclude`.
///
/// # Panics
/// When a table has no primary key, too many columns or a column of a type that we do not use.
pub async fn schema_rs(admin: &Client, schema: &str, exclude: &[&str]) -> String {
    let sql = "SELECT c.relname, array(SELECT a.attname::text FROM pg_index i \
            JOIN unnest(i.indkey) WITH ORDINALITY k(attnum, at) ON true \
            JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum = k.attnum \
            WHERE i.indrelid = c.oid AND i.indisprimary ORDER BY k.at) \
        FROM pg_class c WHERE c.relnamespace = $1::text::regnamespace AND c.relkind IN ('r', 'p') \
        AND NOT c.relispartition ORDER BY 1";
    let rows = admin.query(sql, &[&schema]).await.expect("the catalog");
    let mut text = HEAD.to_owned();
    let mut names: Vec<String> = Vec::new();
    for row in rows {
        let (table, key): (String, Vec<String>) = (row.get(0), row.get(1));
        if !exclude.contains(&table.as_str()) {
            text.push_str(&table_rs(admin, schema, &table, &key).await);
            names.push(table);
        }
    }
    if names.len() > 1 {
        let names = names.join(",\n    ");
        let end = format!("\ndiesel::allow_tables_to_appear_in_same_query! {{\n    {names},\n}}\n");
        text.push_str(&end);
    }
    text
}

async fn table_rs(admin: &Client, schema: &str, table: &str, key: &[String]) -> String {
    assert!(!key.is_empty(), "{schema}.{table} has no primary key");
    let sql = "SELECT a.attname, a.attnotnull, t.typname FROM pg_attribute a \
        JOIN pg_type t ON t.oid = a.atttypid \
        WHERE a.attrelid = format('%I.%I', $1::text, $2::text)::regclass AND a.attnum > 0 \
        AND NOT a.attisdropped ORDER BY a.attnum";
    let columns = admin.query(sql, &[&schema, &table]).await.expect("the catalog");
    assert!(columns.len() <= MAX_COLUMNS, "{schema}.{table} has {} columns", columns.len());
    let mut text = format!("\ndiesel::table! {{\n    {table} ({}) {{\n", key.join(", "));
    for column in columns {
        let (name, required): (&str, bool) = (column.get(0), column.get(1));
        let of = || format!("{schema}.{table}.{name}");
        let kind = diesel_type(column.get(2)).unwrap_or_else(|kind| panic!("{} is a {kind}", of()));
        let kind = if required { kind } else { format!("Nullable<{kind}>") };
        let name = match name {
            "type" | "ref" | "match" | "move" | "use" | "where" | "in" | "as" | "for" => {
                writeln!(text, "        #[sql_name = \"{name}\"]").expect("a String takes all");
                format!("{name}_")
            }
            name => name.to_owned(),
        };
        writeln!(text, "        {name} -> {kind},").expect("a String takes all");
    }
    text.push_str("    }\n}\n");
    text
}

fn diesel_type(postgres: &str) -> Result<String, &str> {
    if let Some(element) = postgres.strip_prefix('_') {
        return diesel_type(element).map(|element| format!("Array<{element}>"));
    }
    let name = match postgres {
        "uuid" => "Uuid",
        "timestamptz" => "Timestamptz",
        "date" => "Date",
        "text" | "varchar" | "name" => "Text",
        "int2" => "Int2",
        "int4" => "Int4",
        "int8" => "Int8",
        "bool" => "Bool",
        "float4" => "Float4",
        "float8" => "Float8",
        "jsonb" => "Jsonb",
        "bytea" => "Bytea",
        other => return Err(other),
    };
    Ok(name.to_owned())
}

/// Compares the `schema.rs` at `path` with the migrated schema `pulseops_<service>` of `db`; with
/// `UPDATE_SCHEMA=1` writes it instead.
///
/// # Panics
/// When they differ.
pub async fn assert_schema_current(db: &TestDb, service: &str, path: impl AsRef<Path>) {
    let path = path.as_ref();
    let now = schema_rs(&db.admin().await, &format!("pulseops_{service}"), &MECHANISMS).await;
    if crate::config::update_schema() {
        std::fs::write(path, now).expect("schema.rs can be written");
        return;
    }
    let checked_in = std::fs::read_to_string(path).unwrap_or_default();
    assert_eq!(
        checked_in,
        now,
        "{} is not what the migrations make: UPDATE_SCHEMA=1 cargo test schema_is_current",
        path.display()
    );
}
