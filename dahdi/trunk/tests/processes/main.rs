//! Processes that share conferences, as real child processes in virtual time: each is told when a step is.

mod faults;
mod forking;
mod hearing;
mod member;
mod numbers;
mod surveys;

/// What this program does when it is started as a child: it plays a member of the conference as told on its standard input.
#[test]
fn plays_a_member() {
    member::play();
}
