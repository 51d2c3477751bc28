//! The report as text: for people, for spreadsheets, and for other programs' plotters.

mod csv;
mod cyclictest;
mod dahdi;
mod hgrm;
mod hlog;
mod table;

pub use self::csv::write_csv;
pub use self::cyclictest::write_histogram;
pub use self::dahdi::dahdi_lines;
pub use self::hgrm::write_hgrm;
pub use self::hlog::write_hlog;
pub(crate) use self::table::broken;
pub use self::table::{Paint, table};
