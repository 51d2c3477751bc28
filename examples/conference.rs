//! A conference server inside another program: `cargo run --example conference`, then dial the address it prints.
//!
//! For a minute it serves one conference, and no other, on free ports of the loopback interface, and prints who is in it.

use std::error::Error;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use unisono::conference::Settings;
use unisono::config::{Conference, Config};
use unisono::control::Server;

#[tokio::main(worker_threads = 2)]
async fn main() -> Result<(), Box<dyn Error>> {
    let mut config = Config::default();
    config.sip.listen = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    config.http.listen = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    config.policy.allow_unknown = false;
    config.conferences.push(Conference {
        name: "1000".to_owned(),
        settings: Settings {
            max_participants: 20,
            ..Settings::default()
        },
    });

    let server = Server::start(config).await?;
    println!("dial sip:1000@{}", server.sip_address());
    println!("or see http://{}/v1/conferences", server.http_address());

    let control = server.control();
    for _ in 0..60 {
        tokio::time::sleep(Duration::from_secs(1)).await;
        for participant in control.participants("1000".to_owned()).await? {
            println!("{}", serde_json::to_string(&participant)?);
        }
    }
    server.stop().await;
    Ok(())
}
