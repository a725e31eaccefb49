//! Closed sets of words: text with a CHECK in the database, enums here.

use std::io::Write;

use diesel::deserialize::{self, FromSql, FromSqlRow};
use diesel::expression::AsExpression;
use diesel::pg::{Pg, PgValue};
use diesel::serialize::{self, IsNull, Output, ToSql};
use diesel::sql_types::Text;

macro_rules! words {
    ($(#[$meta:meta])* $name:ident { $($variant:ident = $text:literal),+ $(,)? }) => {
        $(#[$meta])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, AsExpression, FromSqlRow)]
        #[diesel(sql_type = Text)]
        pub enum $name { $($variant),+ }

        impl $name {
            pub const ALL: &'static [Self] = &[$(Self::$variant),+];

            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $text),+ }
            }

            pub fn parse(text: &str) -> Option<Self> {
                Self::ALL.iter().copied().find(|word| word.as_str() == text)
            }
        }

        impl ToSql<Text, Pg> for $name {
            fn to_sql<'b>(&'b self, out: &mut Output<'b, '_, Pg>) -> serialize::Result {
                out.write_all(self.as_str().as_bytes())?;
                Ok(IsNull::No)
            }
        }

        impl FromSql<Text, Pg> for $name {
            fn from_sql(value: PgValue<'_>) -> deserialize::Result<Self> {
                let text = std::str::from_utf8(value.as_bytes())?;
                Self::parse(text).ok_or_else(|| format!("{text:?} is no {}", stringify!($name)).into())
            }
        }
    };
}

words! {
    /// What a user may do, strongest first; the matrix stands in the contract.
    Role { Owner = "owner", Admin = "admin", Responder = "responder", Viewer = "viewer" }
}

words! {
    /// Whether a user can sign in.
    UserStatus { Active = "active", Disabled = "disabled" }
}

words! {
    TeamRole { Manager = "manager", Member = "member" }
}

words! {
    KeyKind { Api = "api", Integration = "integration" }
}

words! {
    /// Why a session ended before its time.
    SessionEnd {
        Logout = "logout",
        Reuse = "reuse",
        Password = "password",
        Disabled = "disabled",
        Archived = "archived",
    }
}

platform::id! {
    UserId
}

platform::id! {
    TeamId
}

platform::id! {
    SessionId
}

platform::id! {
    KeyId
}
