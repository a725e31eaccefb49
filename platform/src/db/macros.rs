//! Transactions as macros: a closure that borrows its surroundings and returns a future is not
//! provably `Send` for the compiler, an inline block is.

/// Runs the body in a transaction of `cx.org`: BEGIN and the organization in one round trip, COMMIT
/// on `Ok`, ROLLBACK on `Err`. After a deadlock or serialization failure the body runs again, up to
/// three times, so it must not move what it captures.
///
/// ```no_run
/// use diesel_async::RunQueryDsl;
/// # use platform::{ctx::Ctx, db::Db, error::Result};
/// # async fn archive(db: &Db, cx: &Ctx, slug: &str) -> Result<usize> {
/// let archived = platform::tx!(db, cx, |conn| {
///     let update = diesel::sql_query("UPDATE services SET archived_at = $1 WHERE slug = $2")
///         .bind::<diesel::sql_types::Timestamptz, _>(cx.now)
///         .bind::<diesel::sql_types::Text, _>(slug);
///     Ok(update.execute(conn).await?)
/// })?;
/// # Ok(archived)
/// # }
/// ```
#[macro_export]
macro_rules! tx {
    ($db:expr, $cx:expr, |$conn:ident| $body:expr) => {
        $crate::__run_tx!($db.begin($cx), |$conn| $body)
    };
}

/// Runs the body in a transaction that sees every organization. The second argument says why; a
/// test lists the call sites.
///
/// ```no_run
/// use diesel_async::RunQueryDsl;
/// # use platform::{db::Db, error::Result};
/// # async fn sweep(db: &Db) -> Result<usize> {
/// let swept = platform::system_tx!(db, "retention", |conn| {
///     let delete = diesel::sql_query("DELETE FROM sessions WHERE expires_at <= pulseops.now()");
///     Ok(delete.execute(conn).await?)
/// })?;
/// # Ok(swept)
/// # }
/// ```
#[macro_export]
macro_rules! system_tx {
    ($db:expr, $reason:expr, |$conn:ident| $body:expr) => {
        $crate::__run_tx!($db.begin_system($reason), |$conn| $body)
    };
}

/// [`tx!`] for a mutating RPC: with an Idempotency-Key in `cx`, the key, the request's hash and the
/// answer are written in the same transaction, and the same key again answers what it answered. The
/// value is a [`tonic::Response`]; a replayed one carries the metadata `idempotency-replayed`.
///
/// The body's answer must be a `prost::Message + Default`.
///
/// ```no_run
/// # use diesel_async::AsyncPgConnection;
/// # use platform::{ctx::Ctx, db::Db, error::Result};
/// # async fn open(cx: &Ctx, conn: &mut AsyncPgConnection, title: &String) -> Result<i64> { Ok(1) }
/// # async fn create(db: &Db, cx: &Ctx, request: &String) -> Result<tonic::Response<i64>> {
/// platform::mutation!(db, cx, request, |conn| open(cx, conn, request).await)
/// # }
/// ```
#[macro_export]
macro_rules! mutation {
    ($db:expr, $cx:expr, $request:expr, |$conn:ident| $body:expr) => {
        match $crate::idempotency::Call::new($cx, $request) {
            Err(error) => Err(error),
            Ok(call) => $crate::tx!($db, $cx, |__conn| {
                match call.enter(__conn).await? {
                    Some(replayed) => Ok(replayed),
                    None => {
                        let $conn: &mut $crate::__private::AsyncPgConnection = &mut *__conn;
                        #[allow(unused_braces, reason = "the body may be a block")]
                        let answer = $crate::db::typed(async { $body }).await?;
                        call.leave(__conn, answer).await
                    }
                }
            }),
        }
    };
}

#[doc(hidden)]
#[macro_export]
macro_rules! __run_tx {
    ($begin:expr, |$conn:ident| $body:expr) => {{
        let mut __round = 0_u32;
        loop {
            let mut __tx = match $begin.await {
                Ok(tx) => tx,
                Err(error) => break Err(error),
            };
            let __result = {
                let $conn: &mut $crate::__private::AsyncPgConnection = &mut __tx;
                #[allow(unused_braces, reason = "the body may be a block")]
                let result = $crate::db::typed(async { $body }).await;
                result
            };
            match $crate::db::settle(__tx, __result, &mut __round).await {
                ::std::ops::ControlFlow::Continue(()) => {}
                ::std::ops::ControlFlow::Break(result) => break result,
            }
        }
    }};
}
