//! Keyset pages: how many rows, where the last page ended, in which order.
//!
//! A core reads the [`Page`] that a request asks for with [`page!`](crate::page!), the store orders
//! and limits its query by it ([`keyset!`](crate::keyset), [`config_list!`](crate::config_list)), and
//! [`Page::finish`] cuts the rows and makes the token of the next page.

mod keyset;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

pub use keyset::{CONFIG_SORTS, ConfigKey};

use crate::error::{Error, Result};
use crate::secret;

const DEFAULT_SIZE: usize = 50;
const MAX_SIZE: usize = 200;
const MAX_TOKEN: usize = 4096;

/// Rows of a page for the request's `page_size`: 50 when it says nothing, at most 200.
fn size(page_size: i32) -> usize {
    match usize::try_from(page_size) {
        Err(_) | Ok(0) => DEFAULT_SIZE,
        Ok(size) => size.min(MAX_SIZE),
    }
}

/// What a page token is bound to: sort and filters of the list. Two requests with equal parts have
/// equal fingerprints, in every process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fingerprint(u64);

impl Fingerprint {
    /// Of these parts in this order: name and value of everything that changes the list.
    pub fn of<P: AsRef<[u8]>>(parts: impl IntoIterator<Item = P>) -> Self {
        let mut bytes = Vec::new();
        for part in parts {
            let part = part.as_ref();
            bytes.extend_from_slice(&(part.len() as u64).to_be_bytes());
            bytes.extend_from_slice(part);
        }
        let mut first = [0; 8];
        first.copy_from_slice(&secret::sha256(&bytes)[..8]);
        Self(u64::from_be_bytes(first))
    }

    /// Of a whole request whose `page_size` and `page_token` were cleared. Not for requests with
    /// maps: their encoding has no fixed order.
    pub fn of_message(request: &impl prost::Message) -> Self {
        Self::of([request.encode_to_vec()])
    }
}

#[derive(Serialize, Deserialize)]
struct Content<K> {
    k: K,
    f: u64,
}

/// Where a page ended. Opaque to callers; not secret and not signed, because a made-up one only
/// names another place in the caller's own list.
pub struct PageToken;

impl PageToken {
    /// The token of a page that ended with the row of `key`.
    ///
    /// # Errors
    /// Internal, when the key cannot be written as JSON.
    pub fn encode(key: &impl Serialize, list: Fingerprint) -> Result<String> {
        let json = serde_json::to_vec(&Content { k: key, f: list.0 }).map_err(Error::internal)?;
        Ok(URL_SAFE_NO_PAD.encode(json))
    }

    /// The key in a request's `page_token`; `None` for the first page (an empty token).
    ///
    /// # Errors
    /// Invalid at `page_token`: `invalid_page_token` for what is no token, `page_token_mismatch` for
    /// one of another sort or other filters.
    pub fn decode<K: DeserializeOwned>(token: &str, list: Fingerprint) -> Result<Option<K>> {
        if token.is_empty() {
            return Ok(None);
        }
        let content = Self::content(token)
            .ok_or_else(|| Error::field("page_token", "invalid_page_token", "is not the token of a page"))?;
        if content.f != list.0 {
            return Err(Error::field(
                "page_token",
                "page_token_mismatch",
                "belongs to a list with another sort or other filters",
            ));
        }
        let key = serde_json::from_value(content.k)
            .map_err(|_| Error::field("page_token", "invalid_page_token", "is not the token of a page"))?;
        Ok(Some(key))
    }

    fn content(token: &str) -> Option<Content<serde_json::Value>> {
        if token.len() > MAX_TOKEN {
            return None;
        }
        serde_json::from_slice(&URL_SAFE_NO_PAD.decode(token).ok()?).ok()
    }
}

/// One page of a list: where it begins (behind a row with the key `after`), in which order, how many
/// rows it has.
#[derive(Clone, Debug)]
pub struct Page<K> {
    /// In which order.
    pub sort: Sort,
    /// Key of the row that the page before ended with; `None` for the first page.
    pub after: Option<K>,
    size: usize,
    list: Fingerprint,
}

