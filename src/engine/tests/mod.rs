//! The media plane in virtual time, judged by what it sends; and the engine over real sockets.

mod arriving;
mod attention;
mod growth;
mod hearing;
mod late;
mod overload;
mod phone;
mod prompts;
mod renegotiation;
mod reports;
mod rings;
mod seats;
mod shared;
mod size;
mod sockets;
mod span;
mod span_phones;
mod switching;

/// Held while an engine with threads is tested: workers are told apart by their threads' names, so one engine at a time.
pub(super) fn alone() -> std::sync::MutexGuard<'static, ()> {
    static ALONE: std::sync::Mutex<()> = std::sync::Mutex::new(());
    ALONE
        .lock()
        .unwrap_or_else(std::sync::PoisonError::into_inner)
}
