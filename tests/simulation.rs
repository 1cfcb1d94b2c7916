//! Tests of the loop against simulated schedules, and of the simulator's checker.

mod cancellation;
mod checker_selftest;
mod schedules;
