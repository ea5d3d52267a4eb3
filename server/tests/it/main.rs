//! The server through its own doors: lines, HTTP, SSE and a unix socket, with an executor that does as it is told.
#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot go on fails")]
#![expect(unreachable_pub, reason = "one program, whose parts see each other")]

use pegboard_server as server;

mod support;

mod calls;
mod catalog;
mod cost;
mod errors;
mod http;
mod http_limits;
mod learning;
mod old_http;
mod questions;
mod shutdown;
mod stdio;
mod upstream;
mod views;
