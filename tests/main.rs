//! Every test that looks at the house from outside, in one binary: one folder per room.

mod layering;
mod support;

mod articles;
mod cli;
mod delivery;
mod editions;
mod mail;
mod morning;
mod readers;
mod selection;
mod silence;
mod stores;
mod web;
