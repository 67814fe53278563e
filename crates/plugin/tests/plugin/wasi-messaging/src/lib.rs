//! Does what the data of a message says.

use std::cell::{Cell, RefCell};

wit_bindgen::generate!({
    inline: "
        package tidegate:tests;
        world messenger {
            include wasi:messaging/messaging-core@0.2.0-draft;
            import tidegate:gateway/log@1.0.0;
            import tidegate:gateway/state@1.0.0;
        }
    ",
    path: ["../../../wit/wasi-messaging", "../../../../../wit"],
    world: "tidegate:tests/messenger",
    generate_all,
});

use exports::wasi::messaging::incoming_handler::Guest;
use tidegate::gateway::{log, state};
use wasi::messaging::producer::send;
use wasi::messaging::types::{Client, Error, Message};

thread_local! {
    /// As long as the instance.
    static CLIENT: RefCell<Option<Client>> = const { RefCell::new(None) };
    static KEPT: RefCell<Option<Message>> = const { RefCell::new(None) };
    static COUNT: Cell<u32> = const { Cell::new(0) };
}

struct Messenger;

impl Guest for Messenger {
    fn handle(message: Message) -> Result<(), Error> {
        let topic = message.topic().unwrap_or_default();
        let says = String::from_utf8_lossy(&message.data()).into_owned();
        COUNT.set(COUNT.get() + 1);
        match says.as_str() {
            "pass" => onward(&topic, message),
            "quiet" => Ok(()),
            "new" => {
                let new = Message::new(b"made");
                new.set_content_type("text/plain");
                new.set_metadata(&[("a".into(), "1".into()), ("b".into(), "2".into()), ("a".into(), "3".into())]);
                new.add_metadata("a", "4");
                new.remove_metadata("b");
                onward("site/new", new)
            }
            "edit" => {
                message.set_content_type("text/plain");
                message.add_metadata("unit", "K");
                message.set_data(b"\xff");
                onward(&topic, message)
            }
            "what" => {
                let what = format!("{:?} {:?} {:?}", message.topic(), message.content_type(), message.metadata());
                message.set_data(what.as_bytes());
                onward(&topic, message)
            }
            "two" => {
                send(&Client::connect("far")?, "site/a", Message::new(b"first"))?;
                onward(&topic, message)
            }
            "foreign-topic" => onward("elsewhere/a", message),
            "foreign-target" => {
                Client::connect("nowhere")?;
                Ok(())
            }
            "refuse" => {
                onward(&topic, message)?;
                Err(Error::Other("too cold".into()))
            }
            "timeout" => Err(Error::Timeout),
            "wordless" => Err(Error::Other(String::new())),
            "trap" => {
                onward(&topic, message)?;
                panic!("after it has sent")
            }
            "loop" => loop {
                std::hint::spin_loop();
            },
            "flood" => (0..1000).try_for_each(|_| onward("site/a", Message::new(b""))),
            "hoard" => {
                let mib = vec![0; 1 << 20];
                let _all: Vec<Message> = (0..64).map(|_| Message::new(&mib)).collect();
                Ok(())
            }
            "keep" => {
                KEPT.set(Some(message));
                Ok(())
            }
            "kept" => onward(&topic, KEPT.take().unwrap_or(message)),
            "count" => {
                log::log(log::Level::Info, "counted");
                state::set("count", &COUNT.get().to_le_bytes());
                onward(&topic, message)
            }
            "memory" => {
                let mut all: Vec<Vec<u8>> = Vec::new();
                loop {
                    all.push(vec![1; 1 << 20]);
                }
            }
            other => Err(Error::Other(format!("what is `{other}`?"))),
        }
    }
}

fn onward(topic: &str, message: Message) -> Result<(), Error> {
    let client = match CLIENT.take() {
        Some(client) => client,
        None => Client::connect("onward")?,
    };
    let sent = send(&client, topic, message);
    CLIENT.set(Some(client));
    sent
}

export!(Messenger);