impl<K: Serialize + DeserializeOwned> Page<K> {
    /// The page that `page_size` and `page_token` of a request name, in the order `sort`. `list` is
    /// the request without these two: what tokens are bound to. [`page!`](crate::page!) calls it.
    ///
    /// # Errors
    /// Those of [`PageToken::decode`].
    pub fn read(page_size: i32, page_token: &str, sort: Sort, list: &impl prost::Message) -> Result<Self> {
        let list = Fingerprint::of_message(list);
        let after = PageToken::decode(page_token, list)?;
        Ok(Self { sort, after, size: size(page_size), list })
    }

    /// How many rows to read: one more than the page has, to know whether another follows.
    pub fn limit(&self) -> i64 {
        i64::try_from(self.size).map_or(i64::MAX, |size| size + 1)
    }

    /// Cuts `rows` (up to [`limit`](Self::limit) of them) to the page and makes the token of the next
    /// one out of the last row's key; it is empty at the end.
    ///
    /// # Errors
    /// Internal, when the key cannot be written as JSON.
    pub fn finish<T>(&self, mut rows: Vec<T>, key: impl Fn(&T) -> K) -> Result<(Vec<T>, String)> {
        if rows.len() <= self.size {
            return Ok((rows, String::new()));
        }
        rows.truncate(self.size);
        let token = match rows.last() {
            Some(last) => PageToken::encode(&key(last), self.list)?,
            None => String::new(),
        };
        Ok((rows, token))
    }
}

/// The [`Page`] that a list request asks for, from its fields `page_size` and `page_token`.
///
/// `page!(&request, &["created_at", "name"], "-created_at")` takes the order from the field `sort`,
/// one of these columns, or the default. `page!(&request, "-created_at")` is for lists that have but
/// one order. Not for requests with maps ([`Fingerprint::of_message`]).
#[macro_export]
macro_rules! page {
    ($request:expr, $columns:expr, $default:expr) => {{
        let request = $request;
        $crate::page::Sort::parse(&request.sort, $columns, $default)
            .and_then(|sort| $crate::page!(@read request, sort))
    }};
    ($request:expr, $order:expr) => {{
        let request = $request;
        $crate::page!(@read request, $crate::page::Sort::of($order))
    }};
    (@read $request:ident, $sort:expr) => {{
        let mut list = ::std::clone::Clone::clone($request);
        list.page_size = 0;
        list.page_token.clear();
        $crate::page::Page::read($request.page_size, &$request.page_token, $sort, &list)
    }};
}

/// The order of a list: `-created_at` is descending by `created_at`. The id breaks ties.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sort {
    /// One of the declared fields.
    pub field: &'static str,
    /// Largest first.
    pub descending: bool,
}

impl Sort {
    /// The order that `text` names: `-created_at`.
    pub fn of(text: &'static str) -> Self {
        match text.strip_prefix('-') {
            Some(field) => Self { field, descending: true },
            None => Self { field: text, descending: false },
        }
    }

