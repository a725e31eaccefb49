use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use futures::stream::{self, BoxStream, StreamExt as _};
use tonic::{Code, Request, Response, Status, Streaming};
use tonic_types::StatusExt as _;

use crate::sample::shop::v1::shop_client::ShopClient;
use crate::sample::shop::v1::shop_server::{Shop, ShopServer};
use crate::sample::shop::v1::{Item, Order, OrderReceipt, PlaceOrderRequest, UpdateOrderRequest};

/// Counts the messages that reach a handler.
#[derive(Clone, Default)]
struct Counter(Arc<AtomicUsize>);

impl Counter {
    fn count(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

/// An order whose receipt is larger than what tonic takes by itself.
const LARGE: &str = "large";

fn receipt() -> OrderReceipt {
    OrderReceipt { id: "not a UUID".into() }
}

#[tonic::async_trait]
impl Shop for Counter {
    async fn place_order(
        &self,
        request: Request<PlaceOrderRequest>,
    ) -> Result<Response<OrderReceipt>, Status> {
        self.count();
        let slug = request.into_inner().order.unwrap_or_default().slug;
        Ok(Response::new(if slug == LARGE { OrderReceipt { id: "x".repeat(5 << 20) } } else { receipt() }))
    }

    async fn update_order(&self, _: Request<UpdateOrderRequest>) -> Result<Response<()>, Status> {
        self.count();
        Ok(Response::new(()))
    }

    type WatchOrdersStream = BoxStream<'static, Result<OrderReceipt, Status>>;

    async fn watch_orders(
        &self,
        orders: Request<Streaming<PlaceOrderRequest>>,
    ) -> Result<Response<Self::WatchOrdersStream>, Status> {
        let counter = self.clone();
        let receipts = orders.into_inner().map(move |order| {
            order.map(|_| {
                counter.count();
                receipt()
            })
        });
        Ok(Response::new(receipts.boxed()))
    }
}

fn shop() -> (ShopClient<ShopServer<Counter>>, Arc<AtomicUsize>) {
    let counter = Counter::default();
    let handled = Arc::clone(&counter.0);
    (ShopClient::new(ShopServer::new(counter)), handled)
}

fn order(name: &str) -> PlaceOrderRequest {
    let order = Order { slug: "s".into(), name: name.into(), ..Order::default() };
    PlaceOrderRequest { order: Some(order) }
}

#[tokio::test]
async fn a_client_takes_large_answers() {
    let (mut client, _) = shop();
    let order = Order { slug: LARGE.into(), name: "n".into(), ..Order::default() };
    let answer = client.place_order(PlaceOrderRequest { order: Some(order) }).await.expect("it fits");
    assert_eq!(answer.get_ref().id.len(), 5 << 20);
}

#[tokio::test]
async fn an_invalid_request_never_reaches_the_handler() {
    let (mut client, handled) = shop();
    let status = client.place_order(order("")).await.expect_err("the name is missing");
    assert_eq!((status.code(), status.message()), (Code::InvalidArgument, "invalid"));
    assert_eq!(handled.load(Ordering::Relaxed), 0);

    let details = status.get_error_details();
    let info = details.error_info().expect("an ErrorInfo");
    assert_eq!((info.reason.as_str(), info.domain.as_str()), ("invalid", "pulseops"));
    let fields = &details.bad_request().expect("a BadRequest").field_violations;
    let fields: Vec<_> = fields.iter().map(|f| (f.field.as_str(), f.description.as_str())).collect();
    assert_eq!(fields, [("order.name", "required: is required")]);
}

/// Field 1 of the request is a message; here it is a varint.
#[tokio::test]
async fn bytes_that_are_no_request_are_the_callers_fault() {
    let counter = Counter::default();
    let mut client = tonic::client::Grpc::new(ShopServer::new(counter.clone()));
    client.ready().await.expect("a server");
    let path = tonic::codegen::http::uri::PathAndQuery::from_static("/shop.v1.Shop/PlaceOrder");
    let codec = tonic_prost::ProstCodec::<Varint, OrderReceipt>::default();
    let status = client.unary(Request::new(Varint { field: 7 }), path, codec).await.expect_err("no order");
    assert_eq!(status.code(), Code::InvalidArgument);
    let details = status.get_error_details();
    assert_eq!(details.error_info().expect("an ErrorInfo").reason, "malformed");
    assert_eq!(counter.0.load(Ordering::Relaxed), 0);
}

#[derive(Clone, PartialEq, prost::Message)]
struct Varint {
    #[prost(uint32, tag = "1")]
    field: u32,
}

#[tokio::test]
async fn answers_are_not_validated() {
    let (mut client, handled) = shop();
    let answer = client.place_order(order("ok")).await.expect("a valid request").into_inner();
    assert_eq!(answer, receipt());
    assert_eq!(handled.load(Ordering::Relaxed), 1);
}

#[tokio::test]
async fn empty_answers_pass() {
    let (mut client, _) = shop();
    let update_mask = Some(prost_types::FieldMask { paths: vec!["note".into()] });
    let request = UpdateOrderRequest { id: "1".into(), order: order("ok").order, update_mask };
    client.update_order(request).await.expect("a valid request");
}

#[tokio::test]
async fn a_stream_ends_at_its_first_invalid_message() {
    let (mut client, handled) = shop();
    let orders = stream::iter([order("one"), order(""), order("two")]);
    let mut receipts = client.watch_orders(orders).await.expect("a stream").into_inner();
    assert_eq!(receipts.message().await.expect("the first"), Some(receipt()));
    let status = receipts.message().await.expect_err("the second is invalid");
    assert_eq!(status.code(), Code::InvalidArgument);
    assert_eq!(handled.load(Ordering::Relaxed), 1);
}

#[tokio::test]
async fn the_largest_refusal_fits_into_trailers() {
    let (mut client, _) = shop();
    let mut request = order("ok");
    let named = |n: usize| (format!("{n}{}", "Ä".repeat(500)), Item { name: "too long".into() });
    request.order.as_mut().expect("an order").shelves = (0..1000).map(named).collect();
    let status = client.place_order(request).await.expect_err("items are invalid");
    // Base64 in a header list of at most 16 KiB, hyper's default.
    let encoded = status.details().len() * 4 / 3;
    assert!((8 * 1024..12 * 1024).contains(&encoded), "{encoded} bytes");
}
