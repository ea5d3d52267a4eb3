//! May this call happen? What the manifest declared, what the operator granted, and the decision with its reasons.
//!
//! Pure: no file, clock, environment or task. [`PermittedCall`] is made only here, by [`authorize`].

mod advisory;
mod authorize;
mod call;
mod declared;
mod denial;
mod flags;
mod grant;
mod level;
mod patterns;
mod plugin;
mod upstream;

pub use advisory::{Advisory, advisory};
pub use authorize::{Standing, authorize, readiness};
pub use call::{Allowed, PermittedCall, ResolvedCall, SecretValue, SessionId, TraceId};
pub use declared::Declared;
pub use denial::{ASK_THE_OPERATOR, Denial, Missing};
pub use flags::{Flag, RULES as FLAG_RULES, flags, rule as flag_rule};
pub use grant::{Grant, GrantError, Grants, Scope};
pub use level::Level;
pub use patterns::{PatternError, ToolPatterns};
pub use plugin::{Plugin, Source};
pub use upstream::{Approval, Change, Definition, Difference, Review};
