//! Building and installing system call filters (seccomp, classic BPF). Depends on `libc` alone, so that the worker module,
//! which is a crate of its own, includes this very file by `#[path]`.
//!
//! A filter is a list of refusals that ends in "allow". It answers with the error that makes a program degrade best: EPERM
//! and EACCES become an exception, ENOSYS makes the C library fall back to an older call. The kernel remembers, per call
//! number, whether a filter allows it whatever the arguments, so only refused and argument-checked calls pay for the list.
//! What is refused by the launcher is in `seccomp.rs`; here are the mechanism and the two filters for workers.
#![allow(unsafe_code, reason = "prctl(2) and seccomp(2) have no safe wrapper in libc")]
#![allow(dead_code, reason = "included in two crates, each of which uses a part")]

use std::io;

/// One instruction: `struct sock_filter`.
pub type SockFilter = libc::sock_filter;

const LOAD_WORD: u16 = (libc::BPF_LD | libc::BPF_W | libc::BPF_ABS) as u16;
const JUMP_EQUAL: u16 = (libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K) as u16;
const JUMP_AT_LEAST: u16 = (libc::BPF_JMP | libc::BPF_JGE | libc::BPF_K) as u16;
const JUMP_ANY_BIT: u16 = (libc::BPF_JMP | libc::BPF_JSET | libc::BPF_K) as u16;
const AND: u16 = (libc::BPF_ALU | libc::BPF_AND | libc::BPF_K) as u16;
const RETURN: u16 = (libc::BPF_RET | libc::BPF_K) as u16;

#[cfg(target_arch = "x86_64")]
const AUDIT_ARCH: u32 = 0xC000_003E;
#[cfg(target_arch = "aarch64")]
const AUDIT_ARCH: u32 = 0xC000_00B7;

/// Bit of a call number that selects the x32 table: the same calls under other numbers, which a list of numbers would miss.
const X32_BIT: u32 = 0x4000_0000;

/// Offsets into `struct seccomp_data` (both supported machines are little endian: the low half comes first).
const OFFSET_NR: u32 = 0;
const OFFSET_ARCH: u32 = 4;

const fn offset_low(argument: u8) -> u32 {
    16 + 8 * argument as u32
}

const fn offset_high(argument: u8) -> u32 {
    offset_low(argument) + 4
}

const fn statement(code: u16, k: u32) -> SockFilter {
    SockFilter { code, jt: 0, jf: 0, k }
}

const fn jump(code: u16, k: u32, jt: u8, jf: u8) -> SockFilter {
    SockFilter { code, jt, jf, k }
}

/// "Refuse with this error number", as a filter's answer.
const fn refuse(errno: i32) -> SockFilter {
    statement(RETURN, libc::SECCOMP_RET_ERRNO | (errno as u32 & libc::SECCOMP_RET_DATA))
}

const ALLOW: SockFilter = statement(RETURN, libc::SECCOMP_RET_ALLOW);

/// What must hold of a call's arguments. Only the low 32 bits are looked at, as the kernel does for these arguments, except
/// where a rule says otherwise.
#[derive(Debug, Clone, Copy)]
pub enum Test {
    /// The argument is this value.
    Is {
        /// Which argument, from 0.
        argument: u8,
        /// The value.
        value: u32,
    },
    /// The argument, masked, is this value.
    MaskedIs {
        /// Which argument, from 0.
        argument: u8,
        /// Bits that count.
        mask: u32,
        /// The value.
        value: u32,
    },
    /// Any of these bits is set.
    AnyBit {
        /// Which argument, from 0.
        argument: u8,
        /// The bits.
        bits: u32,
    },
    /// All 64 bits are 0: a null pointer.
    IsNull {
        /// Which argument, from 0.
        argument: u8,
    },
}

impl Test {
    /// Instructions that fall through when the test holds and jump `miss` instructions past their end when it does not.
    fn compile(self, out: &mut Vec<SockFilter>, miss: u8) {
        match self {
            Self::Is { argument, value } => {
                out.push(statement(LOAD_WORD, offset_low(argument)));
                out.push(jump(JUMP_EQUAL, value, 0, miss));
            }
            Self::MaskedIs { argument, mask, value } => {
                out.push(statement(LOAD_WORD, offset_low(argument)));
                out.push(statement(AND, mask));
                out.push(jump(JUMP_EQUAL, value, 0, miss));
            }
            Self::AnyBit { argument, bits } => {
                out.push(statement(LOAD_WORD, offset_low(argument)));
                out.push(jump(JUMP_ANY_BIT, bits, 0, miss));
            }
            Self::IsNull { argument } => {
                out.push(statement(LOAD_WORD, offset_low(argument)));
                out.push(jump(JUMP_EQUAL, 0, 0, miss + 2));
                out.push(statement(LOAD_WORD, offset_high(argument)));
                out.push(jump(JUMP_EQUAL, 0, 0, miss));
            }
        }
    }

    fn length(self) -> usize {
        match self {
            Self::Is { .. } | Self::AnyBit { .. } => 2,
            Self::MaskedIs { .. } => 3,
            Self::IsNull { .. } => 4,
        }
    }
}

/// All of the tests must hold.
pub type Case<'a> = &'a [Test];

