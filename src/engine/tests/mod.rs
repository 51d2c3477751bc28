//! The media plane in virtual time, judged by what it sends; and the engine over real sockets.

mod arriving;
mod hearing;
mod late;
mod phone;
mod prompts;
mod renegotiation;
mod reports;
mod rings;
mod seats;
mod size;
mod sockets;
mod span;
mod span_phones;
mod switching;
