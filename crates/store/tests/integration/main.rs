//! Objects kept here, on every pair of engines.

mod engines;
mod suite;