/// A filter under construction. It starts with the checks no filter may lack: another machine's calls (32-bit programs on a
/// 64-bit kernel) kill the process, x32 numbers are refused.
#[derive(Debug)]
pub struct Filter {
    code: Vec<SockFilter>,
    /// Calls that have a rule. Each has one: a second would stand behind the first one's answer and never be reached.
    decided: Vec<libc::c_long>,
}

impl Default for Filter {
    fn default() -> Self {
        Self::new()
    }
}

impl Filter {
    /// A filter that refuses foreign calls only.
    #[must_use]
    pub fn new() -> Self {
        let mut code = vec![
            statement(LOAD_WORD, OFFSET_ARCH),
            jump(JUMP_EQUAL, AUDIT_ARCH, 1, 0),
            statement(RETURN, libc::SECCOMP_RET_KILL_PROCESS),
            statement(LOAD_WORD, OFFSET_NR),
        ];
        if cfg!(target_arch = "x86_64") {
            code.push(jump(JUMP_AT_LEAST, X32_BIT, 0, 1));
            code.push(refuse(libc::EPERM));
        }
        Self { code, decided: Vec::new() }
    }

    fn decide_once(&mut self, call: libc::c_long) {
        assert!(!self.decided.contains(&call), "system call {call} has two rules");
        self.decided.push(call);
    }

    /// Refuses these calls whatever their arguments.
    #[must_use]
    pub fn refuse(mut self, errno: i32, calls: &[libc::c_long]) -> Self {
        // A jump reaches 255 instructions, so each run of comparisons shares the answer that stands right behind it.
        for &call in calls {
            self.decide_once(call);
        }
        for run in calls.chunks(255) {
            for (position, &call) in run.iter().enumerate() {
                let behind = run.len() - 1 - position;
                let on_miss = u8::from(behind == 0);
                self.code.push(jump(JUMP_EQUAL, call as u32, behind as u8, on_miss));
            }
            self.code.push(refuse(errno));
        }
        self
    }

    /// Refuses a call when any of the cases holds of its arguments.
    #[must_use]
    pub fn refuse_when(self, call: libc::c_long, errno: i32, cases: &[Case<'_>]) -> Self {
        self.decide(call, cases, refuse(errno), ALLOW)
    }

    /// Refuses a call unless any of the cases holds of its arguments.
    #[must_use]
    pub fn refuse_unless(self, call: libc::c_long, errno: i32, cases: &[Case<'_>]) -> Self {
        self.decide(call, cases, ALLOW, refuse(errno))
    }

    fn decide(mut self, call: libc::c_long, cases: &[Case<'_>], on_match: SockFilter, otherwise: SockFilter) -> Self {
        self.decide_once(call);
        let mut block = Vec::new();
        for case in cases {
            let mut rest: usize = case.iter().map(|test| test.length()).sum();
            for test in *case {
                rest -= test.length();
                // A miss goes past the remaining tests of this case and past its answer.
                test.compile(&mut block, rest as u8 + 1);
            }
            block.push(on_match);
        }
        block.push(otherwise);
        assert!(block.len() <= 255, "one call's tests fit a jump");
        self.code.push(jump(JUMP_EQUAL, call as u32, 0, block.len() as u8));
        self.code.append(&mut block);
        self
    }

    /// The finished filter: whatever was not refused is allowed.
    #[must_use]
    pub fn build(mut self) -> Vec<SockFilter> {
        self.code.push(ALLOW);
        self.code
    }
}

/// No program can be started any more. For the zygote, before it reads the first byte of a plugin.
#[must_use]
pub fn no_exec_filter() -> Vec<SockFilter> {
    Filter::new().refuse(libc::EPERM, &[libc::SYS_execve, libc::SYS_execveat]).build()
}

/// No process can be made any more; threads can. For a worker, after it was forked.
#[must_use]
pub fn no_fork_filter() -> Vec<SockFilter> {
    let filter = Filter::new().refuse(libc::ENOSYS, &[libc::SYS_clone3]).refuse_unless(
        libc::SYS_clone,
        libc::EPERM,
        &[&[Test::AnyBit { argument: 0, bits: libc::CLONE_THREAD as u32 }]],
    );
    #[cfg(target_arch = "x86_64")]
    let filter = filter.refuse(libc::EPERM, &[libc::SYS_fork, libc::SYS_vfork]);
    filter.build()
}

/// Puts a filter in force for the calling thread and all it starts, for ever. Sets `no_new_privs`, which the kernel asks for.
///
/// # Errors
/// The kernel's: EINVAL for a malformed filter or a kernel without seccomp filters, ENOMEM for too many of them.
pub fn install(filter: &[SockFilter]) -> io::Result<()> {
    let length = u16::try_from(filter.len()).map_err(|_| io::Error::from_raw_os_error(libc::EINVAL))?;
    let program = libc::sock_fprog { len: length, filter: filter.as_ptr().cast_mut() };
    // SAFETY: PR_SET_NO_NEW_PRIVS takes integers only.
    if unsafe {
        libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1 as libc::c_ulong, 0 as libc::c_ulong, 0 as libc::c_ulong, 0 as libc::c_ulong)
    } != 0
    {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: `program` points at `length` instructions that live until the call returns; the kernel copies and never
    // writes them.
    if unsafe { libc::syscall(libc::SYS_seccomp, libc::SECCOMP_SET_MODE_FILTER, 0 as libc::c_ulong, &raw const program) } != 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(())
}