    /// Reads a request's `sort`; `default` (for example `-created_at`) when it says nothing.
    ///
    /// # Errors
    /// Invalid at `sort`, code `invalid_sort`, when the field is not in `fields`.
    pub fn parse(sort: &str, fields: &[&'static str], default: &'static str) -> Result<Self> {
        let text = if sort.is_empty() { default } else { sort };
        let (name, descending) = match text.strip_prefix('-') {
            Some(name) => (name, true),
            None => (text, false),
        };
        let known = fields.iter().find(|field| **field == name);
        known.map(|field| Self { field, descending }).ok_or_else(|| {
            let detail = format!("must be one of {}, with - before it for descending", fields.join(", "));
            Error::field("sort", "invalid_sort", detail)
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use uuid::Uuid;

    use super::*;

    fn list(sort: &str) -> Fingerprint {
        Fingerprint::of(["sort", sort])
    }

    #[test]
    fn sizes_are_between_1_and_200() {
        let sizes: Vec<_> = [0, -3, 1, 200, 201].into_iter().map(size).collect();
        assert_eq!(sizes, [50, 50, 1, 200, 200]);
    }

    #[test]
    fn parts_cannot_flow_into_one_another() {
        assert_ne!(Fingerprint::of(["ab", "c"]), Fingerprint::of(["a", "bc"]));
        assert_ne!(Fingerprint::of(["a", ""]), Fingerprint::of(["a"]));
    }

    #[test]
    fn tokens_are_bound_to_their_list() {
        let token = PageToken::encode(&("2026", 7), list("name")).expect("encoded");
        let key: Option<(String, i64)> = PageToken::decode(&token, list("name")).expect("decoded");
        assert_eq!(key, Some(("2026".to_owned(), 7)));
        let other = PageToken::decode::<(String, i64)>(&token, list("-name")).expect_err("other");
        assert_eq!((other.code, &*other.fields[0].field), ("page_token_mismatch", "page_token"));
        assert_eq!(PageToken::decode::<i64>("", list("name")).expect("first page"), None);
    }

    #[test]
    fn garbage_is_refused() {
        let wrong_key = PageToken::encode(&"text", list("x")).expect("encoded");
        for bad in ["x", "!!", "bnVsbA", &wrong_key, &"a".repeat(5000)] {
            let error = PageToken::decode::<i64>(bad, list("x")).expect_err(bad);
            assert_eq!(error.code, "invalid_page_token", "{bad}");
        }
    }

    #[test]
    fn one_row_too_many_means_another_page() {
        let page = Page { sort: Sort::of("n"), after: None::<i32>, size: 2, list: list("x") };
        assert_eq!(page.limit(), 3);
        let (rows, token) = page.finish(vec![1, 2, 3], |n| *n).expect("a page");
        assert_eq!((rows, PageToken::decode(&token, list("x")).expect("key")), (vec![1, 2], Some(2)));
        let (rows, token) = page.finish(vec![1, 2], |n| *n).expect("a page");
        assert_eq!((rows, token.as_str()), (vec![1, 2], ""));
    }

    #[derive(Clone, PartialEq, prost::Message)]
    struct Request {
        #[prost(int32, tag = "1")]
        page_size: i32,
        #[prost(string, tag = "2")]
        page_token: String,
        #[prost(string, tag = "3")]
        sort: String,
        #[prost(string, tag = "4")]
        team: String,
    }

    #[test]
    fn a_token_survives_another_size_but_no_other_filter() {
        let mut request = Request { page_size: 1, sort: "name".to_owned(), ..Request::default() };
        let read = |request: &Request| -> Result<Page<ConfigKey>> {
            crate::page!(request, CONFIG_SORTS, "-created_at")
        };
        let first = read(&request).expect("the first page");
        assert_eq!((first.sort, first.limit(), &first.after), (Sort::of("name"), 2, &None));
        // A name that reads as a time stays a name.
        let last = ConfigKey::Name("2026-01-01T00:00:00Z".to_owned(), Uuid::nil());
        (_, request.page_token) = first.finish(vec![1, 2], |_| last.clone()).expect("a page");
        request.page_size = 7;
        assert_eq!(read(&request).expect("the second page").after, Some(last));
        request.team = "another".to_owned();
        assert_eq!(read(&request).expect_err("another list").code, "page_token_mismatch");
    }

    #[test]
    fn sorts_come_from_the_declared_set() {
        let fields = ["created_at", "name"];
        let sort = |text| Sort::parse(text, &fields, "-created_at");
        assert_eq!(sort("").expect("default"), Sort { field: "created_at", descending: true });
        assert_eq!(sort("name").expect("known"), Sort { field: "name", descending: false });
        assert_eq!(sort("-password").expect_err("unknown").code, "invalid_sort");
    }

    proptest! {
        #[test]
        fn no_text_breaks_the_decoder(text in ".{0,64}") {
            let _ = PageToken::decode::<(String, i64)>(&text, list("x"));
        }
    }
}
