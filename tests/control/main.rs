//! The whole server in this process, on free loopback ports: phones call it over real SIP and RTP, and somebody in
//! charge speaks HTTP to it. What phones hear decides.

mod calls;
mod http;
mod links;
mod overload;
mod resources;
mod settings;
mod shared_port;
mod support;
