//! What the database says, in our kinds. Constraints are named, so a violation names its field:
//! `<table>_<field>_key`, `_fkey`, `_check`, with `org_id` before the field left out.

use std::time::Duration;

use diesel::result::Error as DieselError;
use diesel::result::{ConnectionError, DatabaseErrorInformation, DatabaseErrorKind};
use diesel_async::pooled_connection::{PoolError, deadpool};

use super::{Error, FieldError, Kind};

const RETRY: Duration = Duration::from_secs(1);

impl From<DieselError> for Error {
    fn from(error: DieselError) -> Self {
        match error {
            DieselError::NotFound => Self::not_found("thing"),
            DieselError::DatabaseError(kind, info) => {
                let answer = violation(kind, info.as_ref());
                answer.with_source(DieselError::DatabaseError(kind, info))
            }
            DieselError::BrokenTransactionManager => database_unavailable().with_source(error),
            DieselError::RollbackErrorOnCommit { commit_error, .. } => Self::from(*commit_error),
            other => Self::internal(other),
        }
    }
}

impl From<deadpool::PoolError> for Error {
    fn from(error: deadpool::PoolError) -> Self {
        database_unavailable().with_source(error)
    }
}

impl From<PoolError> for Error {
    fn from(error: PoolError) -> Self {
        database_unavailable().with_source(error)
    }
}

impl From<ConnectionError> for Error {
    fn from(error: ConnectionError) -> Self {
        database_unavailable().with_source(error)
    }
}

impl From<tokio_postgres::Error> for Error {
    fn from(error: tokio_postgres::Error) -> Self {
        let answer = match error.as_db_error() {
            Some(db) => by_message(db.message()),
            None => database_unavailable(),
        };
        answer.with_source(error)
    }
}

fn database_unavailable() -> Error {
    Error::unavailable("database_unavailable", "the database does not answer").with_retry_after(RETRY)
}

fn violation(kind: DatabaseErrorKind, info: &(dyn DatabaseErrorInformation + Send + Sync)) -> Error {
    use DatabaseErrorKind as Db;
    let (kind, code, suffixes, detail): (_, _, &[&str], _) = match kind {
        Db::UniqueViolation => {
            (Kind::Conflict, "already_exists", &["_key", "_idx", "_uniq"], "is already taken")
        }
        Db::ExclusionViolation => (Kind::Conflict, "conflict", &["_excl"], "overlaps another one"),
        Db::ForeignKeyViolation => {
            (Kind::Invalid, "unknown_reference", &["_fkey"], "refers to something that does not exist")
        }
        Db::CheckViolation => (Kind::Invalid, "invalid", &["_check"], "is not allowed"),
        Db::SerializationFailure => return lost("serialization_failure"),
        Db::ClosedConnection | Db::UnableToSendCommand => return database_unavailable(),
        _ => return by_message(info.message()),
    };
    let constraint = info.constraint_name().unwrap_or_default();
    let field = field_of(info.table_name().unwrap_or_default(), constraint, suffixes);
    let mut error = match field {
        Some(field) => Error { kind, code, ..Error::fields(vec![FieldError::new(field, code, detail)]) },
        None => Error::new(kind, code, format!("the value {detail}")),
    };
    error.constraint = Some(constraint.into());
    error
}

fn lost(code: &'static str) -> Error {
    Error::unavailable(code, "others changed the same things at the same time").with_retry_after(RETRY)
}

/// diesel-async keeps no SQLSTATE of what it does not know; the text of these is as old as Postgres
/// (our clusters run with `lc_messages=C`).
fn by_message(message: &str) -> Error {
    const GONE: [&str; 6] = [
        "terminating connection",
        "the database system is",
        "too many clients",
        "remaining connection slots",
        "canceling statement due to lock timeout",
        "canceling statement due to conflict with recovery",
    ];
    // Postgres keeps every character in text but one; no rule of the contract says so for each field.
    const NO_TEXT: [&str; 2] = ["invalid byte sequence for encoding", "unsupported Unicode escape sequence"];
    if NO_TEXT.iter().any(|text| message.contains(text)) {
        Error::invalid("invalid_text", "text must not hold the character U+0000")
    } else if message.contains("deadlock detected") {
        lost("deadlock")
    } else if message.contains("could not serialize access") {
        lost("serialization_failure")
    } else if message.contains("canceling statement due to statement timeout") {
        Error::timeout("database_timeout", "the database took too long")
    } else if GONE.iter().any(|text| message.contains(text)) {
        database_unavailable()
    } else {
        Error::internal(message)
    }
}

fn field_of(table: &str, constraint: &str, suffixes: &[&str]) -> Option<String> {
    let name = suffixes.iter().find_map(|suffix| constraint.strip_suffix(suffix))?;
    let name = name.strip_prefix(table)?.strip_prefix('_')?;
    let name = name.strip_prefix("org_id_").unwrap_or(name);
    (!name.is_empty() && name != "org_id").then(|| name.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_come_from_constraint_names() {
        let field = |constraint| field_of("teams", constraint, &["_key"]);
        assert_eq!(field("teams_slug_key").as_deref(), Some("slug"));
        assert_eq!(field("teams_org_id_slug_key").as_deref(), Some("slug"));
        assert_eq!(field("teams_org_id_key"), None);
        assert_eq!(field("teams_pkey"), None);
        assert_eq!(field("other_slug_key"), None);
    }

    #[test]
    fn texts_of_postgres_have_kinds() {
        assert!(by_message("deadlock detected").is_serialization_failure());
        let gone = by_message("terminating connection due to administrator command");
        assert_eq!(gone.kind, Kind::Unavailable);
        assert_eq!(by_message("relation \"x\" does not exist").kind, Kind::Internal);
        let nul = by_message("invalid byte sequence for encoding \"UTF8\": 0x00");
        assert_eq!((nul.kind, nul.code), (Kind::Invalid, "invalid_text"));
        let slow = by_message("canceling statement due to statement timeout");
        assert_eq!(slow.kind, Kind::Timeout);
    }

    #[test]
    fn missing_rows_are_not_found() {
        assert_eq!(Error::from(DieselError::NotFound).kind, Kind::NotFound);
        let broken = Error::from(DieselError::BrokenTransactionManager);
        assert_eq!((broken.kind, broken.retry_after), (Kind::Unavailable, Some(RETRY)));
    }
}
