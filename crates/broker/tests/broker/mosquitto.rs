use crate::device::{Server, anonymous, message, retained, with};
use std::process::{Output, Stdio};
use tidegate_broker::Settings;
use tidegate_message::QoS;
use tokio::process::{Child, Command};

fn start(program: &str, server: &Server, args: &[&str]) -> Child {
    let mut command = Command::new(program);
    command.args(["-h", "127.0.0.1", "-p", &server.addr.port().to_string()]).args(args);
    let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true).spawn();
    child.expect("mosquitto_pub and mosquitto_sub (Debian: mosquitto-clients) are needed")
}

async fn end(child: Child) -> Output {
    tokio::time::timeout(crate::device::PATIENCE, child.wait_with_output()).await.expect("no end").unwrap()
}

/// All messages, all qualities, all versions, both ways.
#[test]
fn mosquitto_clients_are_at_home() {
    with(anonymous(), |server| async move {
        for version in ["31", "311", "5"] {
            for qos in ["0", "1", "2"] {
                let common = ["-V", &format!("mqttv{version}"), "-q", qos];
                let sub = start(
                    "mosquitto_sub",
                    &server,
                    &[&common[..], &["-t", "t/#", "-C", "3", "-F", "%t %q %r %p"]].concat(),
                );
                server.until(|stats| stats.subscriptions == 1).await;
                for payload in ["one", "two", "three"] {
                    let publish =
                        start("mosquitto_pub", &server, &[&common[..], &["-t", "t/1", "-m", payload]].concat());
                    assert!(end(publish).await.status.success());
                }
                let output = end(sub).await;
                let expected = ["one", "two", "three"].map(|payload| format!("t/1 {qos} 0 {payload}\n")).concat();
                assert_eq!(String::from_utf8_lossy(&output.stdout), expected, "{output:?}");
                server.until(|stats| stats.sessions == 0).await;
            }
        }
    });
}

#[test]
fn mosquitto_clients_and_the_gateway() {
    with(anonymous(), |server| async move {
        let gateway = server.gateway(&[("up", QoS::ExactlyOnce)]);
        for qos in ["1", "2"] {
            let mut publish = start("mosquitto_pub", &server, &["-t", "up", "-m", "x", "-q", qos, "-V", "5"]);
            let received = gateway.next().await;
            assert!(publish.try_wait().unwrap().is_none(), "ended before it was acknowledged");
            gateway.local.ack(received.ack.unwrap());
            assert!(end(publish).await.status.success());
        }
        gateway.local.publish(retained("down", "kept", QoS::AtLeastOnce));
        let sub = start("mosquitto_sub", &server, &["-t", "down", "-q", "2", "-C", "2", "-F", "%q %r %p"]);
        server.until(|stats| stats.subscriptions == 1).await;
        gateway.local.publish(message("down", "live", QoS::ExactlyOnce));
        assert_eq!(String::from_utf8_lossy(&end(sub).await.stdout), "1 1 kept\n2 0 live\n");
    });
}

#[test]
fn mosquitto_sub_keeps_its_session_and_sends_its_will() {
    with(anonymous(), |server| async move {
        let watcher = server.gateway(&[("gone", QoS::AtLeastOnce)]);
        let args = ["-t", "t", "-q", "1", "-i", "keeps", "-c", "--will-topic", "gone", "--will-payload", "oh"];
        let sub = start("mosquitto_sub", &server, &args);
        server.until(|stats| stats.subscriptions == 1).await;
        drop(sub); // killed
        assert_eq!(watcher.next().await.message.payload, "oh");
        watcher.local.publish(message("t", "while away", QoS::AtLeastOnce));
        let sub = start("mosquitto_sub", &server, &[&args[..], &["-C", "1"]].concat());
        assert_eq!(String::from_utf8_lossy(&end(sub).await.stdout), "while away\n");
    });
}

#[test]
fn a_refusal_reads_well_in_mosquitto_pub() {
    with(Settings::default(), |server| async move {
        for version in ["mqttv311", "mqttv5"] {
            let output = end(start("mosquitto_pub", &server, &["-V", version, "-t", "t", "-m", "x"])).await;
            let words = String::from_utf8_lossy(&output.stderr).to_lowercase();
            assert!(!output.status.success() && words.contains("not authori"), "{words}");
        }
    });
}

/// A message of many kilobytes, a thousand messages in one go.
#[test]
fn mosquitto_pub_in_bulk() {
    with(anonymous(), |server| async move {
        let dir = tempfile::tempdir().unwrap();
        let lines = dir.path().join("lines");
        std::fs::write(&lines, (0..1000).map(|number| format!("line {number}\n")).collect::<String>()).unwrap();
        for qos in ["0", "1", "2"] {
            let sub = start("mosquitto_sub", &server, &["-t", "t", "-q", qos, "-C", "1000"]);
            server.until(|stats| stats.subscriptions == 1).await;
            let mut publish = Command::new("mosquitto_pub");
            publish.args(["-h", "127.0.0.1", "-p", &server.addr.port().to_string(), "-t", "t", "-q", qos, "-l"]);
            publish.stdin(std::fs::File::open(&lines).unwrap());
            assert!(publish.status().await.unwrap().success());
            assert_eq!(String::from_utf8_lossy(&end(sub).await.stdout), std::fs::read_to_string(&lines).unwrap());
            server.until(|stats| stats.sessions == 0).await;
        }
        assert_eq!(server.broker.stats().dropped.total(), 0);
    });
}

/// As in the health checks of containers.
#[test]
fn mosquitto_sub_of_sys_is_answered_at_once() {
    with(anonymous(), |server| async move {
        let args = ["-t", "$SYS/#", "-C", "1", "-F", "%t %r %p"];
        let output = end(start("mosquitto_sub", &server, &args)).await;
        let text = String::from_utf8_lossy(&output.stdout);
        assert!(text.starts_with("$SYS/broker/") && output.status.success(), "{output:?}");
    });
}

/// Whatever gets through our door gets through mosquitto's, and what does not would not: its clients check both.
#[test]
fn a_message_that_mosquitto_clients_hang_up_on_reaches_none() {
    with(anonymous(), |server| async move {
        let sub = start("mosquitto_sub", &server, &["-t", "t/#", "-C", "1", "-q", "1"]);
        server.until(|stats| stats.subscriptions == 1).await;
        let mut device = server.device_311("d").await;
        device.publish(message("t/\r", "bad", QoS::AtLeastOnce)).await;
        device.publish(message("t/ok", "ok", QoS::AtLeastOnce)).await;
        let output = end(sub).await;
        assert_eq!(String::from_utf8_lossy(&output.stdout), "ok\n", "{output:?}");
    });
}
