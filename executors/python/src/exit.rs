//! How processes end, in numbers and in words. What an end means for a call is `child.rs`'s.

/// How a child ended, as its zygote reports it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Exit {
    /// Wait status.
    pub(crate) status: i32,
    /// CPU time in microseconds.
    pub(crate) cpu_us: u64,
}

pub(crate) fn signal_name(signal: i32) -> String {
    let name = match signal {
        libc::SIGSEGV => "SIGSEGV (segmentation fault)",
        libc::SIGABRT => "SIGABRT (abort)",
        libc::SIGKILL => "SIGKILL",
        libc::SIGBUS => "SIGBUS",
        libc::SIGFPE => "SIGFPE",
        libc::SIGILL => "SIGILL",
        libc::SIGSYS => "SIGSYS",
        libc::SIGTERM => "SIGTERM",
        libc::SIGXFSZ => "SIGXFSZ (file size)",
        libc::SIGXCPU => "SIGXCPU (CPU time)",
        other => return format!("signal {other}"),
    };
    name.to_owned()
}
