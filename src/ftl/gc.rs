//! Garbage collection, as pure decisions.
