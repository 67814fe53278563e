//! A broker by itself: `serve [mqtt port] [ws port]`, anonymous on loopback. With `--count` as third argument an
//! in-process client takes everything and acknowledges it, and says once a second how much it was.
#![allow(clippy::print_stdout)]

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use tidegate_broker::{Broker, Local, LocalReceived, LocalSink, Scheme, Settings, bind};
use tidegate_message::{QoS, TopicFilter};
use tokio_util::sync::CancellationToken;

struct Counter {
    local: Option<Local>,
    count: Rc<Cell<u64>>,
}

impl LocalSink for Counter {
    fn received(&mut self, messages: &mut Vec<LocalReceived>) {
        self.count.set(self.count.get() + messages.len() as u64);
        for received in messages.drain(..) {
            if let (Some(ack), Some(local)) = (received.ack, &self.local) {
                local.ack(ack);
            }
        }
    }
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut args = std::env::args().skip(1);
    let mut port = |default: u16| args.next().map_or(Ok(default), |text| text.parse());
    let (mqtt, ws) = (port(1883)?, port(9001)?);
    let counts = args.next().is_some();
    let settings = Settings { allow_anonymous: true, ..Settings::default() };
    let listeners = vec![
        bind(format!("127.0.0.1:{mqtt}"), Scheme::Mqtt).await?,
        bind(format!("127.0.0.1:{ws}"), Scheme::Ws).await?,
    ];
    let broker = Broker::new(settings);
    let stop = CancellationToken::new();
    let local_set = tokio::task::LocalSet::new();
    let count = Rc::new(Cell::new(0));
    if counts {
        let counter = Rc::new(RefCell::new(Counter { local: None, count: count.clone() }));
        let local = broker.local(counter.clone());
        local.subscribe(&[(TopicFilter::new("#")?, QoS::ExactlyOnce, tidegate_mqtt::RetainHandling::Send)]);
        counter.borrow_mut().local = Some(local);
    }
    local_set
        .run_until(async move {
            let on_signal = stop.clone();
            tokio::task::spawn_local(async move {
                let _ = tokio::signal::ctrl_c().await;
                on_signal.cancel();
            });
            let printing = broker.clone();
            tokio::task::spawn_local(async move {
                loop {
                    tokio::time::sleep(std::time::Duration::from_secs(1)).await;
                    if count.get() > 0 {
                        println!("{} {:?}", count.replace(0), printing.stats());
                    }
                }
            });
            broker.run(listeners, stop).await
        })
        .await?;
    Ok(())
}
