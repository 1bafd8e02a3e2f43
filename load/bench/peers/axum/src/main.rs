//! axum's `Sse` over a tokio broadcast channel, as its documentation writes it; one thread.

use axum::{
    extract::{Query, State},
    http::StatusCode,
    response::sse::{Event, KeepAlive, Sse},
    routing::{get, post},
    Router,
};
use futures_util::stream::{self, Stream, StreamExt};
use serde::Deserialize;
use std::{
    convert::Infallible,
    sync::{
        atomic::{AtomicU64, Ordering},
        Arc, Mutex,
    },
    time::Duration,
};
use tokio::sync::broadcast;
use tokio_stream::wrappers::BroadcastStream;

const TEXT_BYTES: usize = 3930;

#[derive(Clone)]
struct Message {
    id: u64,
    data: Arc<str>,
}

#[derive(Clone)]
struct App {
    sender: broadcast::Sender<Message>,
    emitted: Arc<AtomicU64>,
    history: Arc<Mutex<Vec<Message>>>,
}

#[derive(Deserialize)]
struct Run {
    events: u64,
    burst: u64,
    us: u64,
}

#[derive(Deserialize)]
struct Replay {
    events: u64,
}

impl App {
    fn message(&self) -> Message {
        let id = self.emitted.fetch_add(1, Ordering::Relaxed) + 1;
        let stamp = chrono::Utc::now().format("%Y-%m-%dT%H:%M:%S%.6fZ");
        let text = "x".repeat(TEXT_BYTES);
        let data = format!(
            r#"{{"id":{id},"type":"agent_chunk","timestamp":"{stamp}","data":{{"text":"{text}"}}}}"#
        );
        Message { id, data: data.into() }
    }
}

fn event(message: &Message) -> Result<Event, Infallible> {
    Ok(Event::default()
        .id(message.id.to_string())
        .event("agent_chunk")
        .data(&*message.data))
}

async fn stream(State(app): State<App>) -> Sse<impl Stream<Item = Result<Event, Infallible>>> {
    let messages = BroadcastStream::new(app.sender.subscribe());
    let events = messages.filter_map(|message| async move { message.ok().map(|m| event(&m)) });
    Sse::new(events).keep_alive(KeepAlive::default())
}

async fn replay(
    State(app): State<App>,
    Query(wanted): Query<Replay>,
) -> Sse<impl Stream<Item = Result<Event, Infallible>>> {
    let mut history = app.history.lock().unwrap();
    while (history.len() as u64) < wanted.events {
        history.push(app.message());
    }
    let history = history.clone();
    let events = stream::iter(history).map(|message| event(&message));
    Sse::new(events.chain(stream::pending()))
}

async fn run(State(app): State<App>, Query(wanted): Query<Run>) -> StatusCode {
    tokio::spawn(async move {
        let mut left = wanted.events;
        while left > 0 {
            let together = left.min(wanted.burst);
            for _ in 0..together {
                let _ = app.sender.send(app.message());
            }
            left -= together;
            tokio::time::sleep(Duration::from_micros(wanted.us)).await;
        }
    });
    StatusCode::ACCEPTED
}

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let (sender, _) = broadcast::channel(4096);
    let app = App { sender, emitted: Arc::default(), history: Arc::default() };
    let routes = Router::new()
        .route("/stream", get(stream))
        .route("/replay", get(replay))
        .route("/run", post(run))
        .with_state(app);
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    println!("listening on http://{}", listener.local_addr().unwrap());
    axum::serve(listener, routes).await.unwrap();
}
