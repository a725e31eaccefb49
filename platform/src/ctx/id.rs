use uuid::Uuid;

use crate::error::{Error, Result};

/// Reads the id in the request's field `field`.
///
/// # Errors
/// Invalid, code `uuid`, at `field`.
pub fn parse_id<I: From<Uuid>>(field: &str, text: &str) -> Result<I> {
    let id: Result<Uuid, _> = text.parse();
    id.map(I::from).map_err(|_| Error::field(field, "uuid", "must be a UUID"))
}

/// Reads the ids in the request's repeated field `field`.
///
/// # Errors
/// Invalid, code `uuid`, at `field[index]` of the first that is none.
pub fn parse_ids<I: From<Uuid>>(field: &str, texts: &[String]) -> Result<Vec<I>> {
    let parse = |(index, text): (usize, &String)| parse_id(&format!("{field}[{index}]"), text);
    texts.iter().enumerate().map(parse).collect()
}

/// Declares newtypes over `Uuid`: ids that cannot be taken for one another. They print, parse and
/// serialize as the UUID and stand for it in diesel queries (the calling crate depends on diesel).
///
/// ```
/// platform::id! {
///     /// A thing.
///     ThingId
/// }
/// let id = ThingId::from(uuid::Uuid::nil());
/// assert_eq!(id.to_string().parse::<ThingId>().ok(), Some(id));
/// ```
#[macro_export]
macro_rules! id {
    ($(#[$meta:meta])* $name:ident) => {
        $(#[$meta])*
        #[derive(
            Clone,
            Copy,
            PartialEq,
            Eq,
            PartialOrd,
            Ord,
            Hash,
            $crate::__private::diesel::expression::AsExpression,
            $crate::__private::diesel::deserialize::FromSqlRow,
        )]
        #[diesel(sql_type = $crate::__private::diesel::sql_types::Uuid)]
        pub struct $name(pub $crate::__private::Uuid);

        impl $name {
            /// The nil id: stands for "none" where an id is required.
            pub const fn nil() -> Self {
                Self($crate::__private::Uuid::nil())
            }

            /// The UUID itself.
            pub const fn uuid(self) -> $crate::__private::Uuid {
                self.0
            }

            /// Reads the value of request field `field`.
            ///
            /// # Errors
            /// Invalid, code `uuid`, at `field`.
            pub fn parse(field: &str, text: &str) -> $crate::error::Result<Self> {
                $crate::ctx::parse_id(field, text)
            }
        }

        impl ::std::fmt::Display for $name {
            fn fmt(&self, f: &mut ::std::fmt::Formatter<'_>) -> ::std::fmt::Result {
                ::std::fmt::Display::fmt(&self.0, f)
            }
        }

        impl ::std::fmt::Debug for $name {
            fn fmt(&self, f: &mut ::std::fmt::Formatter<'_>) -> ::std::fmt::Result {
                ::std::fmt::Display::fmt(&self.0, f)
            }
        }

        impl ::std::str::FromStr for $name {
            type Err = <$crate::__private::Uuid as ::std::str::FromStr>::Err;

            fn from_str(text: &str) -> ::std::result::Result<Self, Self::Err> {
                text.parse().map(Self)
            }
        }

        impl ::std::convert::From<$crate::__private::Uuid> for $name {
            fn from(id: $crate::__private::Uuid) -> Self {
                Self(id)
            }
        }

        impl ::std::convert::From<$name> for $crate::__private::Uuid {
            fn from(id: $name) -> Self {
                id.0
            }
        }

        impl $crate::__private::serde::Serialize for $name {
            fn serialize<S: $crate::__private::serde::Serializer>(
                &self,
                serializer: S,
            ) -> ::std::result::Result<S::Ok, S::Error> {
                $crate::__private::serde::Serialize::serialize(&self.0, serializer)
            }
        }

        impl<'de> $crate::__private::serde::Deserialize<'de> for $name {
            fn deserialize<D: $crate::__private::serde::Deserializer<'de>>(
                deserializer: D,
            ) -> ::std::result::Result<Self, D::Error> {
                $crate::__private::serde::Deserialize::deserialize(deserializer).map(Self)
            }
        }

        impl
            $crate::__private::diesel::serialize::ToSql<
                $crate::__private::diesel::sql_types::Uuid,
                $crate::__private::diesel::pg::Pg,
            > for $name
        {
            fn to_sql<'b>(
                &'b self,
                out: &mut $crate::__private::diesel::serialize::Output<
                    'b,
                    '_,
                    $crate::__private::diesel::pg::Pg,
                >,
            ) -> $crate::__private::diesel::serialize::Result {
                $crate::__private::diesel::serialize::ToSql::<
                    $crate::__private::diesel::sql_types::Uuid,
                    $crate::__private::diesel::pg::Pg,
                >::to_sql(&self.0, out)
            }
        }

        impl
            $crate::__private::diesel::deserialize::FromSql<
                $crate::__private::diesel::sql_types::Uuid,
                $crate::__private::diesel::pg::Pg,
            > for $name
        {
            fn from_sql(
                value: $crate::__private::diesel::pg::PgValue<'_>,
            ) -> $crate::__private::diesel::deserialize::Result<Self> {
                $crate::__private::diesel::deserialize::FromSql::<
                    $crate::__private::diesel::sql_types::Uuid,
                    $crate::__private::diesel::pg::Pg,
                >::from_sql(value)
                .map(Self)
            }
        }
    };
}
