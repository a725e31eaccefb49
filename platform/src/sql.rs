//! Hand-written SQL whose prepared statement is kept by the connection. diesel's `sql_query` prepares
//! anew at every call, which doubles the round trips of a hot statement.

use std::borrow::Cow;
use std::marker::PhantomData;

use diesel::QueryResult;
use diesel::pg::Pg;
use diesel::query_builder::{AstPass, Query, QueryFragment, QueryId};
use diesel::result::Error as DieselError;
use diesel::serialize::ToSql;
use diesel::sql_types::{HasSqlType, Untyped};

/// A statement: its text and what is bound to `$1`, `$2`, …
///
/// ```
/// use diesel::sql_types::{Array, BigInt, Text};
/// let names = vec!["a", "b"];
/// let query = platform::sql::sql("SELECT n FROM unnest($1) n LIMIT $2")
///     .bind::<Array<Text>, _>(names)
///     .bind::<BigInt, _>(1);
/// ```
#[derive(Clone, Debug)]
#[must_use = "a statement does nothing until it is executed or loaded"]
pub struct Sql<B = ()> {
    text: Cow<'static, str>,
    binds: B,
}

/// A statement with this text; rows are read by `QueryableByName`. Each `$n` stands exactly once and
/// in order, and `$` has no other use in the text.
pub fn sql(text: impl Into<Cow<'static, str>>) -> Sql {
    Sql { text: text.into(), binds: () }
}

impl<B> Sql<B> {
    /// Binds the next `$n` as SQL type `ST`.
    pub fn bind<ST, V>(self, value: V) -> Sql<(B, Bound<ST, V>)> {
        let bound = Bound { value, sql_type: PhantomData };
        Sql { text: self.text, binds: (self.binds, bound) }
    }
}

/// A value and the SQL type that it is sent as.
#[derive(Clone, Debug)]
pub struct Bound<ST, V> {
    value: V,
    sql_type: PhantomData<fn() -> ST>,
}

/// What is bound so far.
pub trait Binds {
    /// How many values.
    const COUNT: usize;

    /// Writes the text up to and with the last bound value; returns the text behind it.
    #[doc(hidden)]
    fn walk<'b>(&'b self, text: &'b str, out: &mut AstPass<'_, 'b, Pg>) -> QueryResult<&'b str>;
}

impl Binds for () {
    const COUNT: usize = 0;

    fn walk<'b>(&'b self, text: &'b str, _: &mut AstPass<'_, 'b, Pg>) -> QueryResult<&'b str> {
        Ok(text)
    }
}

impl<B: Binds, ST, V: ToSql<ST, Pg>> Binds for (B, Bound<ST, V>)
where
    Pg: HasSqlType<ST>,
{
    const COUNT: usize = B::COUNT + 1;

    fn walk<'b>(&'b self, text: &'b str, out: &mut AstPass<'_, 'b, Pg>) -> QueryResult<&'b str> {
        let rest = self.0.walk(text, out)?;
        let (before, behind) = rest.split_once('$').ok_or_else(|| misplaced(Self::COUNT))?;
        let digits = behind.bytes().take_while(u8::is_ascii_digit).count();
        if behind[..digits].parse() != Ok(Self::COUNT) {
            return Err(misplaced(Self::COUNT));
        }
        out.push_sql(before);
        out.push_bind_param::<ST, V>(&self.1.value)?;
        Ok(&behind[digits..])
    }
}

fn misplaced(n: usize) -> DieselError {
    DieselError::QueryBuilderError(format!("${n} is not where it belongs in the statement").into())
}

impl<B: Binds> QueryFragment<Pg> for Sql<B> {
    fn walk_ast<'b>(&'b self, mut out: AstPass<'_, 'b, Pg>) -> QueryResult<()> {
        let rest = self.binds.walk(&self.text, &mut out)?;
        if rest.contains('$') {
            return Err(misplaced(B::COUNT + 1));
        }
        out.push_sql(rest);
        Ok(())
    }
}

impl<B> QueryId for Sql<B> {
    type QueryId = ();

    // The cache then goes by the text.
    const HAS_STATIC_QUERY_ID: bool = false;
}

impl<B> Query for Sql<B> {
    type SqlType = Untyped;
}

#[cfg(test)]
mod tests {
    use super::*;
    use diesel::debug_query;
    use diesel::sql_types::{BigInt, Text};

    #[test]
    fn the_text_is_sent_as_written() {
        let query = sql("SELECT $1::text, $2 + 1").bind::<Text, _>("a").bind::<BigInt, _>(2_i64);
        let shown = debug_query::<Pg, _>(&query).to_string();
        assert!(shown.starts_with("SELECT $1::text, $2 + 1 -- binds: [\"a\", 2]"), "{shown}");
        assert!(query.is_safe_to_cache_prepared(&Pg).expect("walks"));
    }

    #[test]
    fn misplaced_binds_are_refused() {
        let missing = sql("SELECT 1").bind::<BigInt, _>(2_i64);
        assert!(missing.is_safe_to_cache_prepared(&Pg).is_err());
        assert!(sql("SELECT $1").is_safe_to_cache_prepared(&Pg).is_err());
        let twice = sql("SELECT $1, $1").bind::<BigInt, _>(1_i64);
        assert!(twice.is_safe_to_cache_prepared(&Pg).is_err());
    }
}
