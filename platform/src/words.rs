//! Closed sets of words: an enum in Rust, text with a CHECK in the database, an enum of the contract.

/// Declares an enum that is kept as text in a column.
///
/// ```
/// platform::words! {
///     /// Where a door stands.
///     Door { Open = "open", Shut = "shut" }
/// }
/// assert_eq!((Door::Open.as_str(), Door::parse("shut")), ("open", Some(Door::Shut)));
/// ```
///
/// `words! { Severity as api::Severity { … } }` adds `from_wire` and `wire`: the contract's enum has
/// variants of the same names.
#[macro_export]
macro_rules! words {
    ($(#[$meta:meta])* $name:ident as $wire:path {
        $($(#[$item:meta])* $variant:ident = $text:literal),+ $(,)?
    }) => {
        $crate::words! { $(#[$meta])* $name { $($(#[$item])* $variant = $text),+ } }

        impl $name {
            /// The value of a field of the contract; `None` when unspecified or not known.
            pub fn from_wire(number: i32) -> Option<Self> {
                match <$wire>::try_from(number).ok()? {
                    $(<$wire>::$variant => Some(Self::$variant),)+
                    _ => None,
                }
            }

            /// The value as a field of the contract has it.
            pub fn wire(self) -> i32 {
                match self { $(Self::$variant => <$wire>::$variant as i32),+ }
            }
        }
    };

    ($(#[$meta:meta])* $name:ident {
        $($(#[$item:meta])* $variant:ident = $text:literal),+ $(,)?
    }) => {
        $(#[$meta])*
        #[derive(
            Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord,
            $crate::__private::diesel::expression::AsExpression,
            $crate::__private::diesel::deserialize::FromSqlRow,
        )]
        #[diesel(sql_type = $crate::__private::diesel::sql_types::Text)]
        pub enum $name { $($(#[$item])* $variant),+ }

        impl $name {
            /// All of them, in the order of their declaration.
            pub const ALL: &'static [Self] = &[$(Self::$variant),+];

            /// The word in rows and JSON.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $text),+ }
            }

            /// The value of that word.
            pub fn parse(text: &str) -> Option<Self> {
                match text { $($text => Some(Self::$variant),)+ _ => None }
            }
        }

        impl ::std::fmt::Display for $name {
            fn fmt(&self, f: &mut ::std::fmt::Formatter<'_>) -> ::std::fmt::Result {
                f.write_str(self.as_str())
            }
        }

        impl $crate::__private::serde::Serialize for $name {
            fn serialize<S: $crate::__private::serde::Serializer>(
                &self,
                serializer: S,
            ) -> ::std::result::Result<S::Ok, S::Error> {
                serializer.serialize_str(self.as_str())
            }
        }

        impl<'de> $crate::__private::serde::Deserialize<'de> for $name {
            fn deserialize<D: $crate::__private::serde::Deserializer<'de>>(
                deserializer: D,
            ) -> ::std::result::Result<Self, D::Error> {
                use $crate::__private::serde::de::Error;
                let text = <::std::borrow::Cow<'de, str>>::deserialize(deserializer)?;
                Self::parse(&text)
                    .ok_or_else(|| D::Error::custom(format!("{text:?} is no {}", stringify!($name))))
            }
        }

        impl $crate::__private::diesel::serialize::ToSql<
            $crate::__private::diesel::sql_types::Text,
            $crate::__private::diesel::pg::Pg,
        > for $name {
            fn to_sql<'b>(
                &'b self,
                out: &mut $crate::__private::diesel::serialize::Output<'b, '_, $crate::__private::diesel::pg::Pg>,
            ) -> $crate::__private::diesel::serialize::Result {
                ::std::io::Write::write_all(out, self.as_str().as_bytes())?;
                Ok($crate::__private::diesel::serialize::IsNull::No)
            }
        }

        impl $crate::__private::diesel::deserialize::FromSql<
            $crate::__private::diesel::sql_types::Text,
            $crate::__private::diesel::pg::Pg,
        > for $name {
            fn from_sql(
                value: $crate::__private::diesel::pg::PgValue<'_>,
            ) -> $crate::__private::diesel::deserialize::Result<Self> {
                let text = ::std::str::from_utf8(value.as_bytes())?;
                Self::parse(text).ok_or_else(|| format!("{text:?} is no {}", stringify!($name)).into())
            }
        }
    };
}
