//! Causes of failure and what follows from each. The words are the agent's closed list.

use serde::{Deserialize, Serialize};

/// What is done after a failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Rule {
    /// The same again, after a pause.
    RetryAsIs,
    /// A new token (and certificate key upload), then again.
    RetryWithFreshCredentials,
    /// `kubeadm reset`, then again with fresh credentials.
    ResetThenRetry,
    /// Nothing more until an operator says so.
    StopAndAsk,
}

/// The rule for a cause. `clean` says that the machine was left, or put back, as it was; without it nothing is
/// retried, because kubeadm is not idempotent.
pub fn rule_for(cause: &str, clean: bool) -> Rule {
    if !clean {
        return Rule::StopAndAsk;
    }
    match cause {
        "PinMismatch"
        | "MalformedToken"
        | "MalformedPin"
        | "MalformedCertificateKey"
        | "InvalidConfiguration"
        | "NoStableEndpoint"
        | "KubeletTooNew"
        | "UnsupportedVersion"
        | "KubeadmMissing"
        | "KubeletMissing"
        | "EphemeralStateLost" => Rule::StopAndAsk,
        "TokenExpired" | "TokenRejected" | "CertificateKeyGone" | "CertificateKeyMismatch" | "CsrNotApproved" => {
            Rule::RetryWithFreshCredentials
        }
        _ => Rule::ResetThenRetry,
    }
}

/// Pause before attempt `failures + 1`, milliseconds: 5 s doubling up to 5 min.
pub fn backoff_ms(failures: u32) -> u64 {
    let doublings = failures.saturating_sub(1).min(6);
    (5_000_u64 << doublings).min(300_000)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unclean_machine_is_never_retried() {
        assert_eq!(rule_for("ApiServerUnreachable", false), Rule::StopAndAsk);
        assert_eq!(rule_for("ApiServerUnreachable", true), Rule::ResetThenRetry);
    }

    #[test]
    fn the_pause_grows_and_is_bounded() {
        assert_eq!(backoff_ms(1), 5_000);
        assert_eq!(backoff_ms(2), 10_000);
        assert_eq!(backoff_ms(100), 300_000);
    }
}
