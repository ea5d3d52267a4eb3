//! Drives the built binary; see it/.
