//! What programs do with DAHDI's devices, replayed in virtual time.

mod any_sequence;
mod chan_dahdi;
mod conferences;
mod dahdi_test;
mod delay;
mod ear;
mod lines;
mod meetme;
mod pseudo;
mod world;
